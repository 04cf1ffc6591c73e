package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// checksUntilHopeless is how many checks in a row must find a problem that does not pass
// withoutKind intervention before the wait ends.
const checksUntilHopeless = 10

// errTooLong ends a wait.
var errTooLong = errors.New("timeout")

// awaitReady waits until the agents and the watcher are ready, and says why they are not.
func (i *installer) awaitReady(ctx context.Context) error {
	if i.storage != "" {
		i.printStage("storage", i.storage, time.Time{})
	}
	w := &waiting{installer: i, printed: map[string]bool{}}
	for _, part := range []struct {
		name, component string
		check           func(context.Context) (done bool, words string, err error)
	}{
		{"agents", "agent", w.agentsReady},
		{"watcher", "watcher", w.watcherReady},
	} {
		if part.component == "watcher" && i.settings.WithoutWatcher {
			continue
		}
		began := i.now()
		words := ""
		err := i.waitUntil(ctx, "the "+part.name+" are ready", func(ctx context.Context) (bool, error) {
			done, now, err := part.check(ctx)
			if err != nil {
				return false, err
			}
			if words = now; done {
				return true, nil
			}
			return false, w.reportTroubles(ctx, part.component)
		})
		if err != nil {
			return hint.AddTo(fmt.Errorf("everything is applied, but not ready: %s: %s\n%w", part.name, words, err),
				"fix the cause and run it again; see kubectl -n %s describe pods -l %s=%s", i.targetNamespace(), kube.LabelComponent, part.component)
		}
		i.printStage(part.name, words, began)
	}
	return nil
}

// waitUntil waits at most --timeout.
func (i *installer) waitUntil(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	return i.awaitCondition(ctx, time.Duration(i.timeout), what, holds)
}

// waiting is the state while pods start.
type waiting struct {
	*installer
	printed  map[string]bool // problems that were printed
	hopeless int             // checks in a row in which every pod had a lasting problem
}

func (w *waiting) agentsReady(ctx context.Context) (bool, string, error) {
	set, err := w.api.client.AppsV1().DaemonSets(w.targetNamespace()).Get(ctx, manifests.Agent, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("read the agents: %w", err)
	}
	nodes, err := kube.ListNodes(ctx, w.api.client)
	if err != nil {
		return false, "", err
	}
	notReady, virtual := notWaitedFor(nodes)
	words := agentWords(set)
	if len(notReady) > 0 {
		words += "; not waited for: " + printers.SomeNames(notReady) + " (NotReady)"
	}
	if !agentsReady(set, len(notReady)+virtual) {
		return false, words, nil
	}
	silent, err := w.silentNodes(ctx, notReady)
	if len(silent) > 0 {
		words += "; no fresh report of: " + printers.SomeNames(silent)
	}
	return len(silent) == 0, words, err
}

// silentNodes are the nodes with an agent and without a fresh report.
func (w *waiting) silentNodes(ctx context.Context, notReady []string) ([]string, error) {
	s := &survey{objects: w.api, now: w.now(), status: &v1alpha1.WatcherStatus{}}
	err := s.readReports(ctx)
	var out []string
	for _, n := range s.status.WithoutReport {
		if !slices.Contains(notReady, n.Node) {
			out = append(out, fmt.Sprintf("%s (%s)", n.Node, n.Reason))
		}
	}
	return out, err
}

// notWaitedFor returns the NotReady nodes, since their agents cannot be ready, and the number of
// virtual nodes that only a taint marks: the DaemonSet counts them, since agents tolerate taints.
func notWaitedFor(nodes []kubenode.Node) (notReady []string, virtual int) {
	for _, n := range nodes {
		switch {
		case n.Virtual && n.Labels["type"] != "virtual-kubelet":
			virtual++
		case !n.Foreign() && !n.Ready:
			notReady = append(notReady, n.Name)
		}
	}
	return notReady, virtual
}

