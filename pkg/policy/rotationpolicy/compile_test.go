package rotationpolicy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

const day = 24 * time.Hour

const header = "apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\n"

// everything uses every field.
const everything = header + `
spec:
  defaults:
    mode: Automatic
    threshold: {duration: 45d, fraction: 25%}
    selfManaged: {duration: 10d, fraction: 8%}
    windows:
    - {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}
    override: {duration: 5d, fraction: 5%}
    validity: 180d
    restart: {renewal: Always, compromise: IfNeeded}
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
    mode: NotifyOnly
  authorities: {duration: 200d, fraction: 10%}
  freeze:
    enabled: true
    until: 2027-01-03T06:00:00Z
    reason: end of year
    allow: [Override]
  limits:
    rotationsPerDay: 0
    nodesPerRotation: 3
    maxUnavailable: 1
  retry:
    initialBackoff: 30m
    maxBackoff: 6h
    stopAfter: 5
`

// compiled is what a file describes.
func compiled(t *testing.T, text string) renewal.Policy {
	t.Helper()
	object, err := rotationpolicy.Read([]byte(text))
	require.NoError(t, err, text)
	p, err := rotationpolicy.Compile(&object.Spec)
	require.NoError(t, err, text)
	return p
}

func TestEveryFieldArrives(t *testing.T) {
	p := compiled(t, everything)
	d := p.Default
	assert.Equal(t, renewal.Automatic, d.Mode)
	assert.Equal(t, renewal.Threshold{Duration: 45 * day, Fraction: 0.25}, d.Threshold)
	assert.Equal(t, renewal.Threshold{Duration: 10 * day, Fraction: 0.08}, d.SelfManaged)
	assert.Equal(t, renewal.Threshold{Duration: 5 * day, Fraction: 0.05}, d.Override)
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
	assert.Equal(t, d.Threshold, test.Threshold, "what a rule does not set is as in defaults")
	assert.Equal(t, renewal.NotifyOnly, p.Rules[1].Mode)
	assert.Equal(t, []string{"etcd-ca"}, p.Rules[1].Match.Issuers)

	assert.Equal(t, renewal.Threshold{Duration: 200 * day, Fraction: 0.1}, p.Authorities)
	assert.Equal(t, renewal.Freeze{On: true, Until: time.Date(2027, 1, 3, 6, 0, 0, 0, time.UTC), Reason: "end of year", Override: true, HoldCompromised: true}, p.Freeze)
	assert.Equal(t, renewal.Limits{RotationsPerDay: 0, NodesPerRotation: 3, MaxUnavailable: "1"}, p.Limits)
	assert.Equal(t, renewal.Retry{Initial: 30 * time.Minute, Max: 6 * time.Hour, StopAfter: 5}, p.Retry)
}

func TestAnEmptySpecIsTheDefaults(t *testing.T) {
	assert.Equal(t, renewal.Default(), compiled(t, header))
	assert.Equal(t, renewal.Default(), compiled(t, header+"spec: {}\n"))
	p, err := rotationpolicy.Compile(&v1alpha1.RotationPolicySpec{})
	require.NoError(t, err)
	assert.Equal(t, renewal.Default(), p)
}

func TestExceptionsOfAFreeze(t *testing.T) {
	for allow, holds := range map[string]bool{"": false, ", allow: []": true, ", allow: [Compromised]": false, ", allow: [Override]": true} {
		p := compiled(t, header+"spec: {freeze: {enabled: true"+allow+"}}\n")
		assert.Equal(t, holds, p.Freeze.HoldCompromised, allow)
	}
}

