package plugin

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// newCA makes a CA with the name of kubeadm's.
func newCA() *x509.Certificate {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "kubernetes"}, SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(day), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(nil, template, template, public, key)
	if err != nil {
		panic(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return ca
}

// clusterCA is the CA of the hosts that the stand-in for ssh reaches.
var clusterCA = sync.OnceValue(newCA)

func pemOf(ca *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
}

// authorities is what the API server says of its CAs.
func (f *fake) authorities() []byte {
	if f.rootCA != nil {
		return f.rootCA
	}
	return pemOf(clusterCA())
}

// TestHostsOfAnotherClusterWithTheSameNamesAreRefused: rotations of the hosts' cluster take
// another lock than that of the kubeconfig's cluster.
func TestHostsOfAnotherClusterWithTheSameNamesAreRefused(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"), worker("w1"))
	f := newFake(controlPlane("cp1"), worker("w1"))
	f.rootCA = pemOf(newCA())
	for _, host := range []string{"cp1", "w1"} {
		code, _, stderr := f.run(t, append([]string{"--service", "kubelet", "--yes"}, s.flags(host)...)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, `the kubeconfig is of another cluster: host "`+host+`" does not have its CA, "CN=kubernetes"`)
		assert.Equal(t, "scan\n", s.calls(host))
	}
	assert.False(t, f.did("lock"))
}

func TestRotationOverSSHStopsWhereTheCAOfTheClusterMayNotBeRead(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	f := newFake(controlPlane("cp1"))
	f.rootCAErr = answerWith(http.StatusForbidden)
	code, _, stderr := f.run(t, append([]string{"--service", "etcd", "--yes"}, s.flags("cp1")...)...)
	assert.Equal(t, 1, code)
	assert.NotContains(t, stderr, "Without the cluster's lock")
	assert.Equal(t, "scan\n", s.calls("cp1"))
}

func TestClusterIsComparedByTheCAsOfTheHosts(t *testing.T) {
	ca := clusterCA()
	node := func(service certs.Service, authorities ...string) inventory.Node {
		n := inventory.Node{Name: "n-" + string(service), Components: []inventory.Component{{Service: service}}}
		for _, id := range authorities {
			n.Authorities = append(n.Authorities, inventory.Authority{ID: id})
		}
		return n
	}
	server := node(certs.KubeAPIServer, "client-ca", certs.AuthorityID(ca))
	for name, tt := range map[string]struct {
		hosts []inventory.Node
		says  string
	}{
		"the same CA":                            {[]inventory.Node{server, node(certs.Kubelet, certs.AuthorityID(ca))}, ""},
		"another CA for clients":                 {[]inventory.Node{node(certs.Kubelet, "client-ca"), server}, ""},
		"a host of an external etcd":             {[]inventory.Node{server, node(certs.Etcd, "etcd-ca")}, ""},
		"a worker of another cluster":            {[]inventory.Node{server, node(certs.Kubelet, "other")}, `host "n-kubelet" does not have its CA`},
		"a control-plane node of another":        {[]inventory.Node{node(certs.KubeAPIServer, "client-ca")}, `host "n-kube-apiserver" does not have its CA`},
		"a host of an external etcd and no node": {[]inventory.Node{node(certs.Etcd, "etcd-ca")}, "it is not known whether the hosts are of the kubeconfig's cluster"},
	} {
		err := compareCluster(pemOf(ca), tt.hosts)
		if tt.says == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, tt.says, name)
	}
	require.ErrorContains(t, compareCluster(nil, []inventory.Node{server}), "read the CA of the kubeconfig's cluster")
}
