package manifests

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const watcherUser = "system:serviceaccount:rotate-certs:rotate-certs-watcher"

// judge evaluates a policy as an API server does: conditions first, variables when they
// are used, and any error is a refusal. It returns the messages of what was refused.
func judge(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy, request, object map[string]any) []string {
	t.Helper()
	return judgeChange(t, policy, request, object, nil)
}

// judgeChange is judge for what was there before: of a DELETE there is nothing else.
func judgeChange(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy, request, object, oldObject map[string]any) []string {
	t.Helper()
	return judgeWith(t, policy, request, object, oldObject, nil)
}

// celEnvironment has the variables that an API server gives to a policy.
var celEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.OptionalTypes(),
		cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType), cel.Variable("variables", cel.DynType), cel.Variable("params", cel.DynType))
})

// compiledExpressions are programs by their expression, which many cases judge by.
var compiledExpressions sync.Map

func compileExpression(t *testing.T, expression string) cel.Program {
	t.Helper()
	if known, ok := compiledExpressions.Load(expression); ok {
		program, _ := known.(cel.Program)
		return program
	}
	env, err := celEnvironment()
	require.NoError(t, err)
	ast, issues := env.Compile(expression)
	require.NoError(t, issues.Err(), expression)
	program, err := env.Program(ast)
	require.NoError(t, err)
	compiledExpressions.Store(expression, program)
	return program
}