// TestMistakes: each is reported with its field.
func TestMistakes(t *testing.T) {
	const rule = "{name: a, match: {services: [etcd]}}"
	for name, tt := range map[string]struct{ spec, want string }{
		"a number for a duration":                {"defaults: {threshold: {duration: 30}}", "spec.defaults.threshold.duration: want a string, not number"},
		"a duration without a unit":              {`defaults: {threshold: {duration: "30"}}`, `spec.defaults.threshold.duration: duration "30": want a number with a unit, such as 90d, 12h, 1d12h or 30m`},
		"a duration that the API server refuses": {"defaults: {threshold: {duration: 1.5d}}", `spec.defaults.threshold.duration: duration "1.5d": want whole numbers with units`},
		"more than a whole life":                 {"defaults: {threshold: {fraction: 120%}}", `spec.defaults.threshold.fraction: "120%": want a part of the whole life, such as 20%, and at most 90%`},
		"nothing of a life":                      {"defaults: {threshold: {fraction: 0%}}", "spec.defaults.threshold.fraction: "},
		"a negative limit":                       {"limits: {rotationsPerDay: -1}", "spec.limits.rotationsPerDay: -1: want a number from 0 to 10000"},
		"a wave of nothing":                      {"limits: {maxUnavailable: 0%}", `spec.limits.maxUnavailable: max-unavailable "0%": want a number of workers such as 3, or a percentage such as 10%`},
		"compromised keys that stay in use":      {"defaults: {restart: {compromise: Never}}", "spec.defaults.restart.compromise: Never is not possible"},
		"a date for a time":                      {"freeze: {enabled: true, until: 2027-01-03}", `spec.freeze.until: "2027-01-03": want a time with its zone, such as 2027-01-03T06:00:00Z`},
		"an exception that does not exist":       {"freeze: {enabled: true, allow: [Overide]}", `spec.freeze.allow[0]: unknown exception "Overide", did you mean "Override"?`},
		"a mode":                                 {"defaults: {mode: notify}", `spec.defaults.mode: unknown mode "notify", want one of: Automatic, NotifyOnly`},
		"a mode in another case":                 {"defaults: {mode: automatic}", `spec.defaults.mode: unknown mode "automatic", did you mean "Automatic"?`},
		"a service":                              {"rules: [{name: a, match: {services: [etcd, kube-apisever]}}]", `spec.rules[0].match.services[1]: unknown service "kube-apisever", did you mean "kube-apiserver"?`},
		"a rule for everything":                  {"rules: [{name: a, match: {}}]", "spec.rules[0].match: matches every certificate: name services, nodeSelector or issuers, or set it in defaults"},
		"a rule without a name":                  {"rules: [{match: {services: [etcd]}}]", "spec.rules[0].name: a rule needs a name"},
		"a name twice":                           {"rules: [" + rule + ", " + rule + "]", `spec.rules[1].name: "a" is taken`},
		"the name of the defaults":               {"rules: [{name: defaults, match: {services: [etcd]}}]", `spec.rules[0].name: "defaults" is taken`},
		"a selector":                             {"rules: [{name: a, match: {nodeSelector: {matchExpressions: [{key: x, operator: Like}]}}}]", `spec.rules[0].match.nodeSelector: "Like" is not a valid label selector operator`},
		"a label":                                {`rules: [{name: a, match: {nodeSelector: {matchLabels: {"a b": c}}}}]`, "spec.rules[0].match.nodeSelector: "},
		"an issuer":                              {`rules: [{name: a, match: {issuers: [""]}}]`, "spec.rules[0].match.issuers[0]: want the common name of a CA"},
		"a schedule":                             {windows("61 2 * * *", "4h", "UTC"), `spec.defaults.windows[0].schedule: schedule "61 2 * * *": end of range (61) above maximum (59): 61; want minute, hour,`},
		"a schedule of a rule":                   {"rules: [" + rule + ", {name: b, match: {services: [admin]}, windows: [{schedule: x, duration: 1h}]}]", `spec.rules[1].windows[0].schedule: schedule "x"`},
		"a schedule with seconds":                {windows("0 0 2 * * *", "4h", "UTC"), "spec.defaults.windows[0].schedule: schedule"},
		"a day that never comes":                 {windows("0 0 30 2 *", "4h", "UTC"), "there is no such day"},
		"a schedule that is none":                {windows("@every 5m", "4h", "UTC"), "@every names no times of the day"},
		"a zone in the schedule":                 {windows("CRON_TZ=UTC 0 0 * * *", "4h", "UTC"), "the time zone has a field of its own, timeZone"},
		"a zone":                                 {windows("0 0 * * *", "4h", "Europe/Berln"), `unknown time zone "Europe/Berln": want a name such as Europe/Berlin, or UTC`},
		"this machine's zone":                    {windows("0 0 * * *", "4h", "Local"), `unknown time zone "Local"`},
		"a window of a moment":                   {windows("0 0 * * *", "1s", "UTC"), "spec.defaults.windows[0].duration: 1s: want from 1m to 7d"},
		"windows that nothing waits for": {"defaults: {threshold: {duration: 5d}, windows: [{schedule: 0 0 * * *, duration: 1h}]}",
			"spec.defaults.override: 7d or 10% is not shorter than the threshold, 5d or 20%: no certificate would wait for a window"},
		"a time and never":              {"defaults: {override: {never: true, duration: 1d}}", "spec.defaults.override.never: excludes duration and fraction"},
		"a life that is too short":      {"defaults: {validity: 90m}", "spec.defaults.validity: validity 1h30m is too short: at least 1d, unless short ones are allowed explicitly (allowShortValidity: true)"},
		"one that is too short even so": {"defaults: {validity: 9m, allowShortValidity: true}", "spec.defaults.validity: validity 9m is too short: at least 10m"},
		"a life within the threshold":   {"defaults: {validity: 30d}", "spec.defaults.validity: 30d is not longer than the threshold, 30d: make the threshold shorter, or set allowShortValidity: true"},
		"a threshold beyond the life":   {"defaults: {validity: 90d}, rules: [{name: a, match: {services: [etcd]}, threshold: {duration: 100d}}]", "spec.rules[0].validity: 90d is not longer than the threshold, 100d"},
		"a back-off that shrinks":       {"retry: {initialBackoff: 48h}", "spec.retry.initialBackoff: 2d is longer than maxBackoff, 1d"},
		"a zero":                        {"retry: {stopAfter: 0}", "spec.retry.stopAfter: 0: want a number from 1 to 100"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rotationpolicy.Read([]byte(header + "spec: {" + tt.spec + "}\n"))
			require.Error(t, err)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

// TestShortLivesThatAreMeant are taken, where a field says so.
func TestShortLivesThatAreMeant(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"{validity: 31d}": 31 * day,
		"{validity: 7d, threshold: {duration: 2d}}":               7 * day,
		"{validity: 7d, allowShortValidity: true}":                7 * day,
		"{validity: 12h, allowShortValidity: true}":               12 * time.Hour,
		"{validity: 2d, threshold: {duration: 12h}, windows: []}": 2 * day,
	} {
		assert.Equal(t, want, compiled(t, header+"spec: {defaults: "+text+"}\n").Default.Validity)
	}
}

func windows(schedule, duration, zone string) string {
	return `defaults: {windows: [{schedule: "` + schedule + `", duration: ` + duration + ", timeZone: " + zone + "}]}"
}
