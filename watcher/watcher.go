// Package watcher keeps the certificates of a cluster from expiring: it watches what the
// agents report, decides under a policy what is due, asks for it through NATS, and runs the
// rotations that are asked for. Its parts are in the packages below; here they are put
// together.
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
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// Options are what the watcher is told.
type Options struct {
	Config *rest.Config // how to reach the cluster
	// Cluster names the cluster in events; empty: the uid of its namespace kube-system.
	Cluster string
	// NotifyOnly tells and rotates nothing, whatever the policy says.
	NotifyOnly bool
	Bus        bus.Config // without Cluster, GivenUp, Now and Log
	Pods       kube.PodOptions
	// LeaderElection keeps two watchers of a cluster from doing the same. Its Lease is in
	// the namespace of the node pods.
	LeaderElection bool
	HTTPAddress    string // of health and events; empty: none
	// MetricsAddress is where those read metrics, by HTTPS, who may; empty: at HTTPAddress,
	// and whoever reaches it may.
	MetricsAddress string
	// CertificateMetrics has metrics of each certificate and node.
	CertificateMetrics bool
	Log                *slog.Logger
	// Engine carries rotations out; nil: the real one.
	Engine controller.Engine
}

// orderlyEnd is how long the node at work may take to finish or undo its part when the
// watcher is told to end. It must fit into the pod's grace.
const orderlyEnd = 4 * time.Minute

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
	o.Bus.Log = o.Log.With("part", "bus")
	w := &watcher{policy: newPolicy(o.NotifyOnly, o.Log.With("part", "policy"), time.Now), picture: controller.NewPicture()}
	o.Bus.GivenUp = func(ctx context.Context, e event.Event, why error) { w.decider.GivenUp(ctx, e, why) }
	w.Options = o
	if w.bus, err = bus.Open(ctx, o.Bus); err != nil {
		return err
	}
	defer w.bus.Close()
	if err := w.assemble(ctx, mgr); err != nil {
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
	synced  []toolscache.InformerSynced // that everything which there was has been passed on
}

// complete waits until it has, and until it is known which policy is in force.
func (w *watcher) complete(ctx context.Context) bool {
	if !toolscache.WaitForCacheSync(ctx.Done(), w.synced...) {
		return false
	}
	w.policy.settle()
	return true
}

// whenComplete runs a part once everything which there was has been passed on.
func (w *watcher) whenComplete(part func(context.Context) error) leading {
	return func(ctx context.Context) error {
		if !w.complete(ctx) {
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
	end, shared := orderlyEnd, true
	mgr, err := manager.New(o.Config, manager.Options{
		Scheme: scheme, Logger: log,
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		LeaderElection: o.LeaderElection, LeaderElectionResourceLockInterface: election.lock, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: &election.lease, RenewDeadline: &election.renew, RetryPeriod: &election.retry,
		GracefulShutdownTimeout: &end,
		// What is read here is copied before it is changed, and there may be ten thousand reports.
		Cache: cache.Options{DefaultTransform: controller.Compact, DefaultUnsafeDisableDeepCopy: &shared},
	})
	if err != nil {
		return nil, fmt.Errorf("use the cluster: %w", err)
	}
	return mgr, nil
}

// clusterName is what a cluster's events name it by.
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
		return "", fmt.Errorf("name the cluster by its namespace %q: %w\n--cluster names it otherwise", metav1.NamespaceSystem, err)
	}
	return string(namespace.UID), nil
}

