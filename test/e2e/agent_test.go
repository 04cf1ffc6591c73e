//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// agents starts the agents, and nothing that acts on what they report.
func (l *lab) agents(t *testing.T) {
	t.Helper()
	objects, err := manifests.Render(manifests.Options{
		Settings:  manifests.Settings{Image: version.NodeImage(), WithoutWatcher: true, AgentDirectories: l.agentDirectories(t)},
		Namespace: manifests.DefaultNamespace, Version: version.Version,
	})
	require.NoError(t, err)
	var documents bytes.Buffer
	for _, o := range objects {
		if o.GetKind() == rotationpolicy.Kind {
			continue // agents need none, and kubectl cannot rely on its definition yet
		}
		text, err := json.Marshal(o)
		require.NoError(t, err)
		fmt.Fprintf(&documents, "---\n%s\n", text)
	}
	l.apply(t, documents.String())
	within(t, time.Minute, "a report of every node", func() bool { return len(l.reports(t)) == len(l.nodes) })
}

// agentDirectories are those with certificates that agents are not shown unless asked to.
func (l *lab) agentDirectories(t *testing.T) []string {
	t.Helper()
	if strings.HasPrefix(l.pki(t), "/opt/") {
		return []string{"/opt", "/srv"}
	}
	return nil
}

// within asks until something is so.
func within(t *testing.T, limit time.Duration, what string, so func() bool) {
	t.Helper()
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, limit, true,
		func(context.Context) (bool, error) { return so(), nil }), what)
}

// reports are those that there are, by node.
func (l *lab) reports(t *testing.T) map[string]v1alpha1.NodeCertificateReport {
	t.Helper()
	var list v1alpha1.NodeCertificateReportList
	require.NoError(t, l.list(t, "nodecertificatereports", &list))
	out := map[string]v1alpha1.NodeCertificateReport{}
	for _, r := range list.Items {
		out[r.Name] = r
	}
	return out
}

func TestAgents(t *testing.T) {
	the.mountDisk(t, the.controlPlanes()[0].Name)
	the.agents(t)
	t.Run("report what check sees", agentsReportWhatCheckSees)
	t.Run("see a replaced file at once", anAgentSeesAReplacedFileAtOnce)
	t.Run("reach no socket of their node", anAgentReachesNoSocketOfItsNode)
	t.Run("cannot write to a disk below", anAgentCannotWriteToADiskBelow)
	t.Run("write their own report only", anAgentsTokenWritesItsOwnReportOnly)
}

func agentsReportWhatCheckSees(t *testing.T) {
	certificates, _ := the.check(t)
	want, got := map[string]string{}, map[string]string{}
	for _, c := range certificates.Items {
		want[c.Node+" "+c.Service+"/"+c.Name] = c.FingerprintSHA256
	}
	for node, r := range the.reports(t) {
		for _, c := range r.Certificates {
			got[node+" "+string(c.Service)+"/"+c.Name] = c.FingerprintSHA256
		}
		require.Len(t, r.OwnerReferences, 1, "of %s", node)
		assert.Equal(t, node, r.OwnerReferences[0].Name)
		assert.Zero(t, r.Summary.Problems, "%s: %+v", node, r.NotInspected)
	}
	assert.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	assert.Equal(t, want, got)
}

func anAgentSeesAReplacedFileAtOnce(t *testing.T) {
	node := the.controlPlanes()[0].Name
	fingerprint := func() string {
		for _, c := range the.reports(t)[node].Certificates {
			if c.Name == "apiserver-etcd-client" {
				return c.FingerprintSHA256
			}
		}
		return ""
	}
	before := fingerprint()
	require.NotEmpty(t, before)
	the.on(t, node, "kubeadm certs renew apiserver-etcd-client --cert-dir "+the.pki(t))
	began := time.Now()
	within(t, 10*time.Second, "another fingerprint", func() bool { return fingerprint() != before })
	t.Logf("reported %s after kubeadm had ended", time.Since(began).Round(time.Millisecond))
}

