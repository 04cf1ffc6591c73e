//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// TestWatcher is the cluster that is left alone: one installation, and what it is for.
func TestWatcher(t *testing.T) {
	the.installWatcher(t)
	t.Run("renews what nears its end", whatNearsItsEndRenewsItself)
	t.Run("replaces what is compromised", whatIsCompromisedIsReplaced)
	t.Run("replaces a stolen identity of a node without using it", aStolenIdentityIsNotUsed)
	t.Run("survives being killed", aKilledWatcherLosesNothing)
	t.Run("rotates what somebody asks for with kubectl", anyonePermittedMayAsk)
	t.Run("leaves nothing behind", uninstalledItLeavesNothing)
}

// TestNotifyOnly tells, and has no right to do more.
func TestNotifyOnly(t *testing.T) {
	the.installWatcher(t, "--notify-only")
	before := len(the.rotations(t))
	node := the.controlPlanes()[0]
	serial := the.nearItsEnd(t, node, due)
	within(t, time.Minute, "the event", func() bool { return slices.Contains(the.story(t, node.Name), "certificate.expiring") })
	assert.Equal(t, serial, served(t, node.IP+":2379").SerialNumber, "it is not renewed")
	assert.Len(t, the.rotations(t), before)
	assert.Contains(t, the.metrics(t), `rotate_certs_certificates_waiting{reason="NotifyOnly"}`)
	account := "--as=system:serviceaccount:rotate-certs:rotate-certs-watcher"
	assert.NotZero(t, the.kubectl(t, "auth", "can-i", "create", "pods", "-n", "rotate-certs", account).exit, "it could not if it wanted to")

	// With the right to, the same certificate is renewed: nothing about it was forgotten.
	o := the.kubectl(t, "rotate-certs", "install")
	require.Zero(t, o.exit, "%s", o)
	assert.NotZero(t, the.kubectl(t, "auth", "can-i", "create", "pods", "-n", "rotate-certs", account).exit, "installed again, it is what it was")
	the.installed(t, "--notify-only=false")
	the.waitUntilRenewed(t, node, serial)
}

// installWatcher installs, and sees to it that nothing stays.
func (l *lab) installWatcher(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		out, err := l.command(ctx, "rotate-certs", "uninstall", "--yes").CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	l.installed(t, args...)
	within(t, time.Minute, "a report of every node", func() bool { return len(l.reports(t)) == len(l.nodes) })
}

