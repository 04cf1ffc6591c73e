//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"
)

// stored is where a certificate and its key lie on kubeadm's clusters, and which ports
// show it. It is written down here on purpose, although the tool discovers it.
type stored struct {
	cert, key string
	ports     []string
	// selfMade certificates hang on a throwaway authority, which is new as well.
	selfMade bool
}

// certificates lists what a service holds on a node.
func (l *lab) certificates(t *testing.T, service string, n machine, files tree) []stored {
	t.Helper()
	if l.shape.Topology == systemd {
		return unitCertificates(service, n)
	}
	pki := l.pki(t)
	pair := func(name string, ports ...string) stored {
		return stored{cert: pki + "/" + name + ".crt", key: pki + "/" + name + ".key", ports: ports}
	}
	controlPlane := n.Role == "control-plane"
	var out []stored
	switch service {
	case "etcd":
		if controlPlane {
			out = append(out, pair("etcd/server", n.IP+":2379"), pair("etcd/peer", n.IP+":2380"), pair("etcd/healthcheck-client"))
		}
	case "kube-apiserver":
		if controlPlane {
			port := apiPort(t, l)
			out = append(out, pair("apiserver", n.IP+":"+port), pair("apiserver-etcd-client"), pair("apiserver-kubelet-client"), pair("front-proxy-client"))
		}
	case "kube-controller-manager", "kube-scheduler":
		if controlPlane {
			path := "/etc/kubernetes/" + strings.TrimPrefix(service, "kube-") + ".conf"
			out = append(out, stored{cert: path, key: path})
		}
	case "admin":
		for _, path := range []string{"/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf"} {
			if _, there := files[path]; there {
				out = append(out, stored{cert: path, key: path})
			}
		}
	case "kubelet":
		client := "/var/lib/kubelet/pki/kubelet-client-current.pem"
		out = append(out, stored{cert: client, key: client})
		server := "/var/lib/kubelet/pki/kubelet-server-current.pem"
		if _, there := files[server]; there {
			out = append(out, stored{cert: server, key: server, ports: []string{n.IP + ":10250"}})
		} else {
			out = append(out, stored{cert: "/var/lib/kubelet/pki/kubelet.crt", key: "/var/lib/kubelet/pki/kubelet.key",
				ports: []string{n.IP + ":10250"}, selfMade: true})
		}
	}
	return out
}

func apiPort(t *testing.T, l *lab) string {
	t.Helper()
	manifest := string(l.on(t, l.controlPlanes()[0].Name, "tr '\\0' '\\n' < /proc/$(pidof kube-apiserver | cut -d' ' -f1)/cmdline"))
	for line := range strings.Lines(manifest) {
		if port, ok := strings.CutPrefix(strings.TrimSpace(line), "--secure-port="); ok {
			return port
		}
	}
	return "6443"
}

// services of a full rotation, in the order of their tests: those that others need last.
var services = []string{"admin", "kube-proxy", "kube-scheduler", "kube-controller-manager", "kubelet", "etcd", "kube-apiserver"}

func TestRotateOneService(t *testing.T) {
	for _, asked := range []string{"admin", "kube-scheduler,kube-controller-manager", "kubelet", "etcd", "kube-apiserver"} {
		t.Run(asked, func(t *testing.T) {
			if asked != "admin" {
				the.rotateAndCompare(t, strings.Split(asked, ","), "--service", asked)
				return
			}
			// A copy in a user's home directory keeps the old certificate, and is reported.
			node := the.controlPlanes()[0].Name
			the.on(t, node, "mkdir -p /root/.kube && cp /etc/kubernetes/admin.conf /root/.kube/e2e-copy")
			defer the.on(t, node, "rm -f /root/.kube/e2e-copy")
			copied := "/root/.kube/e2e-copy on " + node + " (admin.conf of " + node + ")"
			plan := the.kubectl(t, "rotate-certs", "plan", "--service", asked)
			assert.Contains(t, plan.stdout+plan.stderr, copied, "the plan says so")
			report := the.rotateAndCompare(t, []string{asked}, "--service", asked)
			assert.Contains(t, strings.Join(report.Notes, " "), copied, "and so does the report")
			again := the.rotate(t, "--service", asked)
			assert.NotContains(t, strings.Join(again.Notes, " "), copied, "it is no copy of what is replaced now")
		})
	}
}

// rotateAndCompare rotates and checks that exactly the certificates of these services
// are new, and that nothing else is.
func (l *lab) rotateAndCompare(t *testing.T, rotated []string, args ...string) report {
	t.Helper()
	before := l.snapshots(t)
	ran := l.runningAll(t, rotated, before)
	began := time.Now()
	report := l.rotate(t, args...)
	require.Equal(t, "Succeeded", report.Result)
	after, runs := l.snapshots(t), l.running(t)

	var wantRestarted []string
	for _, n := range l.nodes {
		var wantChanged []string
		for _, service := range rotated {
			held := l.certificates(t, service, n, before[n.Name])
			if len(held) == 0 {
				continue
			}
			assert.Equal(t, "Succeeded", report.results()[n.Name+"/"+service], "%s on %s", service, n.Name)
			if service != "admin" {
				wantRestarted = append(wantRestarted, n.Name+"/"+service)
			}
			for _, s := range held {
				wantChanged = append(wantChanged, s.cert, s.key)
				l.assertStoredAnew(t, n, s, before[n.Name], after[n.Name])
			}
		}
		slices.Sort(wantChanged)
		assert.ElementsMatch(t, slices.Compact(wantChanged), changed(before[n.Name], after[n.Name]), "%s: exactly these files changed", n.Name)
	}
	for _, c := range report.Collateral {
		wantRestarted = append(wantRestarted, c.Node+"/"+c.Service)
	}
	restarted := slices.DeleteFunc(ran.restarted(runs), func(what string) bool {
		return !slices.Contains(wantRestarted, what) && l.lostLease(t, what, began)
	})
	assert.ElementsMatch(t, wantRestarted, restarted, "exactly these components were restarted, or are listed as collateral")
	l.assertClusterIsWhole(t)
	return report
}

