package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const policyHeader = "apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\n"

// inWindows is a policy with most of what there is.
const inWindows = policyHeader + `
spec:
  defaults:
    windows:
    - {schedule: "0 2 * * 6", duration: 4h, timeZone: Europe/Berlin}
    - {schedule: "0 11 * * *", duration: 2h}
  rules:
  - name: etcd by hand
    match: {services: [etcd], issuers: [etcd-ca]}
    mode: NotifyOnly
  - name: test workers
    match: {nodeSelector: {matchLabels: {env: test}}}
    validity: 90d
    windows: []
    restart: {renewal: Always}
  freeze: {enabled: true, until: 2026-12-01T00:00:00Z, reason: release week}
`

func policyAt(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestPolicyCheckOffline(t *testing.T) {
	f := newFake()
	code, stdout, stderr := f.run(t, "policy", "check", "--offline", policyAt(t, inWindows))
	assert.Zero(t, code, stderr)
	golden(t, "policy-offline.txt", stdout)
	assert.Empty(t, f.log, "no request is sent")
	assert.Empty(t, stderr)

	code, stdout, _ = f.run(t, "policy", "check", "--offline", policyAt(t, policyHeader))
	assert.Zero(t, code)
	golden(t, "policy-default.txt", stdout)
}

// sixNodes have something for every answer that a policy can give.
func sixNodes() *fake {
	cp1, cp2, w1, w2 := controlPlane("cp1"), controlPlane("cp2"), worker("w1"), worker("w2")
	cp1.Certificates[0] = leaf(certs.Etcd, "etcd-peer", "etcd-ca", 20*day)
	cp2.Certificates[1] = leaf(certs.KubeAPIServer, "apiserver", "kubernetes", 20*day)
	w1.Certificates[0] = kubelet("w1", 3*day)
	f := newFake(cp1, cp2, w1, w2)
	f.nodes[3].Labels = map[string]string{"env": "test"}
	return f
}

func TestPolicyCheck(t *testing.T) {
	f := sixNodes()
	code, stdout, stderr := f.run(t, "policy", "check", policyAt(t, inWindows))
	assert.Equal(t, 1, code, "the kubelet's ends during the freeze, and etcd's is due and not rotated automatically")
	golden(t, "policy.txt", stdout+"--\n"+stderr)
	assert.True(t, f.did("permissions for check"))
	assert.True(t, f.did("scan cp1,cp2,w1,w2"))

	_, stdout, _ = f.run(t, "policy", "check", "-o", "yaml", policyAt(t, policyHeader))
	golden(t, "policy.yaml", stdout)
}

func TestPolicyCheckExitCodes(t *testing.T) {
	due := worker("w1")
	due.Certificates[0] = kubelet("w1", 20*day)
	ending := worker("w1")
	ending.Certificates[0] = kubelet("w1", 20*day)
	ending.Authorities[0] = authority("kubernetes", 20*day, "")
	for _, tt := range []struct {
		name, policy string
		cluster      *fake
		args         []string
		code         int
		says         string
	}{
		{"in time", policyHeader, newFake(worker("w1")), nil, 0, "All of 1 certificate would be rotated in time; the first in 310d."},
		{"now", policyHeader, newFake(due), nil, 0, "the first now."},
		{"at another time", policyHeader, newFake(worker("w1")), []string{"--now", noon.Add(320 * day).Format(time.RFC3339)}, 0, "the first now."},
		{"notify only, nothing due", policyHeader + "spec: {defaults: {mode: NotifyOnly}}\n", newFake(worker("w1")), nil, 0, "No certificate is rotated automatically under this policy, and none is due."},
		{"notify only, and due", policyHeader + "spec: {defaults: {mode: NotifyOnly}}\n", newFake(due), nil, 1, `kubelet-client of w1: rule "defaults" is notify-only`},
		{"before its window", policyHeader + "spec: {defaults: {windows: [{schedule: \"0 0 1 3 *\", duration: 1h}], override: {never: true}}}\n", newFake(due), nil, 1,
			"kubelet-client of w1: it expires before its next window"},
		{"its CA ends", policyHeader, newFake(ending), nil, 1, `kubelet-client of w1: its CA "kubernetes" expires at 2026-12-14T12:00:00Z, and a new certificate with it: replace the CA`},
		{"a wrong file", "kind: x\n", newFake(due), nil, 2, "policy.yaml\": 3 errors\n  apiVersion: "},
		{"a wrong time", policyHeader, newFake(due), []string{"--now", "tomorrow"}, 2, `--now "tomorrow": want a time with its zone`},
		{"no node could be scanned", policyHeader, func() *fake {
			f := newFake(due)
			f.missing = append(f.missing, exclusion("w1", "NotReady"))
			return f
		}(), nil, 2, "NotReady"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"policy", "check", policyAt(t, tt.policy)}, tt.args...)
			code, stdout, stderr := tt.cluster.run(t, args...)
			assert.Equal(t, tt.code, code, stdout)
			assert.Contains(t, stderr, tt.says)
		})
	}
}