func (l *lab) installed(t *testing.T, args ...string) {
	t.Helper()
	if kills, _ := soak(t); kills > 0 || len(l.controlPlanes()) == 1 {
		// So many renewals within a day are more than the defaults allow, of one node too.
		policy := filepath.Join(t.TempDir(), "policy.yaml")
		require.NoError(t, os.WriteFile(policy, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nlimits:\n  rotationsPerDay: 0\n"), 0o600))
		args = append(slices.Clone(args), "--policy", policy)
	}
	for _, dir := range l.agentDirectories(t) {
		args = append(slices.Clone(args), "--agent-directory", dir)
	}
	o := l.kubectl(t, append([]string{"rotate-certs", "install"}, args...)...)
	require.Zero(t, o.exit, "%s", o)
	t.Logf("installed in %s", o.took.Round(time.Millisecond))
}

// due is how long a certificate has left that the watcher renews and that is not urgent: NATS
// is what triggers its renewal.
const due = 20 * 24 * time.Hour

// nearItsEnd puts an etcd server certificate in place that has so long left of a year, and
// is the old one otherwise. It returns its serial number.
func (l *lab) nearItsEnd(t *testing.T, n machine, left time.Duration) *big.Int {
	t.Helper()
	dir := l.pki(t) + "/etcd/"
	files := l.snapshot(t, n.Name)
	old, ca := files.identity(t, dir+"server.crt", dir+"server.key"), files.identity(t, dir+"ca.crt", dir+"ca.key")
	end := time.Now().Add(left)
	leaf := resigned(t, old, ca, end.Add(-365*24*time.Hour), end)
	path := dir + "server.crt"
	l.put(t, n.Name, path, withCertificate(t, path, files[path].data, leaf))
	return leaf.SerialNumber
}

// waitUntilRenewed waits for another certificate on etcd's port, which lives as long as
// the cluster's do.
func (l *lab) waitUntilRenewed(t *testing.T, n machine, old *big.Int) {
	t.Helper()
	within(t, 4*time.Minute, "another certificate on "+n.Name, func() bool { return showsAnother(t, n, old) })
	leaf := served(t, n.IP+":2379")
	assert.Greater(t, time.Until(leaf.NotAfter), 2*due, "it lives as long as others do")
	within(t, 2*time.Minute, "the end of every rotation", func() bool {
		return !slices.ContainsFunc(l.rotations(t), func(c v1alpha1.CertificateRotation) bool { return c.Status.CompletionTime == nil })
	})
}

// showsAnother tells whether etcd's port shows a certificate other than the old one.
func showsAnother(t *testing.T, n machine, old *big.Int) bool {
	t.Helper()
	leaf, _ := shown(t, n.IP+":2379") // what shows none is asked again
	return leaf != nil && leaf.SerialNumber.Cmp(old) != 0
}

// rotations are the objects, oldest first; none while the API server is away.
func (l *lab) rotations(t *testing.T) []v1alpha1.CertificateRotation {
	t.Helper()
	o := l.kubectl(t, "get", "certificaterotations", "-o", "json")
	var list v1alpha1.CertificateRotationList
	if o.exit == 0 {
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &list))
	}
	slices.SortStableFunc(list.Items, func(a, b v1alpha1.CertificateRotation) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return list.Items
}

// told is one event, as its readers see it.
type told struct {
	kind, node string
	rotation   string // the name of the object, where it is about one
}

// events are all that were told, oldest first; none while nobody can be asked.
func (l *lab) events(t *testing.T) []told {
	t.Helper()
	var out []told
	for line := range strings.Lines(l.kubectl(t, "rotate-certs", "events", "-o", "json").stdout) {
		var e struct {
			Type string
			Data struct{ Node, Name string }
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		one := told{kind: strings.TrimSuffix(strings.TrimPrefix(e.Type, "io.rotate-certs."), ".v1"), node: e.Data.Node}
		if strings.HasPrefix(one.kind, "rotation.") {
			one.rotation = e.Data.Name
		}
		out = append(out, one)
	}
	return out
}

// story are the types of the events about a node or the whole cluster, oldest first.
func (l *lab) story(t *testing.T, node string) []string {
	t.Helper()
	var out []string
	for _, e := range l.events(t) {
		if e.node == "" || e.node == node {
			out = append(out, e.kind)
		}
	}
	return out
}

// metrics are those of the watcher that leads, as a node reads them with the token of
// deploy/monitoring/reader.yaml.
func (l *lab) metrics(t *testing.T) string {
	t.Helper()
	reader, err := filepath.Abs("../../deploy/monitoring/reader.yaml")
	require.NoError(t, err)
	require.Zero(t, l.kubectl(t, "apply", "-f", reader).exit)
	defer l.kubectl(t, "delete", "-f", reader, "--wait=false")
	token := l.kubectl(t, "create", "token", "rotate-certs-metrics", "-n", "rotate-certs")
	require.Zero(t, token.exit, "%s", token)
	pod := l.kubectl(t, "get", "pod", l.leader(t), "-n", "rotate-certs", "-o", "jsonpath={.status.podIP}")
	require.Zero(t, pod.exit, "%s", pod)
	url := "https://" + net.JoinHostPort(pod.stdout, "8443") + "/metrics"
	from := l.controlPlanes()[0].Name
	refused := l.on(t, from, "curl -sk --max-time 30 -o /dev/null -w '%{http_code}' "+url)
	require.Equal(t, "401", string(refused), "without a token")
	var text []byte
	// API servers know of a new right a moment later.
	within(t, time.Minute, "metrics", func() bool {
		text, err = l.try(t.Context(), from, "curl -sfk --max-time 30 -H 'Authorization: Bearer "+strings.TrimSpace(token.stdout)+"' "+url)
		return err == nil
	})
	return string(text)
}

// leader is the pod of the watcher that does the work.
func (l *lab) leader(t *testing.T) string {
	t.Helper()
	var name string
	within(t, 2*time.Minute, "a leader", func() bool {
		name = l.kubectl(t, "get", "lease", "rotate-certs-watcher", "-n", "rotate-certs", "-o", "jsonpath={.spec.holderIdentity}").stdout
		return name != ""
	})
	return name
}

func whatNearsItsEndRenewsItself(t *testing.T) {
	node := the.controlPlanes()[0]
	serial := the.nearItsEnd(t, node, due)
	began := time.Now()
	the.waitUntilRenewed(t, node, serial)
	t.Logf("renewed %s after it was put in place", time.Since(began).Round(time.Millisecond))

	rotations := the.rotations(t)
	require.Len(t, rotations, 1, "one rotation, and no more")
	assert.Equal(t, v1alpha1.StateSucceeded, rotations[0].State())
	assert.Equal(t, []string{node.Name}, rotations[0].Spec.Nodes)
	assert.Zero(t, the.kubectl(t, "wait", "--for=condition=Succeeded", "certificaterotation/"+rotations[0].Name, "--timeout=5s").exit)
	explained := the.kubectl(t, "explain", "certificaterotation.spec.compromised")
	assert.Contains(t, explained.stdout, "not trusted any more")

	// The story is told in order. The reports of renewed certificates come by another way.
	within(t, 30*time.Second, "the whole story", func() bool { return slices.Contains(the.story(t, node.Name), "certificate.renewed") })
	story := slices.DeleteFunc(the.story(t, node.Name), func(s string) bool { return s == "certificate.renewed" })
	assert.Equal(t, []string{"certificate.expiring", "rotation.requested", "rotation.started", "rotation.nodeproven", "rotation.succeeded"}, story)

	_, o := the.check(t)
	assert.Zero(t, o.exit, "check is clean: %s", o)
	metrics := the.metrics(t)
	assert.Contains(t, metrics, `rotate_certs_rotations_total{result="Succeeded"} 1`)
	assert.NotContains(t, metrics, "rotate_certs_certificates_waiting{", "nothing is due any more")
	assert.Contains(t, metrics, `x509_cert_not_after{node="`+node.Name+`",service="etcd",name="etcd-server"`)
	events := the.kubectl(t, "get", "events", "-A", "--field-selector", "involvedObject.kind=CertificateRotation", "-o", "name")
	assert.NotEmpty(t, events.stdout, "Kubernetes Events tell of it too")
	the.assertClusterIsWhole(t)
}

func whatIsCompromisedIsReplaced(t *testing.T) {
	before, known := the.snapshots(t), len(the.rotations(t))
	config, err := clientcmd.BuildConfigFromFlags("", the.kubeconfig(t))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	asking := &asker{}
	var running sync.WaitGroup
	running.Go(func() { asking.ask(ctx, config.Host+"/version") })

	o := the.kubectl(t, "rotate-certs", "mark-compromised", "--service", "kube-apiserver", "--reason", "a backup was stolen", "-o", "name")
	require.Zero(t, o.exit, "%s", o)
	mark := strings.TrimSpace(o.stdout)
	done := the.kubectl(t, "wait", "--for=condition=Replaced", mark, "--timeout=4m")
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
	for _, n := range the.controlPlanes() {
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
	require.Zero(t, the.kubectl(t, "rotate-certs", "unmark", "--all").exit)
	the.assertClusterIsWhole(t)
}

// aStolenIdentityIsNotUsed: whoever has a kubelet's key could have it renewed as well, so
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
	require.Zero(t, the.kubectl(t, "rotate-certs", "unmark", "--all").exit)
	the.assertClusterIsWhole(t)
}

// anyonePermittedMayAsk, with an object of his own.
func anyonePermittedMayAsk(t *testing.T) {
	node := the.nodes[len(the.nodes)-1]
	the.apply(t, `{apiVersion: rotate-certs.io/v1alpha1, kind: CertificateRotation, metadata: {name: by-hand}, spec: {services: [kubelet], nodes: [`+node.Name+`]}}`)
	o := the.kubectl(t, "wait", "--for=condition=Succeeded", "certificaterotation/by-hand", "--timeout=3m")
	require.Zero(t, o.exit, "%s", o)
	change := the.kubectl(t, "patch", "certificaterotation", "by-hand", "--type=merge", "-p", `{"spec":{"restart":"Never"}}`)
	assert.NotZero(t, change.exit)
	assert.Contains(t, change.stderr, "a rotation cannot be changed; create another")
}

func uninstalledItLeavesNothing(t *testing.T) {
	o := the.kubectl(t, "rotate-certs", "uninstall", "--yes")
	require.Zero(t, o.exit, "%s", o)
	the.assertNothingLabelled(t)
	assert.NotZero(t, the.kubectl(t, "get", "namespace", "rotate-certs").exit)
}

// assertNothingLabelled looks through all kinds that there are.
func (l *lab) assertNothingLabelled(t *testing.T) {
	t.Helper()
	kinds := l.kubectl(t, "api-resources", "--verbs=list", "-o", "name")
	require.Zero(t, kinds.exit)
	for kind := range strings.Lines(kinds.stdout) {
		kind = strings.TrimSpace(kind)
		left := l.kubectl(t, "get", kind, "-A", "-l", "app.kubernetes.io/name=rotate-certs", "-o", "name", "--ignore-not-found")
		assert.Empty(t, left.stdout, kind)
	}
	assert.NotContains(t, kinds.stdout, "rotate-certs.io")
}
