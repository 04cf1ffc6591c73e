package watcher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

func reportWith(problems int32, certificates ...v1alpha1.ReportedCertificate) v1alpha1.NodeCertificateReport {
	return v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp1"}, Summary: v1alpha1.ReportSummary{Problems: problems}, Certificates: certificates}
}

func expiresAt(service certs.Service, left time.Duration) v1alpha1.ReportedCertificate {
	return v1alpha1.ReportedCertificate{Service: service, NotAfter: metav1.NewTime(noon.Add(left))}
}

func rotationIn(state v1alpha1.RotationState, name string) v1alpha1.CertificateRotation {
	return v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.CertificateRotationStatus{
		RotationID: "id-of-" + name, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: string(state)}}}}
}

func TestSummaryHasTheWorstState(t *testing.T) {
	valid := expiresAt(certs.Etcd, time.Hour)
	expired := expiresAt(certs.Etcd, 0)
	for _, tc := range []struct {
		want    v1alpha1.ClusterState
		c       metrics.Cluster
		reports []v1alpha1.NodeCertificateReport
	}{
		{v1alpha1.ClusterUnknown, metrics.Cluster{}, nil},
		{v1alpha1.ClusterOK, metrics.Cluster{Agents: map[string]bool{"cp1": true}}, []v1alpha1.NodeCertificateReport{reportWith(0, valid)}},
		{v1alpha1.ClusterUnknown, metrics.Cluster{Agents: map[string]bool{"cp1": true, "w1": false}}, []v1alpha1.NodeCertificateReport{reportWith(0, valid)}},
		{v1alpha1.ClusterDue, metrics.Cluster{Due: 1, Agents: map[string]bool{"w1": false}}, []v1alpha1.NodeCertificateReport{reportWith(0, valid)}},
		{v1alpha1.ClusterProblems, metrics.Cluster{Due: 1}, []v1alpha1.NodeCertificateReport{reportWith(1, valid)}},
		{v1alpha1.ClusterExpired, metrics.Cluster{Due: 1}, []v1alpha1.NodeCertificateReport{reportWith(1, valid, expired)}},
		{v1alpha1.ClusterManualInterventionRequired, metrics.Cluster{Interventions: 1}, []v1alpha1.NodeCertificateReport{reportWith(1, expired)}},
	} {
		tc.c.Reports = eachReport(tc.reports)
		assert.Equal(t, tc.want, summarizeCluster("prod", tc.c, nil, noon).State)
	}
}

func TestSummaryOfServicesAndRotation(t *testing.T) {
	reports := []v1alpha1.NodeCertificateReport{
		reportWith(0, expiresAt(certs.Etcd, 2*time.Hour), expiresAt(certs.Kubelet, time.Hour), v1alpha1.ReportedCertificate{Service: certs.Admin}),
		reportWith(0, expiresAt(certs.Etcd, time.Hour)),
	}
	got := summarizeCluster("prod", metrics.Cluster{Reports: eachReport(reports)},
		[]v1alpha1.CertificateRotation{rotationIn(v1alpha1.StateSucceeded, "old"), rotationIn(v1alpha1.StateRunning, "auto-1"), rotationIn(v1alpha1.StatePending, "auto-2")}, noon)
	assert.Equal(t, map[certs.Service]time.Time{certs.Etcd: noon.Add(time.Hour), certs.Kubelet: noon.Add(time.Hour)}, got.EarliestExpiry)
	assert.Equal(t, &v1alpha1.SummaryRotation{Name: "auto-1", ID: "id-of-auto-1"}, got.Rotation)
	assert.Equal(t, "prod", got.Cluster)
	assert.Nil(t, summarizeCluster("prod", metrics.Cluster{}, nil, noon).Rotation)
}

