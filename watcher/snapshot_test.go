package watcher

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

var noon = time.Date(2030, time.May, 17, 12, 0, 0, 0, time.UTC)

// busState is a bus as it stands.
type busState struct {
	stats bus.Stats
	err   error
}

func (b busState) Ready() error     { return b.err }
func (b busState) Stats() bus.Stats { return b.stats }

func observerOf(t *testing.T, objects ...runtime.Object) *observer {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	return &observer{
		objects: fake.NewClientBuilder().WithScheme(scheme).WithRuntimeObjects(objects...).Build(), picture: controller.NewPicture(),
		decided: func() (renewal.Decision, time.Time) { return renewal.Decision{}, time.Time{} },
		policy:  func() error { return nil }, elected: make(chan struct{}), bus: busState{}, now: func() time.Time { return noon },
	}
}

func TestSnapshotOfOneThatStandsBy(t *testing.T) {
	o := observerOf(t, &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}})
	o.bus = busState{stats: bus.Stats{Connected: true, Published: 3}}
	s := o.takeSnapshot()
	assert.False(t, s.Leader)
	assert.True(t, s.PolicyValid)
	assert.True(t, s.NATSReady)
	assert.Equal(t, bus.Stats{Connected: true, Published: 3}, s.Events)
	assert.Zero(t, s.OpenCompromised)

	o.policy, o.bus = func() error { return errors.New("unknown field") }, busState{err: errors.New("no stream")}
	s = o.takeSnapshot()
	assert.False(t, s.PolicyValid)
	assert.False(t, s.NATSReady)
}

func TestSnapshotOfTheLeader(t *testing.T) {
	replaced := &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "replaced"}, Status: v1alpha1.CompromisedCertificateStatus{
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReplaced, Status: metav1.ConditionTrue}}}}
	o := observerOf(t, replaced, &v1alpha1.CompromisedCertificate{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}},
		&v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp1"}},
		&v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: "auto-1"}, Status: v1alpha1.CertificateRotationStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: string(v1alpha1.StateManualInterventionRequired)}}}})
	elected := make(chan struct{})
	close(elected)
	etcd := renewal.Ref{Node: "cp1", Service: certs.Etcd, Name: "etcd-server", Fingerprint: "aa", NotAfter: noon}
	again, kubelet, starts := etcd, etcd, etcd
	again.NotAfter = noon.In(time.FixedZone("elsewhere", 3600))
	kubelet.Service, kubelet.NotAfter, starts.Fingerprint = certs.Kubelet, noon.Add(-time.Hour), "bb"
	o.elected, o.decided = elected, func() (renewal.Decision, time.Time) {
		return renewal.Decision{
			Start: []renewal.Proposal{{Certificates: []renewal.Ref{starts}}},
			Waiting: []renewal.Waiting{
				{Reason: renewal.ReasonStopped, Text: "one rotation", Certificates: []renewal.Ref{etcd}},
				{Reason: renewal.ReasonStopped, Text: "another one", Certificates: []renewal.Ref{kubelet}},
				{Reason: renewal.ReasonNodeUnavailable, Compromised: true, Certificates: []renewal.Ref{again}},
			},
		}, noon.Add(-time.Minute)
	}
	for name, labels := range map[string]map[string]string{"cp1": nil, "virtual": {"type": "virtual-kubelet"}} {
		o.picture.UpdateNode(name, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, noon)
	}
	windows := &corev1.Node{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "windows"}}}
	o.picture.UpdateNode("windows", windows, noon)

	s := o.takeSnapshot()
	assert.True(t, s.Leader)
	assert.Equal(t, map[string]bool{"cp1": false}, s.Agents, "no agent can run on a node of Windows or without a machine")
	assert.Equal(t, 1, s.OpenCompromised)
	assert.Equal(t, 1, s.Interventions)
	assert.Equal(t, 3, s.Due, "each certificate once")
	assert.Equal(t, map[string]metrics.Waiting{"Stopped": {Count: 2, Earliest: noon.Add(-time.Hour)}, "NodeUnavailable": {Count: 1, Earliest: again.NotAfter},
		"Starting": {Count: 1, Earliest: noon}}, s.Waiting)
	assert.Equal(t, noon.Add(-time.Minute), s.Decided)
	reports := 0
	for range s.Reports {
		reports++
	}
	assert.Equal(t, 1, reports)
}
