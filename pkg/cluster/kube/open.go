package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var _ fleet.Nodes = (*Nodes)(nil)

// annotationSpec distinguishes pods of the same name and rotation for different steps.
const annotationSpec = "rotate-certs.io/spec"

// Nodes opens sessions, each through a pod pinned to its node.
type Nodes struct {
	Client kubernetes.Interface
	Config *rest.Config
	Pods   PodOptions
	// Waiting is called for a pod that takes long to end; may be nil.
	Waiting func(node, what string)

	run     podRunner // nil: exec
	mu      sync.Mutex
	watches map[string]*podWatch // by rotation
	over    map[types.UID]bool   // pods with a process that has written its last record
}

// dryRunsAtOnce is how many dry runs are made at the same time.
const dryRunsAtOnce = 8

// DryRun has the API server admit the pod of every step, and creates none. All refusals are
// returned, equal ones once.
func (n *Nodes) DryRun(ctx context.Context, rotation string, steps []plan.Step) error {
	answers := make([]error, len(steps))
	var all errgroup.Group
	all.SetLimit(dryRunsAtOnce)
	for i, step := range steps {
		all.Go(func() error {
			pod := n.rotationPod(step, rotation)
			_, answers[i] = n.Client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return nil
		})
	}
	_ = all.Wait() // the functions return no errors
	var refusals []error
	var reported []string
	for i, step := range steps {
		pod := n.rotationPod(step, rotation)
		err := answers[i]
		if err == nil || apierrors.IsAlreadyExists(err) {
			continue
		}
		e := refusedPod(step.Node, pod.Namespace+"/"+pod.Name, pod.Namespace, err)
		// The pods of all nodes are usually refused for the same reason.
		words := strings.ReplaceAll(e.Message, pod.Name, "")
		if slices.Contains(reported, words) {
			continue
		}
		reported = append(reported, words)
		refusals = append(refusals, e)
	}
	return errors.Join(refusals...)
}

// Open creates the pod of a step and waits until it runs. A pod of this rotation that runs on
// the node already, left by a plugin that was killed, is used if it was made for the same
// step, and otherwise deleted and replaced. A pod that cannot start is a [*PodError].
func (n *Nodes) Open(ctx context.Context, rotation string, step plan.Step) (fleet.Session, error) {
	pod := n.rotationPod(step, rotation)
	watching := n.watchOf(rotation)
	created, err := n.createOrAdopt(ctx, pod)
	if err != nil {
		return nil, err
	}
	state, err := watching.waitUntil(ctx, created, func(p *corev1.Pod) bool { return isRunning(p) || hasEnded(p) })
	if err != nil {
		return nil, err
	}
	process := &podProcess{client: n.Client, config: n.Config, run: n.commandRunner(), pod: state}
	if hasEnded(state) {
		return nil, process.endedError(state)
	}
	return &session.Session{Node: step.Node, Rotation: rotation, Process: process, OnLast: func() { n.isOver(state.UID) }}, nil
}

func (n *Nodes) rotationPod(step plan.Step, rotation string) *corev1.Pod {
	pod := RotatePod(step, rotation, n.Pods)
	spec, err := json.Marshal(pod.Spec)
	if err != nil {
		panic(err) // a struct of the API's own types
	}
	pod.Annotations = map[string]string{annotationSpec: shortHash(string(spec))}
	return pod
}

func (n *Nodes) createOrAdopt(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	for {
		created, err := createPod(ctx, n.Client, pod)
		if err == nil || !apierrors.IsAlreadyExists(err) {
			return created, err
		}
		there, err := n.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("read pod %q: %w", pod.Namespace+"/"+pod.Name, err)
		}
		same := there.Annotations[annotationSpec] == pod.Annotations[annotationSpec]
		if same && there.DeletionTimestamp == nil && !hasEnded(there) {
			return there, nil
		}
		removed, err := n.endPods(ctx, n.Client, []corev1.Pod{*there})
		switch {
		case err != nil:
			return nil, err
		case len(removed) == 0:
			return nil, &PodError{Node: pod.Spec.NodeName, Pod: pod.Namespace + "/" + pod.Name, Reason: "Forbidden",
				Message: "a pod of this name has ended and may not be deleted", Next: hintRBAC}
		}
	}
}

// watchOf returns the watch of a rotation's pods. It ends with Close.
func (n *Nodes) watchOf(rotation string) *podWatch {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.watches[rotation]; w != nil && w.isAlive() {
		return w
	}
	if n.watches == nil {
		n.watches = map[string]*podWatch{}
	}
	w := watchPods(context.Background(), n.Client, n.Pods.podNamespace(), LabelName+"="+appName+","+LabelRotation+"="+rotation)
	n.watches[rotation] = w
	return w
}

func (n *Nodes) commandRunner() podRunner {
	if n.run != nil {
		return n.run
	}
	return execRunner(n.Client, n.Config)
}
