//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The tests of this file and of those named after it run on the cluster of shapes.yaml, see
// "make e2e-shapes": what people's clusters have and kubeadm's do not.

const testbox = "rotate-certs.test/testbox:1"

// etcdClient is the certificate that nothing on this cluster's nodes can renew: the key of
// etcd's CA is on etcd's own host.
const etcdClient = "apiserver-etcd-client"

func TestShapeCheckIsContentWithWhatCannotBeRenewedHere(t *testing.T) {
	list, o := the.check(t)
	assert.Zero(t, o.exit, "its end is far: %s", o)
	found := false
	for _, i := range list.Items {
		found = found || i.Name == etcdClient
	}
	assert.True(t, found, "it is listed: %s", o)
}

func TestShapeRequireAllRefusesAndChangesNothing(t *testing.T) {
	before, ran := the.snapshots(t), the.running(t)
	o := the.kubectl(t, "rotate-certs", "--all", "--require-all")
	assert.Equal(t, 1, o.exit, "%s", o)
	assert.Contains(t, o.stderr, etcdClient)
	for _, n := range the.nodes {
		assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
	}
	assert.Empty(t, ran.restarted(the.running(t)))
}

// TestShapeAllRenewsWhatItCan is one rotation of everything, verified from several sides:
// what cannot be renewed is left out by name, the key of ServiceAccount tokens stays, and
// files that are not in use are not touched.
func TestShapeAllRenewsWhatItCan(t *testing.T) {
	cp := the.controlPlanes()[0]
	backups := the.leaveBackups(t, cp.Name)
	token := the.podToken(t)
	require.NoError(t, the.accepts(t, token), "the token of a pod, before")
	plan := the.kubectl(t, "rotate-certs", "plan", "--all")
	assert.Contains(t, plan.stdout, etcdClient, "the plan names what is left out")
	assert.Contains(t, plan.stdout+plan.stderr, "ServiceAccount", "and says which key stays, and why")
	before, ran := the.snapshots(t), the.running(t)

	o := the.kubectl(t, "rotate-certs", "--all", "-o", "json")
	assert.Equal(t, 4, o.exit, "done, but something was left out: %s", o)
	report := parseReport(t, o)
	after, runs := the.snapshots(t), the.running(t)

	if assert.Len(t, report.LeftOut, 1, "%s", o) {
		assert.Equal(t, etcdClient, report.LeftOut[0].Name)
		assert.Equal(t, cp.Name, report.LeftOut[0].Node)
	}
	pki := the.pki(t)
	for _, n := range the.nodes {
		var want []string
		for _, service := range services {
			for _, s := range the.certificates(t, service, n, before[n.Name]) {
				switch {
				case service == "etcd", strings.Contains(s.cert, etcdClient):
				case s.cert == pki+"/apiserver.crt":
					want = append(want, s.cert) // and its key stays
					assert.Equal(t, fingerprint(after[n.Name].identity(t, s.cert, s.key).leaf), fingerprint(served(t, s.ports[0])))
				default:
					the.assertStoredAnew(t, n, s, before[n.Name], after[n.Name])
					want = append(want, s.cert)
					if s.key != s.cert {
						want = append(want, s.key)
					}
				}
			}
		}
		assert.ElementsMatch(t, want, changed(before[n.Name], after[n.Name]), "%s: exactly these files changed", n.Name)
	}
	for _, path := range backups {
		assert.Equal(t, sha256.Sum256(before[cp.Name][path].data), sha256.Sum256(after[cp.Name][path].data), "%s is not touched", path)
	}
	assert.ElementsMatch(t, []string{"cp1/kube-apiserver", "cp1/kube-controller-manager", "cp1/kube-scheduler", "cp1/kubelet", "w1/kubelet"}, ran.restarted(runs))
	assert.NoError(t, the.accepts(t, token), "the token of a pod, afterwards")
	the.assertKubeletsAnswer(t)
	_, o = the.check(t)
	assert.Zero(t, o.exit, "%s", o)
}