func agentWords(set *appsv1.DaemonSet) string {
	return fmt.Sprintf("%d/%d ready", set.Status.NumberReady, set.Status.DesiredNumberScheduled)
}

// agentsReady reports whether all agents are ready except those on NotReady nodes.
func agentsReady(set *appsv1.DaemonSet, notReady int) bool {
	s := set.Status
	enough := s.DesiredNumberScheduled - int32(notReady) //nolint:gosec // a number of nodes
	return s.ObservedGeneration >= set.Generation && s.DesiredNumberScheduled > 0 && s.UpdatedNumberScheduled >= enough && s.NumberReady >= enough
}

func (w *waiting) watcherReady(ctx context.Context) (bool, string, error) {
	d, err := w.api.client.AppsV1().Deployments(w.targetNamespace()).Get(ctx, manifests.Watcher, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("read the watcher: %w", err)
	}
	return watcherReady(d), watcherWords(d), nil
}

func watcherWords(d *appsv1.Deployment) string {
	return fmt.Sprintf("%d/%d ready, %s NATS", d.Status.ReadyReplicas, wantedReplicas(d), natsOf(d))
}

// natsOf says which NATS the watcher uses.
func natsOf(d *appsv1.Deployment) string {
	if hasArgument(d, "--store="+storeDirectory) {
		return "embedded"
	}
	return "external"
}

// storeDirectory is where the embedded NATS stores its stream.
const storeDirectory = "/var/lib/rotate-certs-watcher"

func wantedReplicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func watcherReady(d *appsv1.Deployment) bool {
	s := d.Status
	want := wantedReplicas(d)
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.Replicas == want
}

// reportTroubles prints each problem of a pod once, and fails where every pod has a problem that
// does not pass without intervention.
func (w *waiting) reportTroubles(ctx context.Context, component string) error {
	pods, err := w.api.client.CoreV1().Pods(w.targetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: manifests.Selector + "," + kube.LabelComponent + "=" + component, Limit: page,
	})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var stuck []kube.PodError
	waitingFor := 0
	for n := range pods.Items {
		p := &pods.Items[n]
		if p.DeletionTimestamp != nil || podReady(p) {
			continue
		}
		waitingFor++
		trouble, stays := kube.PodTrouble(p)
		if trouble == nil {
			continue
		}
		if stays || isPull(trouble.Reason) {
			stuck = append(stuck, *trouble)
		}
		if key := component + " " + sameTrouble(trouble.Reason); !w.printed[key] {
			w.printed[key] = true // once for all pods
			w.printStage(component, fmt.Sprintf("%s: %s: %s", trouble.Node, trouble.Reason, strings.TrimPrefix(trouble.Message, trouble.Reason+": ")), time.Time{})
		}
	}
	if w.hopeless++; len(stuck) == 0 || len(stuck) < waitingFor {
		w.hopeless = 0
	}
	if w.hopeless >= checksUntilHopeless {
		return errors.Join(groupProblems(stuck)...)
	}
	return nil
}

// isPull reports whether an image cannot be pulled; the kubelet alternates between two reasons.
func isPull(reason string) bool { return reason == "ErrImagePull" || reason == "ImagePullBackOff" }

func sameTrouble(reason string) string {
	if isPull(reason) {
		return "pull"
	}
	return reason
}

// groupProblems lists the problems of pods, each once with its nodes.
func groupProblems(stuck []kube.PodError) []error {
	var order []string
	nodes := map[string][]string{}
	said := map[string]kube.PodError{}
	for _, e := range stuck {
		key := sameTrouble(e.Reason)
		if nodes[key] == nil {
			order = append(order, key)
			said[key] = e
		}
		nodes[key] = append(nodes[key], e.Node)
	}
	var problems []error
	for _, key := range order {
		e := said[key]
		slices.Sort(nodes[key])
		e.Node = printers.SomeNames(nodes[key])
		problems = append(problems, &e)
	}
	return problems
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