// judgeWith is judgeChange with the object that the policy's binding refers to.
func judgeWith(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy, request, object, oldObject, params map[string]any) []string {
	t.Helper()
	values := map[string]any{}
	evaluate := func(expression string) (any, error) {
		out, _, err := compileExpression(t, expression).Eval(map[string]any{"object": object, "oldObject": oldObject, "request": request, "variables": values, "params": params})
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	yes := func(value any, err error) bool {
		v, ok := value.(interface{ Value() any })
		return err == nil && ok && v.Value() == true
	}
	for _, c := range policy.Spec.MatchConditions {
		value, err := evaluate(c.Expression)
		require.NoError(t, err)
		if !yes(value, nil) {
			return nil
		}
	}
	for _, v := range policy.Spec.Variables {
		if value, err := evaluate(v.Expression); err == nil {
			values[v.Name] = value
		}
	}
	var refused []string
	for _, v := range policy.Spec.Validations {
		if !yes(evaluate(v.Expression)) {
			refused = append(refused, v.Message)
		}
	}
	return refused
}

// asMap is a pod as the API server shows it to a policy, with the defaults that it sets.
func asMap(t *testing.T, pod *corev1.Pod) map[string]any {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Spec.ServiceAccountName = "default"
	pod.Spec.SchedulerName = "default-scheduler"
	return object(t, pod)
}

// object is one as a policy sees it.
func object(t *testing.T, typed any) map[string]any {
	t.Helper()
	text, err := json.Marshal(typed)
	require.NoError(t, err)
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func request(user string) map[string]any {
	return map[string]any{"namespace": "rotate-certs", "userInfo": map[string]any{"username": user}}
}

func pods() (scan, journal, rotate *corev1.Pod) {
	options := kube.PodOptions{Namespace: "rotate-certs", Image: "registry.test/node:1", ImagePullSecrets: []string{"pull"}}
	step := plan.Step{Node: "cp1", DBusSocket: "/run/dbus/system_bus_socket", Directories: []string{
		"/etc/kubernetes", "/etc/kubernetes/pki", "/var/lib/kubelet/pki", "/etc/systemd/system", "/var/lib/rancher/rke2/server/tls", "/root/.kube",
	}, Restarts: []certs.Service{certs.Etcd}}
	return kube.ScanPod("cp1", "7f3c2a", options), kube.JournalPod("cp1", "7f3c2a", "abc123", options), kube.RotatePod(step, "7f3c2a", options)
}

func podPolicy(t *testing.T) *admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	return find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-watcher-pods", "")
}

func TestTheWatchersOwnPodsAreAdmitted(t *testing.T) {
	scan, journal, rotate := pods()
	signs := kube.RotatePod(plan.Step{Node: "cp1", LifetimeSeconds: 24 * 3600}, "7f3c2a", kube.PodOptions{Namespace: "rotate-certs", Image: "registry.test/node:1"})
	for _, pod := range []*corev1.Pod{scan, journal, rotate, signs} {
		assert.Empty(t, judge(t, podPolicy(t), request(watcherUser), asMap(t, pod)), pod.Name)
	}
}

func TestOtherPodsOfTheWatcherAreRefused(t *testing.T) {
	no, yes := false, true
	policy := podPolicy(t)
	container := func(change func(*corev1.Container)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
	}
	for name, change := range map[string]func(*corev1.Pod){
		"another program":     container(func(c *corev1.Container) { c.Command = []string{"/bin/sh"} }),
		"no program":          container(func(c *corev1.Container) { c.Command = nil }),
		"another order":       container(func(c *corev1.Container) { c.Args[0] = "rotate" }),
		"another node's name": container(func(c *corev1.Container) { c.Args[2] = "--node-name=cp2" }),
		"another root":        container(func(c *corev1.Container) { c.Args[1] = "--root=/" }),
		"more arguments":      container(func(c *corev1.Container) { c.Args = append(c.Args, "--token=1") }),
		"no arguments":        container(func(c *corev1.Container) { c.Args = nil }),
		"privileged":          container(func(c *corev1.Container) { c.SecurityContext.Privileged = &yes }),
		"escalation":          container(func(c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = &yes }),
		"no security context": container(func(c *corev1.Container) { c.SecurityContext = nil }),
		"writable root":       container(func(c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = &no }),
		"a capability": container(func(c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, "SYS_ADMIN")
		}),
		"capabilities kept":  container(func(c *corev1.Container) { c.SecurityContext.Capabilities.Drop = nil }),
		"host root writable": container(func(c *corev1.Container) { c.VolumeMounts[0].ReadOnly = false }),
		"host root twice": container(func(c *corev1.Container) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "host", MountPath: "/rw"})
		}),
		"mounted elsewhere": container(func(c *corev1.Container) { c.VolumeMounts[1].MountPath = "/usr/local/bin" }),
		"a part of it":      container(func(c *corev1.Container) { c.VolumeMounts[1].SubPath = "x" }),
		"propagated": container(func(c *corev1.Container) {
			b := corev1.MountPropagationBidirectional
			c.VolumeMounts[1].MountPropagation = &b
		}),
		"an environment":       container(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "LD_PRELOAD", Value: "x"}} }),
		"a hook":               container(func(c *corev1.Container) { c.Lifecycle = &corev1.Lifecycle{} }),
		"a probe that runs":    container(func(c *corev1.Container) { c.LivenessProbe = &corev1.Probe{} }),
		"two containers":       func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0]) },
		"an init container":    func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.Containers },
		"no node":              func(p *corev1.Pod) { p.Spec.NodeName = "" },
		"no end":               func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = nil },
		"a token":              func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil },
		"the host's processes": func(p *corev1.Pod) { p.Spec.HostPID = true },
		"no seccomp":           func(p *corev1.Pod) { p.Spec.SecurityContext.SeccompProfile = nil },
		"seccomp in part": container(func(c *corev1.Container) {
			c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		}),
		"another component":  func(p *corev1.Pod) { p.Labels[kube.LabelComponent] = "watcher" },
		"no labels":          func(p *corev1.Pod) { p.Labels = nil },
		"another name":       func(p *corev1.Pod) { p.Name = "shell" },
		"a scan that writes": func(p *corev1.Pod) { p.Labels[kube.LabelComponent] = "scan"; p.Name = "rotate-certs-scan-x" },
		"a Secret": func(p *corev1.Pod) {
			p.Spec.Volumes[1].VolumeSource = corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}
		},
		"a Secret not mounted": func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		},
		"root under another name": writes("/"),
		"root by two slashes":     writes("//"),
		"root by a dot":           writes("/."),
		"all settings":            writes("/etc"),
		"all settings, a slash":   writes("/etc/"),
		"all settings, slashes":   writes("//etc"),
		"programs, a slash":       writes("/usr/"),
		"programs":                writes("/usr/bin"),
		"a way around":            writes("/etc/kubernetes/../../usr/bin"),
		"ssh":                     writes("/etc/ssh"),
		"a person's ssh":          writes("/root/.ssh"),
		"jobs":                    writes("/etc/cron.d"),
		"devices":                 writes("/dev"),
		"relative":                writes("etc/kubernetes"),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, pod := pods()
			change(pod)
			assert.NotEmpty(t, judge(t, policy, request(watcherUser), asMap(t, pod)))
			assert.Empty(t, judge(t, policy, request("jane"), asMap(t, pod)), "what people may do is not its business")
		})
	}
}

