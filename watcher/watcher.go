// Package watcher renews the certificates of a cluster before they expire. A renewal has these
// steps, each in the named function:
//
//  1. The agent of a node writes a NodeCertificateReport: pkg/node/agent.
//  2. The informer passes it to the picture, and triggers a decision: watchObjects,
//     [controller.Picture.UpdateReport], [controller.Decider.TriggerDecision].
//  3. The decider assesses the nodes that have changed, and decides under the policy:
//     [renewal.Assess], [renewal.Decide].
//  4. It publishes rotation.requested, through the outbox of the bus: [bus.Bus.Publish].
//  5. The consumer receives the request, and creates a CertificateRotation:
//     [bus.Bus.ReceiveRequests], [controller.Decider.ReceiveRequest]. Without NATS, the decider
//     creates it after some minutes, or at once if it is urgent.
//  6. The informer passes that to the runner, which runs it with the engine of the plugin:
//     [controller.Runner.TriggerRun], [controller.Engine].
//  7. Progress and result are written into its status, and published as events:
//     watcher/controller/progress.go.
//
// Compromised keys take the same path from step 3, from their CompromisedCertificate.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// Options are the settings of the watcher.
type Options struct {
	Config *rest.Config // how to reach the cluster
	// Cluster names the cluster in events; empty: the uid of its namespace kube-system.
	Cluster string
	// NotifyOnly publishes events and never starts a rotation, whatever the policy says.
	NotifyOnly bool
	Bus        bus.Config // without Cluster, GivenUp, Now and Log
	Pods       kube.PodOptions
	// LeaderElection elects one of several watchers. The Lease is in the namespace of the node
	// pods.
	LeaderElection bool
	HTTPAddress    string // for health and events; empty: none
	// MetricsAddress serves metrics by HTTPS to authorized users; empty: HTTPAddress serves
	// them without authentication.
	MetricsAddress string
	Dashboard      DashboardOptions
	// CertificateMetrics adds metrics of each certificate and node.
	CertificateMetrics bool
	Log                *slog.Logger
	// Engine carries out rotations; nil: the real one.
	Engine controller.Engine
}

// Run watches until ctx ends.
func Run(ctx context.Context, o Options) error {
	logr := logr.FromSlogHandler(o.Log.Handler())
	klog.SetLogger(logr)
	ctrllog.SetLogger(logr)
	mgr, err := newManager(o, logr)
	if err != nil {
		return err
	}
	if o.Bus.Cluster, err = clusterName(ctx, o); err != nil {
		return err
	}
	o.Bus.ReadSummaries = o.Bus.ShareSummary && o.Dashboard.Address != ""
	o.Bus.Log = o.Log.With("part", "bus")
	w := &watcher{policy: newPolicy(o.NotifyOnly, o.Log.With("part", "policy"), time.Now), picture: controller.NewPicture()}
	o.Bus.GivenUp = w.giveUp
	w.Options = o
	if w.bus, err = bus.Open(ctx, o.Bus); err != nil {
		return err
	}
	defer w.bus.Close()
	if err := w.assembleParts(ctx, mgr); err != nil {
		return err
	}
	o.Log.Info("watching", "cluster", o.Bus.Cluster, "notifyOnly", o.NotifyOnly)
	return mgr.Start(ctx)
}

type watcher struct {
	Options
	bus     *bus.Bus
	policy  *policy
	picture *controller.Picture
	decider *controller.Decider
	runner  *controller.Runner
	metrics *metrics.Metrics
	cache   cache.Cache
	synced  []toolscache.InformerSynced // of the event handlers
}

// awaitComplete waits until the informers have passed all existing objects, and the policy in
// force is known.
func (w *watcher) awaitComplete(ctx context.Context) bool {
	if !toolscache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return false
	}
	w.policy.applyDefaults()
	return true
}

// whenComplete runs a part after awaitComplete.
func (w *watcher) whenComplete(part func(context.Context) error) leading {
	return func(ctx context.Context) error {
		if !w.awaitComplete(ctx) {
			return nil
		}
		return part(ctx)
	}
}

func newManager(o Options, log logr.Logger) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	election, err := newElection(o)
	if err != nil {
		return nil, err
	}
	// The current node may take this long to finish or roll back. It must be shorter than the
	// grace period of the pod.
	end := 4 * time.Minute
	shared := true
	mgr, err := manager.New(o.Config, manager.Options{
		Scheme: scheme, Logger: log,
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		LeaderElection: o.LeaderElection, LeaderElectionResourceLockInterface: election.lock, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &election.lease, RenewDeadline: &election.renew, RetryPeriod: &election.retry,
		GracefulShutdownTimeout: &end,
		// Objects are copied before they are changed, and there may be ten thousand reports.
		Cache: cache.Options{DefaultTransform: controller.CompactObject, DefaultUnsafeDisableDeepCopy: &shared},
	})
	if err != nil {
		return nil, fmt.Errorf("use the cluster: %w", err)
	}
	return mgr, nil
}

// clusterName is the name of the cluster in events.
func clusterName(ctx context.Context, o Options) (string, error) {
	if o.Cluster != "" {
		return o.Cluster, nil
	}
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return "", fmt.Errorf("use the cluster: %w", err)
	}
	namespace, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", hint.AddTo(fmt.Errorf("name the cluster by its namespace %q: %w", metav1.NamespaceSystem, err), "--cluster gives it another name")
	}
	return string(namespace.UID), nil
}

