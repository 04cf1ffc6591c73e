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
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// looksUntilHopeless is how often in a row a pod must be found in a state that does not
// mend by itself before waiting for it ends.
const looksUntilHopeless = 10

// errTooLong ends a wait.
var errTooLong = errors.New("it took too long")

// ready waits until the agents and the watcher work, and says what keeps them.
func (i *installer) ready(ctx context.Context) error {
	if i.storage != "" {
		i.tell("storage", i.storage, time.Time{})
	}
	w := &waiting{installer: i, told: map[string]bool{}}
	for _, part := range []struct {
		name, component string
		look            func(context.Context) (done bool, words string, err error)
	}{
		{"agents", "agent", w.agents},
		{"watcher", "watcher", w.watcher},
	} {
		if part.component == "watcher" && i.settings.WithoutWatcher {
			continue
		}
		began, words := i.now(), ""
		err := i.until(ctx, "the "+part.name+" are ready", func(ctx context.Context) (bool, error) {
			done, now, err := part.look(ctx)
			if err != nil {
				return false, err
			}
			if words = now; done {
				return true, nil
			}
			return false, w.troubles(ctx, part.component)
		})
		if err != nil {
			return fmt.Errorf("everything is installed, but not all of it works: %s: %s\n%w\nhint: fix that and run the same again; what pods say: kubectl -n %s describe pods -l %s=%s",
				part.name, words, err, i.namespace(), kube.LabelComponent, part.component)
		}
		i.tell(part.name, words, began)
	}
	return nil
}

// until waits as long as --timeout allows.
func (i *installer) until(ctx context.Context, what string, holds func(context.Context) (bool, error)) error {
	return i.await(ctx, time.Duration(i.timeout), what, holds)
}

// waiting is what is known while pods start.
type waiting struct {
	*installer
	told     map[string]bool // troubles that were told
	hopeless int             // looks in a row that found nothing but trouble that stays
}

func (w *waiting) agents(ctx context.Context) (bool, string, error) {
	set, err := w.api.client.AppsV1().DaemonSets(w.namespace()).Get(ctx, manifests.Agent, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("look at the agents: %w", err)
	}
	nodes, err := kube.ListNodes(ctx, w.api.client)
	if err != nil {
		return false, "", err
	}
	away, virtual := notWaitedFor(nodes)
	words := agentWords(set)
	if len(away) > 0 {
		words += "; not waited for: " + some(away) + " (NotReady)"
	}
	if !agentsReady(set, len(away)+virtual) {
		return false, words, nil
	}
	silent, err := w.silent(ctx, away)
	if len(silent) > 0 {
		words += "; no fresh report of: " + some(silent)
	}
	return len(silent) == 0, words, err
}

// silent are the nodes that have an agent, and no report that is fresh.
func (w *waiting) silent(ctx context.Context, away []string) ([]string, error) {
	s := &survey{objects: w.api, now: w.now(), status: &v1alpha1.WatcherStatus{}}
	err := s.reports(ctx)
	var out []string
	for _, n := range s.status.WithoutReport {
		if !slices.Contains(away, n.Node) {
			out = append(out, fmt.Sprintf("%s (%s)", n.Node, n.Reason))
		}
	}
	return out, err
}

// notWaitedFor are the nodes whose agents cannot be ready now, and the number of virtual
// nodes that only a taint tells: the DaemonSet counts them, since agents tolerate taints.
func notWaitedFor(nodes []kubenode.Node) (away []string, virtual int) {
	for _, n := range nodes {
		switch {
		case n.Virtual && n.Labels["type"] != "virtual-kubelet":
			virtual++
		case !n.Foreign() && !n.Ready:
			away = append(away, n.Name)
		}
	}
	return away, virtual
}

func agentWords(set *appsv1.DaemonSet) string {
	return fmt.Sprintf("%d/%d ready", set.Status.NumberReady, set.Status.DesiredNumberScheduled)
}

// agentsReady tells whether all agents work but those on nodes that are away.
func agentsReady(set *appsv1.DaemonSet, away int) bool {
	s := set.Status
	enough := s.DesiredNumberScheduled - int32(away) //nolint:gosec // a number of nodes
	return s.ObservedGeneration >= set.Generation && s.DesiredNumberScheduled > 0 && s.UpdatedNumberScheduled >= enough && s.NumberReady >= enough
}

func (w *waiting) watcher(ctx context.Context) (bool, string, error) {
	d, err := w.api.client.AppsV1().Deployments(w.namespace()).Get(ctx, manifests.Watcher, metav1.GetOptions{})
	if err != nil {
		return false, "", fmt.Errorf("look at the watcher: %w", err)
	}
	return watcherReady(d), watcherWords(d), nil
}

func watcherWords(d *appsv1.Deployment) string {
	return fmt.Sprintf("%d/%d ready, %s NATS", d.Status.ReadyReplicas, wantedReplicas(d), natsOf(d))
}

// natsOf tells whether the watcher brings its own NATS.
func natsOf(d *appsv1.Deployment) string {
	if hasArgument(d, "--store="+storeDirectory) {
		return "embedded"
	}
	return "external"
}

// storeDirectory is where the embedded NATS keeps its stream.
const storeDirectory = "/var/lib/rotate-certs-watcher"

func wantedReplicas(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func watcherReady(d *appsv1.Deployment) bool {
	s, want := d.Status, wantedReplicas(d)
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.Replicas == want
}

// troubles tells once what keeps each pod from working, and gives up where nothing but
// a person can help.
func (w *waiting) troubles(ctx context.Context, component string) error {
	pods, err := w.api.client.CoreV1().Pods(w.namespace()).List(ctx, metav1.ListOptions{
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
		if key := component + " " + sameTrouble(trouble.Reason); !w.told[key] {
			w.told[key] = true // of all pods once: the others say the same
			w.tell(component, fmt.Sprintf("%s: %s: %s", trouble.Node, trouble.Reason, strings.TrimPrefix(trouble.Message, trouble.Reason+": ")), time.Time{})
		}
	}
	if w.hopeless++; len(stuck) == 0 || len(stuck) < waitingFor {
		w.hopeless = 0
	}
	if w.hopeless >= looksUntilHopeless {
		return errors.New(strings.Join(together(stuck), "\n"))
	}
	return nil
}

// isPull tells whether an image cannot be pulled; the kubelet changes between the two.
func isPull(reason string) bool { return reason == "ErrImagePull" || reason == "ImagePullBackOff" }

func sameTrouble(reason string) string {
	if isPull(reason) {
		return "pull"
	}
	return reason
}

// together says what keeps pods from working, each cause once with its nodes.
func together(stuck []kube.PodError) []string {
	var order []string
	nodes, said := map[string][]string{}, map[string]kube.PodError{}
	for _, e := range stuck {
		key := sameTrouble(e.Reason)
		if nodes[key] == nil {
			order = append(order, key)
			said[key] = e
		}
		nodes[key] = append(nodes[key], e.Node)
	}
	var lines []string
	for _, key := range order {
		e := said[key]
		slices.Sort(nodes[key])
		e.Node = some(nodes[key])
		lines = append(lines, e.Error())
	}
	return lines
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