func TestTheWatcherDeletesOnlyNodePods(t *testing.T) {
	policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-watcher-deletes", "")
	rule := policy.Spec.MatchConstraints.ResourceRules[0]
	assert.Equal(t, []admissionv1.OperationType{admissionv1.Delete}, rule.Operations)
	assert.Equal(t, []string{"pods"}, rule.Resources)
	in := func(pod *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
		pod.Namespace = "kube-system"
		if change != nil {
			change(pod)
		}
		return pod
	}
	scan, journal, rotate := pods()
	_, _, other := pods()
	for name, tt := range map[string]struct {
		pod      *corev1.Pod
		admitted bool
	}{
		"a scan":                {in(scan, nil), true},
		"a journal's":           {in(journal, nil), true},
		"a rotation's":          {in(rotate, nil), true},
		"etcd":                  {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "etcd-cp1", Labels: map[string]string{"component": "etcd"}}}, false},
		"a pod without labels":  {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "rotate-certs-scan-x"}}, false},
		"an agent":              {in(other.DeepCopy(), func(p *corev1.Pod) { p.Labels[kube.LabelComponent] = "agent" }), false},
		"another program's":     {in(other.DeepCopy(), func(p *corev1.Pod) { p.Labels[kube.LabelName] = "coredns" }), false},
		"a pod of another name": {in(other.DeepCopy(), func(p *corev1.Pod) { p.Name = "coredns-x7k2p" }), false},
		"a pod of no component": {in(other.DeepCopy(), func(p *corev1.Pod) { delete(p.Labels, kube.LabelComponent) }), false},
	} {
		t.Run(name, func(t *testing.T) {
			for namespace, reached := range map[string]bool{"rotate-certs": true, "kube-system": true, "default": false} {
				r := request(watcherUser)
				r["namespace"] = namespace
				assert.Equal(t, tt.admitted && reached, len(judgeChange(t, policy, r, nil, asMap(t, tt.pod))) == 0, namespace)
			}
			assert.Empty(t, judgeChange(t, policy, request("jane"), nil, asMap(t, tt.pod)), "what people may do is not its business")
		})
	}
}

// writes makes a rotation pod write another directory, as the node program would have it.
func writes(dir string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes[1].HostPath.Path = dir
		p.Spec.Containers[0].VolumeMounts[1].MountPath = "/host" + dir
	}
}

func TestTheWatcherRunsOnlyOrdersOfTheNodeProgram(t *testing.T) {
	policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-watcher-exec", "")
	for name, tt := range map[string]struct {
		pod, subresource string
		command          []any
		admitted         bool
	}{
		"an order":        {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "order", "--rotation=x"}, true},
		"follow":          {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "follow"}, true},
		"health":          {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "health"}, true},
		"sign":            {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "sign", "--rotation=x"}, true},
		"a shell":         {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/bin/sh", "-c", "id"}, false},
		"by hand":         {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "rotate"}, false},
		"no order":        {"rotate-certs-rotation-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node"}, false},
		"no command":      {"rotate-certs-rotation-cp1-c0ad428f", "exec", nil, false},
		"another pod":     {"etcd-cp1", "exec", []any{"/usr/local/bin/rotate-certs-node", "order"}, false},
		"an agent":        {"rotate-certs-agent-x7k2p", "exec", []any{"/usr/local/bin/rotate-certs-node", "order"}, false},
		"attach":          {"rotate-certs-rotation-cp1-c0ad428f", "attach", nil, false},
		"a port":          {"rotate-certs-rotation-cp1-c0ad428f", "portforward", nil, false},
		"a scan's output": {"rotate-certs-scan-cp1-c0ad428f", "exec", []any{"/usr/local/bin/rotate-certs-node", "order"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{}
			if tt.command != nil {
				object["command"] = tt.command
			}
			r := request(watcherUser)
			r["name"], r["subResource"] = tt.pod, tt.subresource
			assert.Equal(t, tt.admitted, len(judge(t, policy, r, object)) == 0)
		})
	}
}