func TestPolicyFromStandardInput(t *testing.T) {
	code, stdout, stderr := newFake().interrupted(t, nil, strings.NewReader(policyHeader), "policy", "check", "--offline", "-")
	assert.Zero(t, code, stderr)
	assert.Contains(t, stdout, "every certificate")
}

func exclusion(node, reason string) plan.NotInspected {
	x := plan.NotInspected{Node: node}
	x.Reason = reason
	return x
}

// TestPolicyCheckOfTheCluster is that of the RotationPolicy in force where no file is named.
func TestPolicyCheckOfTheCluster(t *testing.T) {
	due := worker("w1")
	due.Certificates[0] = kubelet("w1", 20*day)
	f := newFake(due)
	f.policy = &v1alpha1.RotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RotationPolicyName}}
	f.policy.Spec.Defaults.Mode = "NotifyOnly"
	code, _, stderr := f.run(t, "policy", "check")
	assert.Equal(t, 1, code, "%s", stderr)
	assert.Contains(t, stderr, `kubelet-client of w1: rule "defaults" is notify-only`)

	f.policy.Spec.Defaults.Windows = []v1alpha1.RotationPolicyWindow{{Schedule: "61 * * * *", Duration: "1h"}}
	code, stdout, stderr := f.run(t, "policy", "check")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `error: RotationPolicy "default" is invalid: spec.defaults.windows[0].schedule: `)
	assert.Empty(t, stdout)

	f.policy = nil
	code, stdout, stderr = f.run(t, "policy", "check")
	assert.Zero(t, code, stderr)
	assert.Contains(t, stderr, "The cluster has no RotationPolicy: the defaults are in force.\n")
	assert.Contains(t, stdout, "every certificate")
}

func TestInstalledPolicyIsRead(t *testing.T) {
	read := func(s *apiServerFake) (*v1alpha1.RotationPolicy, error) {
		t.Helper()
		t.Setenv("KUBECONFIG", "testdata/kubeconfig")
		flags := newConnectionFlags()
		*flags.APIServer = s.URL
		conn, err := flags.newConnection()
		require.NoError(t, err)
		return (&app{}).installedPolicy(t.Context(), conn)
	}
	s := newAPIServer(t)
	policy, err := read(s)
	require.NoError(t, err)
	assert.Nil(t, policy, "the kind is not defined")

	s = installed(t)
	policy, err = read(s)
	require.NoError(t, err)
	require.NotNil(t, policy)
	assert.Equal(t, "10%", policy.Spec.Limits.MaxUnavailable.String())
	s.remove(policyPath)
	policy, err = read(s)
	require.NoError(t, err)
	assert.Nil(t, policy)
	s.forbidden = []string{"get rotationpolicies"}
	_, err = read(s)
	assert.ErrorContains(t, err, `read RotationPolicy "default": rotationpolicies is forbidden`)
}
