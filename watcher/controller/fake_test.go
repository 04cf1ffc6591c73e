package controller

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

var noon = time.Date(2030, time.May, 17, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// clock is moved by hand.
type clock struct {
	sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.Lock()
	defer c.Unlock()
	c.at = c.at.Add(d)
}

// publishedEvents collects what is published.
type publishedEvents struct {
	sync.Mutex
	published []event.Data
	err       error // of every publish
}

func (s *publishedEvents) Publish(data event.Data) (string, error) {
	s.Lock()
	defer s.Unlock()
	if s.err != nil {
		return "", s.err
	}
	s.published = append(s.published, data)
	return "event-1", nil
}

// types returns the types of the published events, in order, and clears them.
func (s *publishedEvents) types() []string {
	s.Lock()
	defer s.Unlock()
	out := typesOf(s.published)
	s.published = nil
	return out
}

func typesOf(published []event.Data) (out []string) {
	for _, d := range published {
		out = append(out, string(d.EventType()))
	}
	return out
}

// world is a cluster's objects, and an engine that does nothing but answer.
type world struct {
	t       *testing.T
	client  client.Client
	clock   *clock
	events  *publishedEvents
	engine  *fakeEngine
	picture *Picture
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	require.NoError(t, corev1.AddToScheme(scheme))
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.NodeCertificateReport{}, &v1alpha1.CertificateRotation{}, &v1alpha1.CompromisedCertificate{}).Build()
	return &world{t: t, client: c, clock: &clock{at: noon}, events: &publishedEvents{}, engine: &fakeEngine{}, picture: NewPicture()}
}

func (w *world) runner() *Runner {
	return NewRunner(&Runner{Client: w.client, Reader: w.client, Engine: w.engine, Events: w.events, Log: slog.New(slog.DiscardHandler), Now: w.clock.now})
}

func (w *world) rotation(name string) *v1alpha1.CertificateRotation {
	w.t.Helper()
	var c v1alpha1.CertificateRotation
	require.NoError(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, &c))
	return &c
}

// fakeEngine is a cluster of one node whose etcd certificate has the fingerprint "old".
type fakeEngine struct {
	sync.Mutex
	prepareErr error
	nodes      []inventory.Node
	unfinished *plan.Unfinished
	plan       plan.Plan
	rotate     func(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error)
	prepared   []plan.Request
	continued  []string // ids
	selected   []string // the nodes that a selector means
	rotated    []fleet.Options
}

func (e *fakeEngine) Prepare(_ context.Context, req plan.Request, continued string) (fleet.Rotation, error) {
	e.Lock()
	defer e.Unlock()
	e.prepared, e.continued = append(e.prepared, req), append(e.continued, continued)
	if req.NodeSelector != "" {
		req.Nodes = e.selected
	}
	id := "1d1d1d"
	if e.unfinished != nil {
		id = e.unfinished.ID
	}
	nodes := e.nodes
	if nodes == nil {
		nodes = []inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{
			{Service: certs.Etcd, Name: "etcd-server", Facts: certs.Facts{FingerprintSHA256: "old", NotAfter: noon.Add(day)}}}}}
	}
	return fleet.Rotation{ID: id, Request: req, Scanned: nodes, Unfinished: e.unfinished, Plan: e.plan}, e.prepareErr
}

func (e *fakeEngine) Rotate(ctx context.Context, o fleet.Options) (*v1alpha1.RotationReport, error) {
	e.Lock()
	e.rotated = append(e.rotated, o)
	rotate := e.rotate
	e.Unlock()
	if rotate != nil {
		return rotate(ctx, o)
	}
	o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "replacing"})
	o.Progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseVerified, Text: "2379 serves the new certificate", Done: true})
	return &v1alpha1.RotationReport{ID: o.ID, Result: v1alpha1.Succeeded, Notes: []string{"a note"}, Items: []v1alpha1.RotationItem{{
		Node: "cp1", Service: certs.Etcd, Certificates: []v1alpha1.RotatedCertificate{{
			Name: "etcd-server", Old: v1alpha1.CertificateRef{FingerprintSHA256: "old"}, New: &v1alpha1.CertificateRef{FingerprintSHA256: "new"}}}}}}, nil
}

// pending is a rotation of etcd, as the watcher asks for one.
func asked(name string) *v1alpha1.CertificateRotation {
	return &v1alpha1.CertificateRotation{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(noon)},
		Spec: v1alpha1.CertificateRotationSpec{Services: []certs.Service{certs.Etcd}, Nodes: []string{"cp1"}, Restart: "IfNeeded",
			Trigger: &v1alpha1.RotationTrigger{Reason: v1alpha1.TriggerExpiring, Fingerprints: []string{"old"}, Attempt: 1}},
	}
}