// TestSummaryFitsItsBucket, with the longest names.
func TestSummaryFitsItsBucket(t *testing.T) {
	var all []v1alpha1.ReportedCertificate
	for _, service := range certs.Services() {
		all = append(all, expiresAt(service, time.Hour))
	}
	summary := summarizeCluster(strings.Repeat("n", 253), metrics.Cluster{Reports: eachReport([]v1alpha1.NodeCertificateReport{reportWith(0, all...)}), Interventions: 1},
		[]v1alpha1.CertificateRotation{rotationIn(v1alpha1.StateRunning, strings.Repeat("r", 253))}, noon)
	summary.WrittenAt = noon
	decider := controller.NewDecider(&controller.Decider{Client: observerOf(t).objects.(client.Client), Events: nothingPublished{}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return noon }}, nil)
	for i := range 9 {
		decider.GiveUpAsked(t.Context(), event.RotationAsked{Cluster: fmt.Sprint(i)}, "id", strings.Repeat("<", 900))
	}
	summary.Answers = decider.AnswersFor(nil)
	require.NotEmpty(t, summary.Answers)
	value, err := json.Marshal(summary)
	require.NoError(t, err)
	assert.Less(t, len(value), bus.SummaryMaxSize)
	summary.Answers = nil
	value, err = json.Marshal(summary)
	require.NoError(t, err)
	assert.Less(t, len(value), bus.SummaryMaxSize/2)
}

// TestSummaryHasARotationStartedByHand: it holds the lock, and there is no CertificateRotation.
func TestSummaryHasARotationStartedByHand(t *testing.T) {
	for name, tt := range map[string]struct {
		held *kube.HeldError
		err  error
		want *v1alpha1.SummaryRotation
	}{
		"in progress":             {held: &kube.HeldError{Holder: "alice@laptop (rotation 7f3c2a)", Until: noon.Add(time.Second)}, want: &v1alpha1.SummaryRotation{ID: "7f3c2a"}},
		"without an id":           {held: &kube.HeldError{Holder: "alice", Until: noon.Add(time.Second)}, want: &v1alpha1.SummaryRotation{}},
		"with a long id":          {held: &kube.HeldError{Holder: "a (rotation " + strings.Repeat("7", 9999) + ")", Until: noon.Add(time.Second)}, want: &v1alpha1.SummaryRotation{ID: strings.Repeat("7", 253)}},
		"killed a while ago":      {held: &kube.HeldError{Holder: "alice@laptop (rotation 7f3c2a)", Until: noon}},
		"of the watcher":          {held: &kube.HeldError{Holder: "rotate-certs-watcher (rotation 7f3c2a)", Until: noon.Add(time.Second)}},
		"the lock is free":        {},
		"the lock cannot be read": {err: errors.New("forbidden")},
	} {
		t.Run(name, func(t *testing.T) {
			o := observerOf(t)
			o.decided = func() (renewal.Decision, time.Time) { return renewal.Decision{}, noon }
			o.holder = func(context.Context) (*kube.HeldError, error) { return tt.held, tt.err }
			got, known := o.takeSummary("prod")
			require.True(t, known)
			assert.Equal(t, tt.want, got.Rotation)
			text, err := json.Marshal(got)
			require.NoError(t, err)
			assert.NotContains(t, string(text), "alice", "who started it is not shared")
		})
	}
}

// TestRotationByHandStaysInTheSummaryWhileTheLockCannotBeRead: it restarts the API server itself.
func TestRotationByHandStaysInTheSummaryWhileTheLockCannotBeRead(t *testing.T) {
	o := observerOf(t)
	o.decided = func() (renewal.Decision, time.Time) { return renewal.Decision{}, noon }
	at := noon
	o.now = func() time.Time { return at }
	var unreadable error
	o.holder = func(context.Context) (*kube.HeldError, error) {
		if unreadable != nil {
			return nil, unreadable
		}
		return &kube.HeldError{Holder: "alice@laptop (rotation 7f3c2a)", Until: noon.Add(time.Minute)}, nil
	}
	inSummary := func() bool {
		got, known := o.takeSummary("prod")
		return assert.True(t, known) && got.Rotation != nil
	}
	assert.True(t, inSummary())
	unreadable = errors.New("connection refused")
	assert.True(t, inSummary())
	at = noon.Add(time.Minute)
	assert.False(t, inSummary(), "the lock has ended")
}

// nothingPublished is a publisher without NATS.
type nothingPublished struct{}

func (nothingPublished) Publish(event.Data) (string, error) { return "", nil }

// summaryTest is a writer with a clock, and what it has written.
type summaryTest struct {
	summaryWriter
	clock   time.Time
	summary v1alpha1.ClusterSummary
	known   bool
	written []v1alpha1.ClusterSummary
	err     error
	lines   bytes.Buffer
}

