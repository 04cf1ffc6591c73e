package plugin

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// surveyed is what status prints of an installation, as a document and in words.
func surveyed(t *testing.T, s *apiServerFake) (*v1alpha1.WatcherStatus, string) {
	t.Helper()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	flags := newConnectionFlags()
	*flags.APIServer = s.URL
	conn, err := flags.newConnection()
	require.NoError(t, err)
	a := &app{now: func() time.Time { return noon }}
	status, _ := a.surveyWatcher(t.Context(), conn)
	var out strings.Builder
	printInstalled(&out, status, displayName, noon)
	return status, out.String()
}

func TestStatusOfTheWatcher(t *testing.T) {
	s := installed(t)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1", `{"summary":{"observedAt":"2026-11-24T07:00:00Z"},
		"status":{"conditions":[{"type":"CertificatesDue","status":"True","reason":"CAExpiresSoon","message":"kubelet-client: a successor would end with its CA"}]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/compromisedcertificates/etcd-1", `{"spec":{"service":"etcd","nodes":["cp1"],"reason":"disk sold"},"status":{"conditions":[{"type":"Replaced","status":"False","message":"waits for auto-1"}]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/compromisedcertificates/etcd-2", `{"spec":{"service":"etcd","reason":"x"},"status":{"conditions":[{"type":"Replaced","status":"True"}]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/auto-2", `{"spec":{"services":["etcd"],"nodes":["cp1"]},"status":{"conditions":[{"type":"Succeeded","status":"False","reason":"RolledBack","message":"etcd did not become healthy"}]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/by-hand", `{"spec":{"services":["kubelet"]}}`)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/certificaterotations/test-nodes", `{"spec":{"services":["kubelet"],"nodeSelector":{"matchLabels":{"env":"test"}},"suspend":true},"status":{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Suspended","message":"suspended; it starts once spec.suspend is false"}]}}`)
	status, words := surveyed(t, s)
	golden(t, "status-watcher.txt", strings.ReplaceAll(words, version.Version, "VERSION"))
	assert.Len(t, status.Rotations, 3, "what succeeded is not open")
	assert.Len(t, status.CompromisedCertificates, 1)

	raw, err := json.Marshal(v1alpha1.RotationStatus{Installed: status})
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"installed":{"namespace":"rotate-certs","watcher":{"ready":1,"wanted":1,"nats":"embedded","leader":"rotate-certs-watcher-abc","version":"`+version.Version+`"}`)
}

func TestStatusWithoutAnInstallation(t *testing.T) {
	status, words := surveyed(t, newAPIServer(t))
	assert.Nil(t, status)
	assert.Empty(t, words)
}

func TestStatusWithoutTheDefinitions(t *testing.T) {
	s := installed(t)
	for _, p := range s.paths("/customresourcedefinitions/") {
		s.remove(p)
	}
	_, words := surveyed(t, s)
	assert.Contains(t, words, "Watcher: 1/1 ready")
	assert.Contains(t, words, "Not read: reports: the API server does not know them; run install again\n")
}

func TestStatusWithoutAnyPermission(t *testing.T) {
	s := installed(t)
	s.forbidden = []string{"list deployments", "list nodes", "list nodecertificatereports", "list compromisedcertificates", "list certificaterotations", "get rotationpolicies"}
	status, _ := surveyed(t, s)
	assert.Nil(t, status)
}

// TestStatusShowsWhatIsDueWithoutTheNodes: the role for viewers has no right to list them.
func TestStatusShowsWhatIsDueWithoutTheNodes(t *testing.T) {
	s := installed(t)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1", `{"summary":{"observedAt":"2026-11-20T07:00:00Z"},
		"status":{"conditions":[{"type":"CertificatesDue","status":"True","reason":"CAExpiresSoon","message":"kubelet-client: a successor would end with its CA"}]}}`)
	s.forbidden = []string{"list nodes"}
	status, words := surveyed(t, s)
	require.Len(t, status.Due, 1)
	assert.Equal(t, "w1", status.Due[0].Node)
	assert.Contains(t, words, "w1: last reported at 2026-11-20 07:00 UTC")
	assert.Contains(t, words, "Not read: nodes without a report: ")
}

// TestStatusWithoutPermissionToCreatePods where the watcher is installed: its objects say most.
func TestStatusWithoutPermissionToCreatePods(t *testing.T) {
	denied := &kube.MissingPermissionsError{Use: kube.UseStatus, Missing: []string{"create pods in namespace kube-system (run a pod on each node)"}}
	watched := &v1alpha1.WatcherStatus{Namespace: "rotate-certs", Watcher: &v1alpha1.WatcherHealth{ReadyCount: v1alpha1.ReadyCount{Ready: 1, Wanted: 1}, NATS: "embedded"}}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, "rotate-certs", nil)
	for name, tt := range map[string]struct {
		args    string
		denied  error
		watcher *v1alpha1.WatcherStatus
		lock    error
		code    int
		says    []string
		scanned bool
	}{
		"permitted":                   {"status", nil, watched, nil, 0, []string{"Watcher: 1/1 ready"}, true},
		"not permitted":               {"status", denied, watched, nil, 0, []string{"No rotation is in progress.", "The nodes' journals were not read (missing permissions: create pods", "Watcher: 1/1 ready"}, false},
		"not permitted, nor the lock": {"status", denied, watched, forbidden, 0, []string{"unknown (missing permission: get lease rotate-certs in namespace kube-system)", "Watcher: 1/1 ready"}, false},
		"not permitted, but required": {"status --nodes", denied, watched, nil, 1, []string{"missing permissions for status"}, false},
		"not permitted, no watcher":   {"status", denied, nil, nil, 1, []string{"missing permissions for status"}, false},
		"permitted, not wanted":       {"status --nodes=false", nil, watched, nil, 0, []string{"journals were not read (--nodes=false)"}, false},
		"the lock cannot be read":     {"status", nil, watched, forbidden, 1, []string{"forbidden"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := eventful()
			f.denied, f.survey, f.lockErr = tt.denied, tt.watcher, tt.lock
			code, stdout, stderr := f.run(t, strings.Fields(tt.args)...)
			assert.Equal(t, tt.code, code, stderr)
			for _, text := range tt.says {
				assert.Contains(t, stdout+stderr, text)
			}
			assert.Equal(t, tt.scanned, f.did("scan"))
		})
	}
}

// TestStatusWithPermissionForReportsOnly shows what these say.
func TestStatusWithPermissionForReportsOnly(t *testing.T) {
	s := installed(t)
	s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1", `{"summary":{"observedAt":"2026-11-20T07:00:00Z"},
		"status":{"conditions":[{"type":"CertificatesDue","status":"True","reason":"CAExpiresSoon","message":"soon"}]}}`)
	s.forbidden = []string{"list deployments", "list nodes", "list compromisedcertificates", "list certificaterotations"}
	status, _ := surveyed(t, s)
	require.NotNil(t, status)
	assert.Len(t, status.Due, 1)
}

// TestColumnsOfReportsAreThoseOfTheDefinition since a column that the server does not send is
// read as empty.
func TestColumnsOfReportsAreThoseOfTheDefinition(t *testing.T) {
	text, err := os.ReadFile("../deploy/chart/crds/rotate-certs.io_nodecertificatereports.yaml")
	require.NoError(t, err)
	var definition struct {
		Spec struct {
			Versions []struct {
				AdditionalPrinterColumns []struct{ Name string }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &definition))
	var columns []string
	for _, c := range definition.Spec.Versions[0].AdditionalPrinterColumns {
		columns = append(columns, c.Name)
	}
	assert.Subset(t, columns, []string{seenColumn, dueColumn, waitsColumn})
}
