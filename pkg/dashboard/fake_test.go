package dashboard

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var testNow = time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)

// fakeClusters are clusters in memory. A cluster without a function answers with sample data.
type fakeClusters struct {
	contexts []Context
	clusters map[string]*fakeCluster
}

func (f *fakeClusters) Contexts() []Context { return f.contexts }

func (f *fakeClusters) Open(name string) (Cluster, error) {
	cluster := f.clusters[name]
	if cluster == nil {
		return nil, hint.AddTo(errors.New("open context \""+name+"\": no such user"), "kubectl config view")
	}
	return cluster, nil
}

// fakeCluster answers with its functions.
type fakeCluster struct {
	state      func(context.Context) (State, error)
	scan       func(context.Context) (v1alpha1.CertificateList, error)
	rotations  func(context.Context) (v1alpha1.RotationList, error)
	records    func(context.Context, string) (v1alpha1.RotationHistory, error)
	plan       func(context.Context, Choice) (Plan, error)
	mark       func(context.Context, Mark) error
	deleteMark func(context.Context, string) error
	events     func(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error
}

func (f *fakeCluster) State(ctx context.Context) (State, error) {
	if f.state == nil {
		return sampleState(3), nil
	}
	return f.state(ctx)
}

func (f *fakeCluster) Scan(ctx context.Context) (v1alpha1.CertificateList, error) {
	if f.scan == nil {
		return sampleList(3), nil
	}
	return f.scan(ctx)
}

func (f *fakeCluster) Rotations(ctx context.Context) (v1alpha1.RotationList, error) {
	if f.rotations == nil {
		return v1alpha1.RotationList{Items: []v1alpha1.PastRotation{samplePast()}}, nil
	}
	return f.rotations(ctx)
}

func (f *fakeCluster) Records(ctx context.Context, id string) (v1alpha1.RotationHistory, error) {
	if f.records == nil {
		past := samplePast()
		past.ID = id
		return v1alpha1.RotationHistory{PastRotation: past, Records: []v1alpha1.RotationRecord{
			{Node: "cp1", Time: testNow, Kind: "Staged", Services: past.Services},
			{Node: "cp1", Time: testNow, Kind: "Failed", Message: "etcd did not become healthy", Hint: "its log says why"}}}, nil
	}
	return f.records(ctx, id)
}

func (f *fakeCluster) Plan(ctx context.Context, c Choice) (Plan, error) {
	if f.plan == nil {
		return samplePlan(c, runOf(nil)), nil
	}
	return f.plan(ctx, c)
}

func (f *fakeCluster) MarkCompromised(ctx context.Context, m Mark) error {
	if f.mark == nil {
		return nil
	}
	return f.mark(ctx, m)
}

func (f *fakeCluster) DeleteMark(ctx context.Context, name string) error {
	if f.deleteMark == nil {
		return nil
	}
	return f.deleteMark(ctx, name)
}

func (f *fakeCluster) WatcherEvents(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error {
	switch {
	case f.events != nil:
		return f.events(ctx, since, follow, pass)
	case follow:
		<-ctx.Done()
	}
	return nil
}

// oneCluster has the context "prod".
func oneCluster(cluster *fakeCluster) *fakeClusters {
	return &fakeClusters{contexts: []Context{{Name: "prod", Cluster: "prod", User: "admin", Server: "https://10.0.0.1:6443", Current: true}},
		clusters: map[string]*fakeCluster{"prod": cluster}}
}

// sampleList has the certificates of three control-plane nodes, and of workers.
func sampleList(nodes int) v1alpha1.CertificateList {
	list := v1alpha1.CertificateList{
		Authorities: []v1alpha1.Authority{
			{Name: "kubernetes-ca", Facts: certs.Facts{NotAfter: testNow.AddDate(9, 0, 0)}, Nodes: []string{"cp1", "cp2", "cp3"}, KeyOn: []string{"cp1"}, Status: certs.OK},
			{Name: "etcd-ca", Facts: certs.Facts{NotAfter: testNow.AddDate(1, 4, 0)}, Nodes: []string{"cp1", "cp2", "cp3"}, Status: certs.OK},
		},
		Findings:     []v1alpha1.Finding{{Node: "cp1", Kind: "FileMode", Service: certs.Etcd, Path: "/etc/kubernetes/pki/etcd/server.key", Message: "mode 0644, want 0600"}},
		NotInspected: []v1alpha1.NotInspected{{Node: "w7", Reason: "NotReady for 14m"}},
	}
	for n := range nodes {
		name := fmt.Sprintf("cp%d", n+1)
		services := certs.Services()
		if n >= 3 {
			name = fmt.Sprintf("w%d", n-2)
			services = []certs.Service{certs.Kubelet, certs.KubeProxy}
		}
		for i, service := range services {
			c := v1alpha1.Certificate{Node: name, Service: service, Name: string(service) + "-client", Path: "/etc/kubernetes/pki/" + string(service) + ".crt", Status: certs.OK,
				Facts: certs.Facts{Subject: "CN=" + string(service), Issuer: "CN=kubernetes-ca", SerialNumber: "0a", NotAfter: testNow.AddDate(0, 2*i+3, 5*n),
					FingerprintSHA256: fmt.Sprintf("%064x", n*100+i), KeyAlgorithm: "RSA-2048"}}
			switch {
			case service == certs.Etcd && n == 0:
				c.NotAfter = testNow.AddDate(0, 0, 9)
				c.Status = certs.Expiring
				c.Reason = "ends 2026-12-09T03:00:00Z"
			case service == certs.Admin && n == 1:
				c.Status = certs.NotServed
				c.Reason = "10.0.0.2:6443 serves another certificate"
			}
			list.Items = append(list.Items, c)
		}
	}
	return list
}

func sampleState(nodes int) State {
	list := sampleList(nodes)
	rotation := v1alpha1.CertificateRotation{Spec: v1alpha1.CertificateRotationSpec{Services: []certs.Service{certs.Kubelet}}}
	rotation.Name = "expiring-kubelet-1"
	mark := v1alpha1.CompromisedCertificate{Spec: v1alpha1.CompromisedCertificateSpec{Service: certs.Admin, Reason: "laptop stolen"}}
	mark.Name = "admin-x7k2p"
	mark.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReplaced, Status: metav1.ConditionFalse, Message: "waits for rotation expiring-kubelet-1"}}
	return State{Version: "v1.37.2", Nodes: nodes, Certificates: &list, Observed: testNow.Add(-3 * time.Minute),
		Watcher: &v1alpha1.WatcherStatus{Namespace: "rotate-certs", Watcher: &v1alpha1.WatcherHealth{ReadyCount: v1alpha1.ReadyCount{Ready: 1, Wanted: 1}, Version: "v0.9.0"},
			Agents: &v1alpha1.ReadyCount{Ready: 3, Wanted: 3}, Due: []v1alpha1.DueOnNode{{Node: "cp1", Reason: "Expiring", Message: "etcd waits for the window on Sunday 02:00"}}},
		Rotations: []v1alpha1.CertificateRotation{rotation}, Marks: []v1alpha1.CompromisedCertificate{mark}}
}