// lostLease reports whether a component, as NODE/SERVICE, has ended since then because it could not
// renew its lease in time, by its own log. A report cannot list one that ended a moment before: its
// kubelet starts it again after a pause, and only then counts it as restarted.
func (l *lab) lostLease(t *testing.T, what string, since time.Time) bool {
	t.Helper()
	node, service, _ := strings.Cut(what, "/")
	_, err := l.try(t.Context(), node, fmt.Sprintf("cat /var/log/pods/kube-system_%[1]s-*/%[1]s/*.log | awk '$1 >= \"%[2]s\"' | grep -qi 'failed to renew lease'",
		service, since.UTC().Format("2006-01-02T15:04:05")))
	return err == nil
}

// runningAll is running once all components run that hold certificates of these services. A
// controller that lost its lease, as one may while the last etcd members join, is started
// again by its kubelet only after a pause of ten seconds or more.
func (l *lab) runningAll(t *testing.T, services []string, files map[string]tree) runs {
	t.Helper()
	var out runs
	var down []string
	err := wait.PollUntilContextTimeout(t.Context(), 500*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		out, down = l.running(t), nil
		for _, n := range l.nodes {
			for _, service := range services {
				what := n.Name + "/" + service
				if service != "admin" && len(l.certificates(t, service, n, files[n.Name])) > 0 && out[what] == "" {
					down = append(down, what)
				}
			}
		}
		return len(down) == 0, nil
	})
	require.NoError(t, err, "these do not run: %v", down)
	return out
}

func (l *lab) assertStoredAnew(t *testing.T, n machine, s stored, before, after tree) {
	t.Helper()
	what := n.Name + " " + s.cert
	b, a := before.identity(t, s.cert, s.key), after.identity(t, s.cert, s.key)
	assertRenewed(t, what, b, a)
	for _, path := range []string{s.cert, s.key} {
		assert.Equal(t, before.resolve(path).mode, after.resolve(path).mode, "%s %s: mode", n.Name, path)
		assert.Equal(t, before.resolve(path).uid, after.resolve(path).uid, "%s %s: owner", n.Name, path)
		assert.Equal(t, before.resolve(path).gid, after.resolve(path).gid, "%s %s: group", n.Name, path)
	}
	if !s.selfMade {
		assert.Equal(t, b.leaf.RawIssuer, a.leaf.RawIssuer, "%s: issuer", what)
		assert.Equal(t, b.leaf.AuthorityKeyId, a.leaf.AuthorityKeyId, "%s: the CA stays", what)
	}
	for _, port := range s.ports {
		assert.Equal(t, fingerprint(a.leaf), fingerprint(served(t, port)), "%s: %s serves the new certificate", what, port)
	}
}

func TestKubeProxyHasNoCertificateOnKubeadm(t *testing.T) {
	before, ran := the.snapshots(t), the.running(t)
	report := the.rotate(t, "--service", "kube-proxy")
	assert.Equal(t, "Succeeded", report.Result)
	for _, n := range the.nodes {
		assert.Equal(t, "NoCertificate", report.results()[n.Name+"/kube-proxy"])
		assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
	}
	assert.Empty(t, ran.restarted(the.running(t)))
}

func TestNewClientCertificatesAuthenticate(t *testing.T) {
	cp := the.controlPlanes()[0]
	files := the.snapshot(t, cp.Name)
	api := "https://" + cp.IP + ":" + apiPort(t, the)
	for _, c := range []struct{ path, url string }{
		{"/etc/kubernetes/admin.conf", api + "/api/v1/namespaces"},
		{"/etc/kubernetes/scheduler.conf", api + "/api/v1/nodes"},
		{"/etc/kubernetes/controller-manager.conf", api + "/api/v1/nodes"},
	} {
		assert.Equal(t, 200, httpStatus(t, c.url, files.identity(t, c.path, c.path)), c.path)
	}
	id := files.identity(t, the.pki(t)+"/apiserver-kubelet-client.crt", the.pki(t)+"/apiserver-kubelet-client.key")
	for _, n := range the.nodes {
		assert.Equal(t, 200, httpStatus(t, "https://"+n.IP+":10250/healthz", id), "the kubelet of %s", n.Name)
	}
}

func TestValidityIsAsAsked(t *testing.T) {
	the.rotate(t, "--service", "kube-scheduler", "--validity", "48h")
	for _, n := range the.controlPlanes() {
		path := "/etc/kubernetes/scheduler.conf"
		leaf := the.snapshot(t, n.Name).identity(t, path, path).leaf
		assert.WithinDuration(t, time.Now().Add(48*time.Hour), leaf.NotAfter, time.Hour)
	}
	the.rotate(t, "--service", "kube-scheduler")
}