// assembleParts connects the parts.
func (w *watcher) assembleParts(ctx context.Context, mgr manager.Manager) error {
	w.cache = mgr.GetCache()
	recorder := mgr.GetEventRecorder("rotate-certs-watcher")
	publisher := publisher{bus: w.bus, log: w.Log}
	cluster, err := kube.Connect(mgr.GetConfig(), w.Pods, kube.Locker{Holder: lockHolder, Instance: lockInstance()})
	if err != nil {
		return err
	}
	cluster.ReportWaits(func(node, text string) { w.Log.Info("waiting", "part", "rotations", "node", node, "message", text) })
	if w.Engine == nil {
		w.Engine = controller.NewEngine(cluster, nil)
	}
	lifetime, err := cluster.API.DefaultValidity(ctx)
	if err != nil {
		return err
	}
	w.policy.setLifetime(lifetime)
	conditions := controller.NewConditions(&controller.Conditions{Client: mgr.GetClient(), Log: w.Log.With("part", "conditions"), Now: time.Now, RefusedReports: w.picture.RefusedReports})
	w.decider = controller.NewDecider(&controller.Decider{
		Client: mgr.GetClient(), Picture: w.picture, Events: publisher, Recorder: recorder, Log: w.Log.With("part", "decisions"), Complete: w.awaitComplete, Decided: conditions.SetDecision,
	}, w.policy.currentPolicy())
	seen := observer{
		objects: w.cache, picture: w.picture, decided: w.decider.LastDecision, policy: w.policy.validationError, elected: mgr.Elected(), bus: w.bus, now: time.Now,
		answers: w.decider.AnswersFor,
	}
	shared := w.newSummaryWriter(&seen)
	if w.Bus.ShareSummary {
		seen.shared = shared.stored.Load
		if !w.NotifyOnly { // which has no permission for it
			seen.holder = cluster.API.Holder
		}
	}
	w.metrics = metrics.New(seen.takeSnapshot, metrics.Options{NoCertificates: !w.CertificateMetrics})
	w.runner = controller.NewRunner(&controller.Runner{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Engine: w.Engine, Events: publisher, Recorder: recorder,
		Log: w.Log.With("part", "rotations"), NotifyOnly: w.NotifyOnly, Finished: w.metrics.RotationEnded, MayStart: w.mayStart,
	})
	w.policy.use = w.decider.UsePolicy
	if err := w.watchObjects(ctx); err != nil {
		return err
	}
	parts := []manager.Runnable{
		w.decider, w.runner, conditions,
		&policyStatus{policy: w.policy, client: mgr.GetClient(), log: w.Log.With("part", "policy")},
		w.whenComplete(func(ctx context.Context) error { return w.bus.ReceiveRequests(ctx, w.receiveRequest) }),
		w.whenComplete(func(ctx context.Context) error { return w.bus.ReceiveCompromised(ctx, w.receiveCompromised) }),
	}
	if w.Bus.ShareSummary {
		parts = append(parts, w.whenComplete(shared.writeLoop),
			w.whenComplete(w.answerOthers))
	}
	if !w.NotifyOnly { // it may not delete rotations
		parts = append(parts, &controller.Pruner{
			Client: mgr.GetClient(), Picture: w.picture, Log: w.Log.With("part", "rotations"), Now: time.Now, Complete: w.awaitComplete,
		})
	}
	servers, err := w.newServers(ctx, mgr.GetConfig())
	if err != nil {
		return err
	}
	served, err := w.newDashboard(ctx, mgr, recorder)
	if err != nil {
		return err
	}
	parts = append(append(parts, servers...), served...)
	for _, part := range parts {
		if err := mgr.Add(part); err != nil {
			return err
		}
	}
	return nil
}

// watchObjects follows the objects that decisions depend on.
func (w *watcher) watchObjects(ctx context.Context) error {
	for _, source := range []struct {
		object client.Object
		on     func(name string, object client.Object) // nil: it was deleted
		gone   func(types.UID)
	}{
		{&v1alpha1.NodeCertificateReport{}, func(name string, o client.Object) {
			report, _ := o.(*v1alpha1.NodeCertificateReport)
			w.metrics.CountReport(name, report)
			if w.picture.UpdateReport(name, report) {
				w.decider.TriggerDecision()
			}
		}, nil},
		{&corev1.Node{}, func(name string, o client.Object) {
			node, _ := o.(*corev1.Node)
			if w.picture.UpdateNode(name, node, time.Now()) {
				w.decider.TriggerDecision()
			}
		}, nil},
		{&v1alpha1.RotationPolicy{}, w.policy.handleObject, nil},
		{&v1alpha1.CompromisedCertificate{}, func(string, client.Object) { w.decider.TriggerDecision() }, nil},
		{&v1alpha1.CertificateRotation{}, func(_ string, o client.Object) {
			if c, _ := o.(*v1alpha1.CertificateRotation); c != nil {
				w.runner.HandleChanged(c)
			}
			w.decider.TriggerDecision()
			w.runner.TriggerRun()
		}, w.runner.HandleDeleted},
	} {
		informer, err := w.cache.GetInformer(ctx, source.object, cache.BlockUntilSynced(false))
		if err != nil {
			return hint.AddTo(fmt.Errorf("watch %T: %w", source.object, err), "kubectl rotate-certs install")
		}
		registration, err := informer.AddEventHandler(informerHandler(source.on, source.gone))
		if err != nil {
			return fmt.Errorf("watch %T: %w", source.object, err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	return nil
}