func samplePast() v1alpha1.PastRotation {
	return v1alpha1.PastRotation{ID: "7f3c2a", Services: []certs.Service{certs.Etcd}, StartTime: testNow.Add(-48 * time.Hour), LastTime: testNow.Add(-48*time.Hour + 12*time.Second),
		Result: string(plan.Done), Nodes: []v1alpha1.PastRotationNode{{Node: "cp1", State: "Finished", Renewed: 3}}}
}

func samplePlan(c Choice, run runFunction) Plan {
	services := c.Services
	if len(services) == 0 {
		services = certs.Services()
	}
	document := v1alpha1.RotationPlan{Services: services, Restart: string(c.Restart), Effects: []string{"etcd restarts, one node at a time. Workloads are not touched."},
		LeftOut: []v1alpha1.LeftOut{{Node: "cp3", Service: certs.Admin, Name: "admin", Path: "/root/.kube/config", Reason: "its CA is not on any node"}}}
	for n := range 3 {
		document.Steps = append(document.Steps, v1alpha1.PlanStep{Node: fmt.Sprintf("cp%d", n+1), Wave: n + 1, ControlPlane: true, Restarts: services[:1],
			Certificates: []v1alpha1.PlannedCertificate{{Service: services[0], Name: string(services[0]) + "-server", Path: "/etc/kubernetes/pki/x.crt", Issuer: "LocalCA",
				NotAfter: testNow.AddDate(0, 0, 9), NewNotAfter: testNow.AddDate(1, 0, 0)}}})
	}
	return Plan{Document: document, Notes: []string{"Controllers on that node may restart with it."}, Command: "kubectl rotate-certs --context prod --service " + string(services[0]), Run: run}
}

// runOf reports progress of three nodes, waits for a channel if there is one, and succeeds. It ends
// early when it is interrupted.
func runOf(proceed <-chan struct{}) runFunction {
	return func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		progress(fleet.Progress{Phase: fleet.PhaseStaged, Text: "9 certificates signed", Done: true, Took: 900 * time.Millisecond})
		progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseWorking, Text: "restarting etcd"})
		if proceed != nil {
			select {
			case <-proceed:
			case <-ctx.Done():
				return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fmt.Errorf("rotate: %w", context.Cause(ctx))
			}
		}
		report := &v1alpha1.RotationReport{ID: "7f3c2a", StartTime: testNow, EndTime: testNow.Add(12 * time.Second), Result: v1alpha1.Succeeded, Notes: []string{"One old kubeconfig gives access until 2027-11-23."}}
		for n := range 3 {
			node := fmt.Sprintf("cp%d", n+1)
			progress(fleet.Progress{Node: node, Phase: fleet.PhaseVerified, Text: "replaced · restarted etcd · 2379 and 2380 serve the new certificates", Done: true, Took: 3400 * time.Millisecond})
			report.Items = append(report.Items, v1alpha1.RotationItem{Node: node, Service: certs.Etcd, Result: v1alpha1.Succeeded, Restarted: true, UnavailableSeconds: 1.2,
				Evidence: []string{"Handshake: 127.0.0.1:2379 serves it"}, Certificates: []v1alpha1.RotatedCertificate{{Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt",
					Old: v1alpha1.CertificateRef{NotAfter: testNow.AddDate(0, 0, 9)}, New: &v1alpha1.CertificateRef{NotAfter: testNow.AddDate(1, 0, 0)}}}})
		}
		return report, nil
	}
}