// podToken starts a pod and returns the ServiceAccount token that it was given.
func (l *lab) podToken(t *testing.T) string {
	t.Helper()
	node := l.nodes[len(l.nodes)-1].Name
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "with-token"}, Spec: corev1.PodSpec{NodeName: node,
		Containers: []corev1.Container{{Name: "sleep", Image: testbox, Args: []string{"sleep"}}}}}
	pods := l.client.CoreV1().Pods("default")
	created, err := pods.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, pods.Delete(context.WithoutCancel(t.Context()), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	})
	token := ""
	within(t, time.Minute, "the pod's token", func() bool {
		out, err := l.try(t.Context(), node, fmt.Sprintf("cat /var/lib/kubelet/pods/%s/volumes/*projected/*/token", created.UID))
		token = string(out)
		return err == nil && token != ""
	})
	return token
}

// accepts asks the API server who the bearer of a token is.
func (l *lab) accepts(t *testing.T, token string) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig(t))
	require.NoError(t, err)
	anonymous := rest.AnonymousClientConfig(config)
	anonymous.BearerToken = token
	client, err := kubernetes.NewForConfig(anonymous)
	require.NoError(t, err)
	_, err = client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return err
}

// leaveBackups leaves on a control plane what people and their tools leave there, and
// returns the paths: an old cluster-admin's file, one more with kubespray's name for a
// backup, the scheduler's from before, expired, and the pair of a user called Jane.
func (l *lab) leaveBackups(t *testing.T, node string) []string {
	t.Helper()
	files := l.snapshot(t, node)
	conf, pki := "/etc/kubernetes/", l.pki(t)
	ca := files.identity(t, pki+"/ca.crt", pki+"/ca.key")
	// From before a renewal: another key, and other dates.
	earlier := func(path string, left time.Duration) []byte {
		old, end := files.identity(t, path, path), time.Now().Add(left)
		key := newKey(t)
		leaf := resigned(t, identity{leaf: old.leaf, key: key}, ca, end.Add(-365*24*time.Hour), end)
		return withKey(t, withCertificate(t, path, files[path].data, leaf), key)
	}
	jane := identity{leaf: &x509.Certificate{Subject: pkix.Name{CommonName: "jane"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key: newKey(t)}
	janes := resigned(t, jane, ca, time.Now().Add(-time.Hour), time.Now().Add(300*24*time.Hour))
	lie := map[string][]byte{
		conf + "admin.conf.old":                       earlier(conf+"admin.conf", 24*time.Hour),
		conf + "admin.conf.3141.2026-01-02@03:04:05~": files[conf+"admin.conf"].data,
		conf + "scheduler.conf.old":                   earlier(conf+"scheduler.conf", -24*time.Hour),
		pki + "/jane.crt":                             pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: janes.Raw}),
		pki + "/jane.key":                             keyPEM(t, jane.key.(*ecdsa.PrivateKey)),
	}
	var paths []string
	for path, data := range lie {
		paths = append(paths, path)
		l.put(t, node, path, data)
	}
	t.Cleanup(func() {
		_, err := l.try(context.WithoutCancel(t.Context()), node, "rm -f '"+strings.Join(paths, "' '")+"'")
		assert.NoError(t, err)
	})
	return paths
}

func TestShapeBackupsAreReportedAndNotCounted(t *testing.T) {
	cp := the.controlPlanes()[0].Name
	paths := the.leaveBackups(t, cp)
	o := the.kubectl(t, "rotate-certs", "check")
	assert.Zero(t, o.exit, "nothing is to be done: %s", o)
	_, unused, reported := strings.Cut(strings.ToLower(o.stdout), "not in use")
	assert.True(t, reported, "%s", o)
	for _, path := range paths {
		if !strings.HasSuffix(path, ".key") {
			assert.Contains(t, unused, strings.ToLower(path))
		}
	}
	before := the.snapshot(t, cp)
	the.rotate(t, "--service", "admin,kube-scheduler")
	after := the.snapshot(t, cp)
	for _, path := range paths {
		assert.Equal(t, sha256.Sum256(before[path].data), sha256.Sum256(after[path].data), "%s is not touched", path)
	}
}