func newSummaryTest(t *testing.T) *summaryTest {
	t.Helper()
	s := &summaryTest{clock: noon, known: true, summary: v1alpha1.ClusterSummary{Cluster: "prod", State: v1alpha1.ClusterOK}}
	s.summarize = func() (v1alpha1.ClusterSummary, bool) { return s.summary, s.known }
	s.put = func(_ context.Context, value []byte) error {
		if s.err != nil {
			return s.err
		}
		var one v1alpha1.ClusterSummary
		require.NoError(t, json.Unmarshal(value, &one))
		s.written = append(s.written, one)
		return nil
	}
	s.now = func() time.Time { return s.clock }
	s.log = slog.New(slog.NewTextHandler(&s.lines, nil))
	return s
}

func TestSummaryIsWrittenWhenItChangesOrIsOld(t *testing.T) {
	s := newSummaryTest(t)
	s.known = false
	s.writeIfNeeded(t.Context())
	require.Empty(t, s.written, "what is due is not known yet")

	s.known = true
	s.writeIfNeeded(t.Context())
	s.clock = noon.Add(v1alpha1.SummaryHeartbeat - time.Second)
	s.writeIfNeeded(t.Context())
	require.Len(t, s.written, 1)
	s.summary.State = v1alpha1.ClusterDue
	s.writeIfNeeded(t.Context())
	require.Len(t, s.written, 2)
	s.clock = s.clock.Add(v1alpha1.SummaryHeartbeat)
	s.writeIfNeeded(t.Context())
	require.Len(t, s.written, 3)
	assert.Equal(t, s.clock, s.written[2].WrittenAt)
}

func TestSummaryThatIsRefusedIsLoggedOnce(t *testing.T) {
	s := newSummaryTest(t)
	s.err = errors.New("permission denied")
	for range 3 {
		s.writeIfNeeded(t.Context())
	}
	assert.False(t, s.stored.Load())
	assert.Equal(t, 1, strings.Count(s.lines.String(), "permission denied"))
	s.err = nil
	s.writeIfNeeded(t.Context())
	assert.True(t, s.stored.Load())
	assert.Contains(t, s.lines.String(), "shared again")
	require.Len(t, s.written, 1)
}

// TestSummaryIsTakenFromTheSnapshot once the policy was applied.
func TestSummaryIsTakenFromTheSnapshot(t *testing.T) {
	rotation := rotationIn(v1alpha1.StateInterrupted, "auto-1")
	report := reportWith(0, expiresAt(certs.Etcd, time.Hour))
	o := observerOf(t, &rotation, &report)
	_, known := o.takeSummary("prod")
	require.False(t, known)
	o.decided = func() (renewal.Decision, time.Time) {
		return renewal.Decision{Waiting: []renewal.Waiting{{Reason: renewal.ReasonStopped, Certificates: []renewal.Ref{{Node: "cp1"}}}}}, noon
	}
	got, known := o.takeSummary("prod")
	require.True(t, known)
	assert.Equal(t, v1alpha1.ClusterDue, got.State)
	assert.Equal(t, "auto-1", got.Rotation.Name)
	assert.Empty(t, got.Answers)
	o.holder = func(context.Context) (*kube.HeldError, error) {
		return &kube.HeldError{Holder: "alice@laptop (rotation 7f3c2a)", Until: noon.Add(time.Minute)}, nil
	}
	got, _ = o.takeSummary("prod")
	assert.Equal(t, "auto-1", got.Rotation.Name, "the lock says less of a rotation of the watcher")
	o.holder = nil
	answer := []v1alpha1.SummaryAnswer{{Request: "asked-1"}}
	o.answers = func(rotations []v1alpha1.CertificateRotation) []v1alpha1.SummaryAnswer {
		assert.Len(t, rotations, 1)
		return answer
	}
	got, _ = o.takeSummary("prod")
	assert.Equal(t, answer, got.Answers)

	elected := make(chan struct{})
	close(elected)
	o.elected = elected
	assert.Nil(t, o.takeSnapshot().SummaryShared)
	o.shared = func() bool { return true }
	assert.True(t, *o.takeSnapshot().SummaryShared)
}
