//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// whatIsCompromisedIsReplaced, although a user's check was killed and left its pods behind: the
// watcher may not delete those in another namespace that may still be in use.
func whatIsCompromisedIsReplaced(t *testing.T) {
	removeLeftover := the.killedCheck(t)
	before, known := the.snapshots(t), len(the.rotations(t))
	config, err := clientcmd.BuildConfigFromFlags("", the.kubeconfig(t))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	asking := &asker{}
	var running sync.WaitGroup
	running.Go(func() { asking.ask(ctx, config.Host+"/version") })

	stolen := the.controlPlanes()
	if len(stolen) > 2 {
		stolen = stolen[:2] // a restart of each takes its time
	}
	var names []string
	for _, n := range stolen {
		names = append(names, n.Name)
	}
	o := the.kubectl(t, "rotate-certs", "mark-compromised", "--service", "kube-apiserver", "--node", strings.Join(names, ","), "--reason", "a backup was stolen", "-o", "name")
	require.Zero(t, o.exit, "%s", o)
	object := strings.TrimSpace(o.stdout)
	done := the.kubectl(t, "wait", "--for=condition=Replaced", object, "--timeout=4m")
	require.Zero(t, done.exit, "%s", done)
	within(t, 2*time.Minute, "the rotation's end", func() bool {
		rotations := the.rotations(t)
		return len(rotations) == known+1 && !slices.ContainsFunc(rotations, func(c v1alpha1.CertificateRotation) bool { return c.Status.CompletionTime == nil })
	})

	stop()
	running.Wait()
	t.Logf("meanwhile, by the load balancer: %s", asking)
	if len(the.controlPlanes()) > 1 {
		assert.LessOrEqual(t, len(asking.failures), 2*len(the.controlPlanes()), "the API answers throughout")
	}
	pki := the.pki(t)
	for _, n := range stolen {
		after := the.snapshot(t, n.Name)
		for _, name := range []string{"apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client"} {
			assertRenewed(t, n.Name+" "+name, before[n.Name].identity(t, pki+"/"+name+".crt", pki+"/"+name+".key"), after.identity(t, pki+"/"+name+".crt", pki+"/"+name+".key"))
		}
		leaf := after.identity(t, pki+"/apiserver.crt", pki+"/apiserver.key").leaf
		assert.Equal(t, fingerprint(leaf), fingerprint(served(t, n.IP+":"+apiPort(t, the))))
	}
	newest := the.rotations(t)[known]
	assert.NotEmpty(t, newest.Status.Notes, "what the old keys still open is said")
	keys := the.on(t, the.controlPlanes()[0].Name, "ls /var/lib/rotate-certs/rotations/"+newest.Status.RotationID+"/backup 2>/dev/null | wc -l")
	assert.Equal(t, "0", strings.TrimSpace(string(keys)), "the compromised keys are destroyed")
	require.Zero(t, the.kubectl(t, "delete", "compromisedcertificates", "--all").exit)
	removeLeftover()
	the.assertClusterIsWhole(t)
}

// killedCheck leaves the pods of a check behind, as a closed terminal does or a machine that
// falls asleep, until the function that it returns is called.
func (l *lab) killedCheck(t *testing.T) (remove func()) {
	t.Helper()
	pods := l.client.CoreV1().Pods(metav1.NamespaceSystem)
	scans := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=rotate-certs,app.kubernetes.io/component=scan"}
	count := func() int {
		list, err := pods.List(t.Context(), scans)
		require.NoError(t, err)
		return len(list.Items)
	}
	run := l.start(t, "rotate-certs", "check")
	within(t, time.Minute, "a pod of the check", func() bool { return count() > 0 })
	run.kill(syscall.SIGKILL)
	<-run.outcome
	require.NotZero(t, count())
	return func() { l.removeScans(t) }
}

// removeScans removes the pods that a killed scan has left.
func (l *lab) removeScans(t *testing.T) {
	t.Helper()
	pods := l.client.CoreV1().Pods(metav1.NamespaceSystem)
	scans := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=rotate-certs,app.kubernetes.io/component=scan"}
	assert.NoError(t, pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, scans))
	within(t, time.Minute, "the end of the pods", func() bool {
		list, err := pods.List(t.Context(), scans)
		return err == nil && len(list.Items) == 0
	})
}

// aStolenIdentityIsNotUsed: an attacker with a kubelet's key could have it renewed as well, so
// its successor is asked for by the watcher, and no file with an old key stays.
func aStolenIdentityIsNotUsed(t *testing.T) {
	node := the.nodes[len(the.nodes)-1].Name
	const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	before, began := the.snapshot(t, node).identity(t, current, current), time.Now().Truncate(time.Second)
	csrs, err := the.client.CertificatesV1().CertificateSigningRequests().Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	asked := make(chan []string, 1)
	go func() {
		var who []string
		for e := range csrs.ResultChan() {
			csr, ok := e.Object.(*certificatesv1.CertificateSigningRequest)
			if ok && e.Type == watch.Added && csr.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName && !csr.CreationTimestamp.Time.Before(began) {
				who = append(who, csr.Spec.Username)
			}
		}
		asked <- who
	}()

	o := the.kubectl(t, "rotate-certs", "mark-compromised", "--service", "kubelet", "--node", node, "--reason", "its disk was sold", "-o", "name")
	require.Zero(t, o.exit, "%s", o)
	done := the.kubectl(t, "wait", "--for=condition=Replaced", strings.TrimSpace(o.stdout), "--timeout=3m")
	require.Zero(t, done.exit, "%s", done)
	within(t, 2*time.Minute, "the end of the rotation", func() bool {
		return !slices.ContainsFunc(the.rotations(t), func(c v1alpha1.CertificateRotation) bool { return c.Status.CompletionTime == nil })
	})

	assertRenewed(t, "kubelet-client of "+node, before, the.snapshot(t, node).identity(t, current, current))
	files := strings.Fields(string(the.on(t, node, "ls /var/lib/kubelet/pki/kubelet-client-2*.pem")))
	assert.Len(t, files, 1, "the old keys are destroyed")
	csrs.Stop()
	assert.Equal(t, []string{"system:serviceaccount:rotate-certs:rotate-certs-watcher"}, <-asked, "who asked")
	require.Zero(t, the.kubectl(t, "delete", "compromisedcertificates", "--all").exit)
	the.assertClusterIsWhole(t)
}