// An agent runs all the time, as uid 0: the sockets that would make it root on its node
// must be out of its reach.
func anAgentReachesNoSocketOfItsNode(t *testing.T) {
	for _, n := range the.nodes {
		out := string(the.on(t, n.Name, `
			p=$(pgrep -f 'rotate-certs-node agent' | head -1)
			[ -n "$p" ] && [ -S /run/containerd/containerd.sock ] || exit 1
			echo "filters $(sed -n 's/^Seccomp_filters:[[:space:]]*//p' /proc/$p/status)"
			echo "capabilities $(sed -n 's/^CapEff:[[:space:]]*//p' /proc/$p/status)"
			find /proc/$p/root/ -path "/proc/$p/root/host/proc" -prune -o -path "/proc/$p/root/proc" -prune -o -type s -print 2>/dev/null || :`))
		for _, socket := range []string{"containerd", "dbus", "systemd", "crio", "docker", "plugins", "pod-resources", "device-plugins"} {
			assert.NotContains(t, out, socket, "on %s", n.Name)
		}
		assert.Contains(t, out, "capabilities 0000000000000004\n", "only DAC_READ_SEARCH")
		// Beside the container runtime's there is the agent's own, which denies all Unix
		// sockets, also those that are not on this list.
		var filters int
		_, err := fmt.Sscanf(out, "filters %d", &filters)
		require.NoError(t, err, out)
		assert.GreaterOrEqual(t, filters, 2, "on %s", n.Name)
	}
}

// disk is where a file system of its own is mounted.
const disk = "/etc/kubernetes-disk"

func (l *lab) mountDisk(t *testing.T, node string) {
	t.Helper()
	l.on(t, node, "mkdir "+disk+" && mount -t tmpfs tmpfs "+disk+" && echo old > "+disk+"/file")
	t.Cleanup(func() {
		_, err := l.try(context.WithoutCancel(t.Context()), node, "umount "+disk+" && rmdir "+disk)
		assert.NoError(t, err)
	})
}

// A read-only mount does not hold for what is mounted below it, unless it is recursive. This
// is about the mount: the process that writes here has no filter of its own, as an agent has.
func anAgentCannotWriteToADiskBelow(t *testing.T) {
	out := string(the.on(t, the.controlPlanes()[0].Name, `
		p=$(pgrep -f 'rotate-certs-node agent' | head -1)
		f=/proc/$p/root/host`+disk+`/file
		( echo new > $f ) 2>&1
		cat $f && echo new > `+disk+`/file && cat $f`))
	assert.Regexp(t, `Read-only file system\nold\nnew\n$`, out, "the agent is shown the disk, and another may write to it")
}

func anAgentsTokenWritesItsOwnReportOnly(t *testing.T) {
	if len(the.nodes) < 2 {
		t.Skip("one node has no other one's report to write")
	}
	pods, err := the.client.CoreV1().Pods(manifests.DefaultNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	require.NoError(t, err)
	require.NotEmpty(t, pods.Items)
	pod := pods.Items[0]
	other := the.nodes[slices.IndexFunc(the.nodes, func(m machine) bool { return m.Name != pod.Spec.NodeName })].Name
	token := func(bound *authv1.BoundObjectReference) string {
		t.Helper()
		answer, err := the.client.CoreV1().ServiceAccounts(manifests.DefaultNamespace).CreateToken(t.Context(), manifests.Agent,
			&authv1.TokenRequest{Spec: authv1.TokenRequestSpec{BoundObjectRef: bound}}, metav1.CreateOptions{})
		require.NoError(t, err)
		return answer.Status.Token
	}
	own := token(&authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID})
	write := func(token, node string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "kubectl", "--kubeconfig", the.tokenKubeconfig(t, token), "apply", "--server-side", "--force-conflicts", "-f", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"apiVersion":"rotate-certs.io/v1alpha1","kind":"NodeCertificateReport","metadata":{"name":%q},
			"summary":{"certificates":0,"problems":0,"observedAt":"2026-01-01T00:00:00Z"}}`, node))
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	assert.Contains(t, write(own, pod.Spec.NodeName), "serverside-applied")
	assert.Contains(t, write(own, other), "writes the report of that node only")
	assert.Contains(t, write(own, "another-name"), "writes the report of that node only")
	assert.Contains(t, write(token(nil), pod.Spec.NodeName), "not bound to a pod on a node")
	assert.Contains(t, write(token(nil), other), "not bound to a pod on a node")
}
