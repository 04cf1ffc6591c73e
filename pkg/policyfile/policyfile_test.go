package policyfile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policyfile"
)

const day = 24 * time.Hour

const header = "apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\n"

// everything is a file that uses every field.
const everything = header + `
defaults:
  mode: automatic
  threshold: {duration: 45d, fraction: 0.25}
  selfManaged: {duration: 10d, fraction: 8%}
  windows:
  - {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}
  override: {duration: 5d, fraction: 5%}
  validity: 180d
  restart: {renewal: always, compromise: if-needed}
rules:
- name: test workers
  match:
    services: [kubelet]
    nodeSelector:
      matchLabels: {env: test}
      matchExpressions:
      - {key: gpu, operator: DoesNotExist}
  windows: []
  override: {never: true}
- name: etcd
  match:
    issuers: [etcd-ca]
  mode: notify-only
authorities: {duration: 200d, fraction: 10%}
freeze:
  enabled: true
  until: 2027-01-03T06:00:00Z
  reason: end of year
  allow: [override]
limits:
  rotationsPerDay: 0
  nodesPerRotation: 3
  maxUnavailable: 1
retry:
  initialBackoff: 30m
  maxBackoff: 6h
  stopAfter: 5
`

func TestEveryFieldArrives(t *testing.T) {
	f, err := policyfile.Parse([]byte(everything))
	require.NoError(t, err)
	p, err := f.Policy()
	require.NoError(t, err)

	d := p.Default
	assert.Equal(t, renewal.Automatic, d.Mode)
	assert.Equal(t, renewal.Near{Duration: 45 * day, Fraction: 0.25}, d.Threshold)
	assert.Equal(t, renewal.Near{Duration: 10 * day, Fraction: 0.08}, d.SelfManaged)
	assert.Equal(t, renewal.Near{Duration: 5 * day, Fraction: 0.05}, d.Override)
	assert.Equal(t, 180*day, d.Validity)
	assert.Equal(t, []plan.RestartPolicy{plan.RestartAlways, plan.RestartIfNeeded}, []plan.RestartPolicy{d.Renewal, d.Compromise})
	require.Len(t, d.Windows, 1)
	winter := d.Windows[0].Schedule.Next(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	assert.Equal(t, "2026-11-28T01:00:00Z", winter.UTC().Format(time.RFC3339), "two o'clock in Berlin")
	summer := d.Windows[0].Schedule.Next(time.Date(2026, 6, 30, 12, 0, 0, 0, time.UTC))
	assert.Equal(t, "2026-07-04T00:00:00Z", summer.UTC().Format(time.RFC3339), "and in summer")

	require.Len(t, p.Rules, 2)
	test := p.Rules[0]
	assert.Equal(t, "test workers", test.Name)
	assert.Equal(t, []certs.Service{certs.Kubelet}, test.Match.Services)
	assert.True(t, test.Match.Nodes(map[string]string{"env": "test"}))
	assert.False(t, test.Match.Nodes(map[string]string{"env": "test", "gpu": "1"}))
	assert.Empty(t, test.Windows, "any time")
	assert.True(t, test.Override.IsZero())
	assert.Equal(t, d.Threshold, test.Threshold, "what a rule does not say is as in defaults")
	assert.Equal(t, renewal.NotifyOnly, p.Rules[1].Mode)
	assert.Equal(t, []string{"etcd-ca"}, p.Rules[1].Match.Issuers)

	assert.Equal(t, renewal.Near{Duration: 200 * day, Fraction: 0.1}, p.Authorities)
	assert.Equal(t, renewal.Freeze{On: true, Until: time.Date(2027, 1, 3, 6, 0, 0, 0, time.UTC), Reason: "end of year", Override: true, HoldCompromised: true}, p.Freeze)
	assert.Equal(t, renewal.Limits{RotationsPerDay: 0, NodesPerRotation: 3, MaxUnavailable: "1"}, p.Limits)
	assert.Equal(t, renewal.Retry{Initial: 30 * time.Minute, Max: 6 * time.Hour, StopAfter: 5}, p.Retry)
}

// TestDefaultText: the commented file says what holds without it.
func TestDefaultText(t *testing.T) {
	for name, text := range map[string]string{"default.yaml": policyfile.DefaultText, "only a header": header} {
		f, err := policyfile.Parse([]byte(text))
		require.NoError(t, err, name)
		p, err := f.Policy()
		require.NoError(t, err, name)
		assert.Equal(t, renewal.Default(), p, name)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, text := range []string{everything, policyfile.DefaultText, header + "freeze: {enabled: true, allow: []}\n"} {
		f, err := policyfile.Parse([]byte(text))
		require.NoError(t, err)
		written, err := policyfile.Marshal(f)
		require.NoError(t, err)
		again, err := policyfile.Parse(written)
		require.NoError(t, err, string(written))
		assert.Equal(t, f, again)
	}
}

func TestWhatAFreezeAllows(t *testing.T) {
	for allow, holds := range map[string]bool{"": false, ", allow: []": true, ", allow: [compromised]": false, ", allow: [override]": true} {
		f, err := policyfile.Parse([]byte(header + "freeze: {enabled: true" + allow + "}\n"))
		require.NoError(t, err)
		p, err := f.Policy()
		require.NoError(t, err)
		assert.Equal(t, holds, p.Freeze.HoldCompromised, allow)
	}
}

// TestMistakes: each names its line, its column and its field, and what was meant where
// that is cheap to tell.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "policy: the file is empty\nwant at least: apiVersion: rotate-certs.io/v1alpha1, kind: RotationPolicy"},
		{"comments only", "# later\n", "policy: the file is empty"},
		{"no mapping", "- a\n", "policy: line 1, column 1: want fields, not a list"},
		{"text", "hello\n", `policy: line 1, column 1: want fields, not "hello"`},
		{"not YAML", "a: [1\n", "policy: line 1, column 4: "},
		{"two documents", header + "---\n" + header, "policy: line 4, column 11: a second document; want one"},
		{"another version", "apiVersion: rotate-certs.io/v2\nkind: RotationPolicy\n", `policy: line 1, column 13: apiVersion: "rotate-certs.io/v2": want rotate-certs.io/v1alpha1`},
		{"no kind", "apiVersion: rotate-certs.io/v1alpha1\n", `policy: kind: "": want RotationPolicy`},
		{"a field that is mistyped", header + "defaults:\n  treshold: {duration: 30d}\n", `policy: line 4, column 3: defaults.treshold: unknown field "treshold", did you mean "threshold"?`},
		{"a field of nothing", header + "colour: red\n", `policy: line 3, column 1: colour: unknown field "colour", want one of: apiVersion, authorities, defaults, freeze, kind, limits, retry, rules`},
		{"a field twice", header + "limits: {}\nlimits: {}\n", "policy: line 4, column 1: "},
		{"a field without value", header + "limits:\n", "policy: line 3, column 9: limits: has no value: leave it out, or give it one"},
		{"an anchor", header + "limits: &x {}\n", "policy: line 3, column 9: limits: anchors, aliases and tags are not understood: write it out"},
		{"a list for a text", header + "defaults: {mode: [automatic]}\n", "policy: line 3, column 18: defaults.mode: want a single value, not a list"},
		{"a text for a list", header + "rules: none\n", `policy: line 3, column 8: rules: want a list, not "none"`},
		{"a number for a duration", header + "defaults: {threshold: {duration: 30}}\n",
			`policy: line 3, column 34: defaults.threshold.duration: duration "30": want a number with a unit, such as 90d, 12h, 1d12h or 30m`},
		{"more than a whole life", header + "defaults: {threshold: {fraction: 120%}}\n", `policy: line 3, column 34: defaults.threshold.fraction: "120%": want a part of the whole life, such as 20% or 0.2, and at most 90%`},
		{"not a number", header + "defaults: {threshold: {fraction: NaN}}\n", "policy: line 3, column 34: defaults.threshold.fraction: "},
		{"a text for a number", header + "limits: {rotationsPerDay: many}\n", `policy: line 3, column 27: limits.rotationsPerDay: "many": want a whole number`},
		{"a negative limit", header + "limits: {rotationsPerDay: -1}\n", "policy: line 3, column 27: limits.rotationsPerDay: -1: want a number from 0 to 10000"},
		{"a wave of nothing", header + "limits: {maxUnavailable: 0%}\n", `policy: line 3, column 26: limits.maxUnavailable: max-unavailable "0%": want a number of workers such as 3, or a percentage such as 10%`},
		{"compromised keys that stay in use", header + "defaults: {restart: {compromise: never}}\n", "policy: line 3, column 34: defaults.restart.compromise: never is not possible"},
		{"yes for true", header + "freeze: {enabled: yes}\n", `policy: line 3, column 19: freeze.enabled: "yes": want true or false`},
		{"a date for a time", header + "freeze: {enabled: true, until: 2027-01-03}\n", `policy: line 3, column 32: freeze.until: "2027-01-03": want a time with its zone, such as 2027-01-03T06:00:00Z`},
		{"an exception that there is not", header + "freeze: {enabled: true, allow: [overide]}\n", `policy: line 3, column 33: freeze.allow[0]: unknown exception "overide", did you mean "override"?`},
		{"a mode", header + "defaults: {mode: notify}\n", `policy: line 3, column 18: defaults.mode: unknown mode "notify", want one of: automatic, notify-only`},
		{"a service", header + "rules:\n- name: a\n  match: {services: [etcd, kube-apisever]}\n",
			`policy: line 5, column 28: rules[0].match.services[1]: unknown service "kube-apisever", did you mean "kube-apiserver"?`},
		{"a rule for everything", header + "rules:\n- {name: a, match: {}}\n", "policy: line 4, column 20: rules[0].match: matches every certificate: name services, nodeSelector or issuers, or say it in defaults"},
		{"a rule without a match", header + "rules:\n- name: a\n", "policy: line 4, column 7: rules[0].match: matches every certificate"},
		{"a rule without a name", header + "rules:\n- match: {services: [etcd]}\n", "policy: line 4, column 8: rules[0].name: a rule needs a name"},
		{"a name twice", header + "rules:\n- {name: a, match: {services: [etcd]}}\n- {name: a, match: {services: [admin]}}\n", `policy: line 5, column 10: rules[1].name: "a" is taken`},
		{"a selector", header + "rules:\n- name: a\n  match: {nodeSelector: {matchExpressions: [{key: x, operator: Like}]}}\n",
			`policy: line 5, column 25: rules[0].match.nodeSelector: "Like" is not a valid label selector operator`},
		{"a label", header + "rules:\n- name: a\n  match: {nodeSelector: {matchLabels: {\"a b\": c}}}\n", "policy: line 5, column 25: rules[0].match.nodeSelector: "},
		{"a schedule", header + windows("61 2 * * *", "4h", "UTC"), `policy: line 4, column 24: defaults.windows[0].schedule: schedule "61 2 * * *": end of range (61) above maximum (59): 61; want minute, hour,`},
		{"a schedule with seconds", header + windows("0 0 2 * * *", "4h", "UTC"), "defaults.windows[0].schedule: schedule"},
		{"a day that never comes", header + windows("0 0 30 2 *", "4h", "UTC"), "there is no such day"},
		{"a schedule that is none", header + windows("@every 5m", "4h", "UTC"), "@every names no times of the day"},
		{"a zone in the schedule", header + windows("CRON_TZ=UTC 0 0 * * *", "4h", "UTC"), "the time zone has a field of its own, timeZone"},
		{"a zone", header + windows("0 0 * * *", "4h", "Europe/Berln"), `unknown time zone "Europe/Berln": want a name such as Europe/Berlin, or UTC`},
		{"this machine's zone", header + windows("0 0 * * *", "4h", "Local"), `unknown time zone "Local"`},
		{"a window of a moment", header + windows("0 0 * * *", "1s", "UTC"), "defaults.windows[0].duration: 1s: want from 1m to 7d"},
		{"windows that nothing waits for", header + "defaults:\n  threshold: {duration: 5d}\n" + strings.TrimPrefix(windows("0 0 * * *", "1h", "UTC"), "defaults:\n"),
			"defaults.override: 7d or 10% is not nearer than the threshold, 5d or 20%: no window would ever be waited for"},
		{"a life that is too short", header + "defaults: {validity: 90m}\n", "defaults.validity: validity 1h30m is too short: at least 1d, unless short ones are allowed explicitly (allowShortValidity: true)"},
		{"one that is too short even so", header + "defaults: {validity: 9m, allowShortValidity: true}\n", "defaults.validity: validity 9m is too short: at least 10m"},
		{"a life within the threshold", header + "defaults: {validity: 30d}\n", "defaults.validity: 30d is not longer than the threshold, 30d: make the threshold shorter, or say allowShortValidity: true"},
		{"a threshold beyond the life", header + "defaults: {validity: 90d}\nrules:\n- name: a\n  match: {services: [etcd]}\n  threshold: {duration: 100d}\n",
			"rules[0].validity: 90d is not longer than the threshold, 100d"},
		{"a back-off that shrinks", header + "retry: {initialBackoff: 48h}\n", "retry.initialBackoff: 2d is longer than maxBackoff, 1d"},
		{"several", header + "defaults: {mode: x}\nlimits: {rotationsPerDay: -1}\n", "policy: 2 errors\n  line 3, column 18: defaults.mode: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policyfile.Parse([]byte(tt.text))
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

// TestShortLivesThatAreMeant are taken, with a word that says so.
func TestShortLivesThatAreMeant(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"defaults: {validity: 31d}\n":                                         31 * day,
		"defaults: {validity: 7d, threshold: {duration: 2d}}\n":               7 * day,
		"defaults: {validity: 7d, allowShortValidity: true}\n":                7 * day,
		"defaults: {validity: 12h, allowShortValidity: true}\n":               12 * time.Hour,
		"defaults: {validity: 2d, threshold: {duration: 12h}, windows: []}\n": 2 * day,
	} {
		f, err := policyfile.Parse([]byte(header + text))
		require.NoError(t, err, text)
		p, err := f.Policy()
		require.NoError(t, err, text)
		assert.Equal(t, want, p.Default.Validity)
	}
}

func windows(schedule, duration, zone string) string {
	return "defaults:\n  windows: [{schedule: \"" + schedule + "\", duration: " + duration + ", timeZone: " + zone + "}]\n"
}

// FuzzParse: no input makes it panic, and what it accepts means something and survives
// being written.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{everything, policyfile.DefaultText, header, "", "- a", "a: &x [*x]", header + windows("*/0 * * * *", "1h", "UTC"),
		header + windows("0 0 29 2 *", "7d", "America/St_Johns"), "{", "a: !!binary x", "? a\n: b", header + "rules: [{name: 1, match: {issuers: [x]}}]"} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := policyfile.Parse(data)
		if err != nil {
			return
		}
		p, err := file.Policy()
		require.NoError(t, err)
		for _, w := range p.Default.Windows {
			w.Open(now)
		}
		written, err := policyfile.Marshal(file)
		require.NoError(t, err)
		again, err := policyfile.Parse(written)
		require.NoError(t, err, string(written))
		twice, err := policyfile.Marshal(again)
		require.NoError(t, err)
		assert.Equal(t, string(written), string(twice))
	})
}
