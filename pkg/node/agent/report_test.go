package agent

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// endingIn is a certificate that lives for a year and ends after so many days.
func endingIn(s certs.Service, name string, days int) inventory.Certificate {
	end := noon.AddDate(0, 0, days)
	c := inventory.Certificate{Service: s, Name: name, Status: certs.OK, Store: inventory.Store{Kind: inventory.Pair, Cert: "/pki/" + name + ".crt", Key: "/pki/" + name + ".key"}}
	c.Facts = certs.Facts{Subject: "CN=" + name, Issuer: "CN=ca", SerialNumber: "1f", FingerprintSHA256: strings.Repeat("ab", 32), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	return c
}

func TestReport(t *testing.T) {
	broken := inventory.Certificate{Service: certs.Etcd, Name: "etcd-peer", Status: certs.Invalid, Reason: "no certificate in it", Store: inventory.Store{Cert: "/pki/peer.crt"}}
	misfit := endingIn(certs.Etcd, "etcd-server", 100)
	misfit.Status = certs.Invalid
	misfit.Reason = "the key does not fit"
	old := endingIn(certs.KubeAPIServer, "apiserver", 90)
	old.Status = certs.NotServed
	old.Reason = "127.0.0.1:6443 serves another certificate, which expires 2026-06-11T12:00:00Z"
	admin := endingIn(certs.Admin, "admin.conf", 300)
	admin.Store = inventory.Store{Kind: inventory.Kubeconfig, Cert: "/etc/kubernetes/admin.conf", User: "me"}

	r := NewReport(inventory.Node{
		Name: "cp1", Time: noon, ProgramVersion: "v1",
		Certificates: []inventory.Certificate{admin, old, misfit, broken},
		Authorities: []inventory.Authority{{Facts: certs.Facts{Subject: "CN=ca", FingerprintSHA256: "cc", NotBefore: noon, NotAfter: noon.AddDate(9, 0, 0)},
			Name: "ca", Paths: []string{"/pki/ca.crt", "/pki/copy.crt"}, KeyOn: "/pki/ca.key"}},
		NotInspected: []inventory.NotInspected{{Service: certs.Kubelet, Path: "/x", Reason: "no such file"}, {Service: certs.Kubelet, Path: "/x", Reason: "no such file"}},
	}, nil)

	assert.Equal(t, "cp1", r.Name)
	assert.Equal(t, v1alpha1.ReportSummary{EarliestExpiry: "2026-08-30T12:00:00Z", EarliestCertificate: "kube-apiserver/apiserver",
		Certificates: 4, Problems: 4, ObservedAt: "2026-06-01T12:00:00Z", ProgramVersion: "v1"}, r.Summary)
	var names []string
	for _, c := range r.Certificates {
		names = append(names, fmt.Sprintf("%s|%s|%s|%s|%s", c.Service, c.Name, c.Path, c.User, c.Reason))
	}
	assert.Equal(t, []string{
		"etcd|etcd-peer|/pki/peer.crt||no certificate in it",
		"etcd|etcd-server|/pki/etcd-server.crt||the key does not fit",
		"kube-apiserver|apiserver|/pki/apiserver.crt||" + old.Reason,
		"admin|admin.conf|/etc/kubernetes/admin.conf|me|",
	}, names)
	assert.Equal(t, "/pki/ca.crt", r.Authorities[0].Path)
	assert.True(t, r.Authorities[0].HasKey)
	assert.Len(t, r.NotInspected, 1, "the same twice")

	data, err := json.Marshal(r)
	require.NoError(t, err)
	assert.NotContains(t, string(data), "null", "the API server refuses null dates")
	assert.NotContains(t, string(data), "/pki/ca.key", "the path of a CA's key is not reported")
}

func TestReportDoesNotChangeWithTheTimeOnly(t *testing.T) {
	at := func(now time.Time) content {
		c := endingIn(certs.Etcd, "etcd-server", 300)
		var why string
		c.Status, why = c.ValidityStatus(now, 0)
		c.Reason = "holds a copy; and more"
		if why != "" {
			c.Reason += "; " + why
		}
		c.Reason += "; cannot be renewed from this node"
		return contentOf(NewReport(inventory.Node{Name: "n", Time: now, Certificates: []inventory.Certificate{c}}, nil))
	}
	want := at(noon)
	assert.Contains(t, string(want), "holds a copy; and more; cannot be renewed from this node")
	for _, days := range []int{1, 270, 299, 300, 400, -100} {
		assert.Equal(t, want, at(noon.AddDate(0, 0, days)), "after %d days", days)
	}
}

func TestReportStaysWithinTheLimitsOfTheAPI(t *testing.T) {
	node := inventory.Node{Name: "n", Time: noon}
	for i := range 700 {
		c := endingIn(certs.Etcd, fmt.Sprintf("c%d", i), 1000-i)
		c.Subject = "CN=" + strings.Repeat("\xff€", 1000)
		for range 200 {
			c.SANs = append(c.SANs, strings.Repeat("x", 300))
		}
		node.Certificates = append(node.Certificates, c)
		node.NotInspected = append(node.NotInspected, inventory.NotInspected{Path: fmt.Sprintf("/%d", i), Reason: strings.Repeat("r", 5000)})
		node.Authorities = append(node.Authorities, inventory.Authority{Name: fmt.Sprint(i)})
	}
	r := NewReport(node, nil)
	assert.Len(t, r.Certificates, maxCertificates)
	assert.Equal(t, "c699", r.Certificates[0].Name, "those that end first stay")
	assert.Len(t, r.Authorities, maxAuthorities)
	assert.LessOrEqual(t, len(r.NotInspected), maxGaps)
	assert.Equal(t, int32(700), r.Summary.Certificates)
	assert.Contains(t, r.NotInspected[len(r.NotInspected)-1].Reason, "too many to report")
	data, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Less(t, len(data), maxReport)
}

// One certificate with an endless serial number must not keep the whole report from being
// taken: the definition wants digits only.
func TestALongSerialNumberStaysANumber(t *testing.T) {
	odd := endingIn(certs.Etcd, "etcd-server", 100)
	odd.SerialNumber = strings.Repeat("1f", 1000)
	r := NewReport(inventory.Node{Name: "cp1", Time: noon, Certificates: []inventory.Certificate{odd},
		Authorities: []inventory.Authority{{Facts: odd.Facts, Name: "ca"}}}, nil)
	assert.Regexp(t, "^[0-9a-f]{512}$", r.Certificates[0].SerialNumber)
	assert.Regexp(t, "^[0-9a-f]{512}$", r.Authorities[0].SerialNumber)
}

func TestReportNamesHiddenDirectories(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/var/lib/x", "")
	n.LinkFile("/etc/kubernetes/pki", "/data/pki")
	hidden := func(file string) string { return hiddenDirectory(n.Root, file) }
	c := inventory.Certificate{Service: certs.Etcd, Name: "etcd-peer", Status: certs.Invalid, Reason: `read "/etc/kubernetes/pki/peer.crt": no such file or directory`, Store: inventory.Store{Cert: "/etc/kubernetes/pki/peer.crt"}}
	r := NewReport(inventory.Node{Name: "n", Certificates: []inventory.Certificate{c}, NotInspected: []inventory.NotInspected{{Path: "/etc/x", Reason: "no such file"}, {Path: "/data/ca.crt", Reason: "no such file"}}}, hidden)
	const hint = "; /data is not visible to the agent: kubectl rotate-certs install --agent-directory /data"
	assert.Equal(t, c.Reason+hint, r.Certificates[0].Reason)
	assert.Equal(t, "no such file"+hint, r.NotInspected[0].Reason)
	assert.Equal(t, "no such file", r.NotInspected[1].Reason)
	assert.Equal(t, "/var/snap", hidden("/var/snap/x"))
	assert.Empty(t, hidden("/var/snap/microk8s/current"), "it holds sockets")
}

// TestAReportListsObstacles without values that change with the clock.
func TestAReportListsObstacles(t *testing.T) {
	orphan := endingIn(certs.KubeAPIServer, "apiserver-etcd-client", 5)
	_, soon := orphan.ValidityStatus(noon, 0)
	orphan.Issuer.Kind = inventory.NoIssuer
	orphan.Status = certs.Expiring
	orphan.Reason = soon + "; the CA's key is not here"
	shared := endingIn(certs.KubeAPIServer, "apiserver", 100)
	shared.KeyUses = []inventory.KeyUse{{Kind: inventory.ServiceAccountKey, Service: certs.KubeAPIServer, Setting: "--service-account-key-file"}}
	node := inventory.Node{
		Name: "cp1", Time: noon, Certificates: []inventory.Certificate{orphan, shared, endingIn(certs.Kubelet, "kubelet-client", 100)},
		Components:   []inventory.Component{{Service: certs.Kubelet, Runtime: inventory.None, PID: 1}},
		NotInspected: []inventory.NotInspected{{Reason: "by design", Informational: true}, {Reason: "permission denied"}},
	}
	r := NewReport(node, nil)
	require.Len(t, r.Certificates, 3)
	assert.Equal(t, "Never", r.Certificates[0].NotRenewable.MaxRestart)
	assert.Contains(t, r.Certificates[0].NotRenewable.Reason, "nothing here can restart it")
	assert.Nil(t, r.Certificates[1].NotRenewable)
	assert.Contains(t, r.Certificates[1].KeptKey, "--service-account-key-file")
	assert.Equal(t, &v1alpha1.NotRenewable{Reason: "the CA's key is not here"}, r.Certificates[2].NotRenewable)
	assert.Equal(t, int32(1), r.Summary.Problems, "findings that cannot be changed are no problems")
}

// TestAReportNamesTheCAWhoseKeyIsMissing, if nothing else is in the way.
func TestAReportNamesTheCAWhoseKeyIsMissing(t *testing.T) {
	id := strings.Repeat("a", 64)
	c := endingIn(certs.KubeAPIServer, "apiserver-etcd-client", 5)
	c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Authority: id}
	c.Reason = "the CA's key is not here"
	node := inventory.Node{Name: "cp1", Time: noon, Certificates: []inventory.Certificate{c}, Authorities: []inventory.Authority{{ID: id, Paths: []string{"/ca.crt"}}}}
	r := NewReport(node, nil)
	assert.Equal(t, &v1alpha1.NotRenewable{Reason: "the CA's key is not here", Authority: id}, r.Certificates[0].NotRenewable)
	assert.Equal(t, id, r.Authorities[0].ID)

	node.Components = []inventory.Component{{Service: certs.KubeAPIServer, Runtime: inventory.None, PID: 1}}
	assert.Empty(t, NewReport(node, nil).Certificates[0].NotRenewable.Authority, "nothing can restart it either")
}

// TestHiddenFilesAreNoObstacle: the DaemonSet mounts no sockets, so the agent does not know
// whether systemd could restart a kubelet; a node pod does.
func TestHiddenFilesAreNoObstacle(t *testing.T) {
	for hidden, want := range map[bool]bool{true: false, false: true} {
		tree := certstest.Kubeadm(t, "cp1")
		layouttest.NodeIn(t, tree.Root).AddKubeadm(certstest.PKIDir)
		require.NoError(t, os.RemoveAll(tree.Local("/run")))
		node := scan.TakeInventory(t.Context(), tree.Root, scan.Options{NodeName: "cp1", PodsHidden: hidden, Now: func() time.Time { return certstest.Now },
			Handshake: func(context.Context, string, string) (*x509.Certificate, error) {
				return nil, errors.New("connection refused")
			}})
		seen := false
		for _, c := range NewReport(node, nil).Certificates {
			if c.Service == certs.Kubelet {
				seen = true
				assert.Equal(t, want, c.NotRenewable != nil, "hidden %t: %s: %+v", hidden, c.Name, c.NotRenewable)
			}
		}
		assert.True(t, seen)
	}
}