// assemble puts the parts together.
func (w *watcher) assemble(ctx context.Context, mgr manager.Manager) error {
	w.cache = mgr.GetCache()
	recorder := mgr.GetEventRecorder("rotate-certs-watcher")
	teller := teller{bus: w.bus, log: w.Log}
	cluster, err := kube.Connect(mgr.GetConfig(), w.Pods, kube.Locker{Holder: "rotate-certs-watcher", Instance: instance()})
	if err != nil {
		return err
	}
	cluster.ReportWaits(func(node, what string) { w.Log.Info(what, "part", "rotations", "node", node) })
	if w.Engine == nil {
		w.Engine = controller.NewEngine(cluster, nil)
	}
	lifetime, err := cluster.API.DefaultValidity(ctx)
	if err != nil {
		return err
	}
	w.policy.lives(lifetime)
	conditions := controller.NewConditions(&controller.Conditions{Client: mgr.GetClient(), Log: w.Log.With("part", "conditions"), Now: time.Now, Refused: w.picture.Refused})
	w.decider = controller.NewDecider(&controller.Decider{
		Client: mgr.GetClient(), Picture: w.picture, Events: teller, Recorder: recorder, Log: w.Log.With("part", "decisions"), Complete: w.complete, Decided: conditions.Set,
	}, w.policy.current())
	seen := observer{
		objects: w.cache, picture: w.picture, decided: w.decider.Last, policy: w.policy.problem, elected: mgr.Elected(), bus: w.bus, now: time.Now,
	}
	w.metrics = metrics.New(seen.snapshot, metrics.Options{NoCertificates: !w.CertificateMetrics})
	w.runner = controller.NewRunner(&controller.Runner{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Engine: w.Engine, Events: teller, Recorder: recorder,
		Log: w.Log.With("part", "rotations"), NotifyOnly: w.NotifyOnly, Finished: w.metrics.RotationEnded, MayStart: w.mayStart,
	})
	w.policy.use = w.decider.Use
	if err := w.listen(ctx); err != nil {
		return err
	}
	parts := []manager.Runnable{
		w.decider, w.runner, conditions,
		&policyStatus{policy: w.policy, client: mgr.GetClient(), log: w.Log.With("part", "policy")},
		w.whenComplete(func(ctx context.Context) error { return w.bus.Requests(ctx, w.onRequest) }),
		w.whenComplete(func(ctx context.Context) error { return w.bus.Marks(ctx, w.onMark) }),
	}
	if !w.NotifyOnly { // it makes no rotations, and has no right to delete any
		parts = append(parts, &controller.Pruner{
			Client: mgr.GetClient(), Picture: w.picture, Log: w.Log.With("part", "rotations"), Now: time.Now, Complete: w.complete,
		})
	}
	servers, err := w.servers(ctx, mgr.GetConfig())
	if err != nil {
		return err
	}
	parts = append(parts, servers...)
	for _, part := range parts {
		if err := mgr.Add(part); err != nil {
			return err
		}
	}
	return nil
}

// leading runs on the leader only.
type leading func(context.Context) error

// Start runs it.
func (l leading) Start(ctx context.Context) error {
	if err := l(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// NeedLeaderElection says so.
func (leading) NeedLeaderElection() bool { return true }

// listen follows the objects that decisions depend on.
func (w *watcher) listen(ctx context.Context) error {
	for _, source := range []struct {
		object client.Object
		on     func(name string, object client.Object) // nil: it was deleted
		gone   func(types.UID)
	}{
		{&v1alpha1.NodeCertificateReport{}, func(name string, o client.Object) {
			report, _ := o.(*v1alpha1.NodeCertificateReport)
			w.metrics.Report(name, report)
			if w.picture.Report(name, report) {
				w.decider.Kick()
			}
		}, nil},
		{&corev1.Node{}, func(name string, o client.Object) {
			node, _ := o.(*corev1.Node)
			if w.picture.Node(name, node, time.Now()) {
				w.decider.Kick()
			}
		}, nil},
		{&v1alpha1.RotationPolicy{}, w.policy.on, nil},
		{&v1alpha1.CompromisedCertificate{}, func(string, client.Object) { w.decider.Kick() }, nil},
		{&v1alpha1.CertificateRotation{}, func(_ string, o client.Object) {
			if c, _ := o.(*v1alpha1.CertificateRotation); c != nil {
				w.runner.Changed(c)
			}
			w.decider.Kick()
			w.runner.Kick()
		}, w.runner.Deleted},
	} {
		informer, err := w.cache.GetInformer(ctx, source.object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %T: %w\nis it installed? kubectl rotate-certs install", source.object, err)
		}
		registration, err := informer.AddEventHandler(handler(source.on, source.gone))
		if err != nil {
			return fmt.Errorf("watch %T: %w", source.object, err)
		}
		w.synced = append(w.synced, registration.HasSynced)
	}
	return nil
}
