package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

const keyFile = "/etc/kubernetes/pki/server.key"

// sharingNode is a node on which the API server's and etcd's certificate have one key file.
func sharingNode() inventory.Node {
	c := func(s certs.Service, name string) inventory.Certificate {
		path := "/etc/kubernetes/pki/" + name + ".crt"
		return inventory.Certificate{Service: s, UsedBy: []certs.Service{s}, Name: name, Status: certs.OK, KeyFile: keyFile,
			Facts:  certs.Facts{FingerprintSHA256: name, Subject: "CN=" + name, Issuer: "CN=ca", NotBefore: time.Unix(0, 0), NotAfter: time.Unix(0, 0).AddDate(1, 0, 0)},
			Store:  inventory.Store{Kind: inventory.Pair, Cert: path, Key: keyFile},
			Issuer: inventory.Issuer{Kind: inventory.LocalCA, CACert: "/ca.crt", CAKey: "/ca.key"}}
	}
	other := c(certs.KubeAPIServer, "apiserver-etcd-client")
	other.Store.Key = "/etc/kubernetes/pki/own.key"
	other.KeyFile = "/etc/kubernetes/pki/own.key"
	return inventory.Node{Name: "cp1", CRISocket: "/run/cri.sock",
		Components:   []inventory.Component{{Service: certs.Etcd, Runtime: inventory.StaticPod}, {Service: certs.KubeAPIServer, Runtime: inventory.StaticPod}},
		Certificates: []inventory.Certificate{c(certs.Etcd, "etcd-server"), c(certs.KubeAPIServer, "apiserver"), other}}
}

func buildPlan(t *testing.T, n inventory.Node, change func(*Request), services ...certs.Service) (Plan, error) {
	t.Helper()
	req := Request{Services: services, Restart: RestartAlways}
	if change != nil {
		change(&req)
	}
	return BuildPlan([]inventory.Node{n}, req, nil)
}

func targetNames(s Step) (out []string) {
	for _, t := range s.Targets {
		out = append(out, t.Name)
	}
	return out
}

func TestCertificatesOfOneKeyFileAreRenewedTogether(t *testing.T) {
	p, err := buildPlan(t, sharingNode(), nil, certs.Etcd)
	require.NoError(t, err)
	step := p.AllSteps()[0]
	assert.Equal(t, []string{"etcd-server", "apiserver"}, targetNames(step), "and not the API server's other one")
	assert.Equal(t, []certs.Service{certs.Etcd, certs.KubeAPIServer}, step.Restarts)
	for _, target := range step.Targets {
		assert.Equal(t, keyFile, target.SharedKeyFile)
	}
	require.Len(t, step.Services, 2)
	i := slices.IndexFunc(step.Services, func(s Service) bool { return s.Service == certs.KubeAPIServer })
	assert.Contains(t, step.Services[i].Because, keyFile)

	p, err = buildPlan(t, sharingNode(), nil, certs.Etcd, certs.KubeAPIServer)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"etcd-server", "apiserver", "apiserver-etcd-client"}, targetNames(p.AllSteps()[0]))
	for _, s := range p.AllSteps()[0].Services {
		assert.Empty(t, s.Because, "both were asked for")
	}

	p, err = buildPlan(t, sharingNode(), func(r *Request) { r.Restart = RestartNever }, certs.Etcd)
	require.NoError(t, err)
	assert.Len(t, p.AllSteps()[0].Targets, 2)
	assert.Empty(t, p.AllSteps()[0].Restarts)
}

func TestOneThatCannotBeRenewedKeepsItsKeyFileAsItIs(t *testing.T) {
	for name, spoil := range map[string]func(n *inventory.Node, c *inventory.Certificate){
		"no issuer":                    func(_ *inventory.Node, c *inventory.Certificate) { c.Issuer.Kind = inventory.NoIssuer },
		"invalid":                      func(_ *inventory.Node, c *inventory.Certificate) { c.Status = certs.Invalid },
		"unreadable":                   func(_ *inventory.Node, c *inventory.Certificate) { c.FingerprintSHA256 = "" },
		"signed on request":            func(_ *inventory.Node, c *inventory.Certificate) { c.Issuer.Kind = inventory.KubernetesCSR },
		"supervised":                   func(n *inventory.Node, _ *inventory.Certificate) { n.Components[1].Runtime = inventory.Supervised },
		"started by something unknown": func(n *inventory.Node, _ *inventory.Certificate) { n.Components[1].Runtime = inventory.None },
		"a dated file of its own": func(_ *inventory.Node, c *inventory.Certificate) {
			c.Store = inventory.Store{Kind: inventory.Combined, Cert: "/current.pem"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := sharingNode()
			spoil(&n, &n.Certificates[1])
			p, err := buildPlan(t, n, nil, certs.Etcd)
			if err == nil {
				assert.Empty(t, p.AllSteps())
			}
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, err.Error(), keyFile)
			assert.Contains(t, err.Error(), "apiserver")
		})
	}
}

func TestAKeptKeyKeepsNothingTogether(t *testing.T) {
	n := sharingNode()
	n.Certificates[1].KeyUses = []inventory.KeyUse{{Kind: inventory.ServiceAccountKey, Service: certs.KubeAPIServer, Setting: "--service-account-key-file", Path: keyFile}}
	p, err := buildPlan(t, n, nil, certs.Etcd)
	require.NoError(t, err)
	assert.Equal(t, []string{"etcd-server"}, targetNames(p.AllSteps()[0]))
	assert.Contains(t, p.AllSteps()[0].Targets[0].KeptKey, "ServiceAccount tokens (--service-account-key-file of kube-apiserver)")

	_, err = buildPlan(t, n, func(r *Request) { r.Compromised = true }, certs.Etcd)
	require.ErrorContains(t, err, "ServiceAccount tokens")
}

func TestThePlanForeseesAnotherLengthOfLife(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Unix(1_800_000_000, 0).UTC()
	for name, test := range map[string]struct {
		change func(*Request, *inventory.Node, *inventory.Certificate)
		life   time.Duration // of the old one
		want   time.Duration // from now on
		reason string
	}{
		"as before": {nil, 3650 * day, 3650*day - certs.Backdate, ""},
		"bounded by its CA": {func(_ *Request, n *inventory.Node, _ *inventory.Certificate) {
			n.Authorities[0].NotAfter = now.Add(100 * day)
		}, 3650 * day, 100 * day, `its CA "ca" expires then`},
		"of its CA the one that lasts": {func(_ *Request, n *inventory.Node, _ *inventory.Certificate) {
			old := n.Authorities[0]
			old.NotAfter = now.Add(day)
			n.Authorities = slices.Insert(n.Authorities, 0, old)
		}, 3650 * day, 3650*day - certs.Backdate, ""},
		"kubeadm's configuration": {func(r *Request, _ *inventory.Node, _ *inventory.Certificate) {
			r.Validity = 365 * day
			r.ValidityFrom = "kubeadm has it so"
		}, 3650 * day, 365 * day, "kubeadm has it so"},
		"as asked":          {func(r *Request, _ *inventory.Node, _ *inventory.Certificate) { r.Validity = 90 * day }, 365 * day, 90 * day, "as requested"},
		"the same as asked": {func(r *Request, _ *inventory.Node, _ *inventory.Certificate) { r.Validity = 365 * day }, 365 * day, 365 * day, ""},
		"a signer that grants a year": {func(_ *Request, _ *inventory.Node, c *inventory.Certificate) { c.Issuer.Kind = inventory.KubernetesCSR },
			3650 * day, 365 * day, "the cluster's signer grants no more (--cluster-signing-duration)"},
		"a signer that grants more": {func(_ *Request, n *inventory.Node, c *inventory.Certificate) {
			c.Issuer.Kind = inventory.KubernetesCSR
			n.Components = append(n.Components, inventory.Component{Service: certs.KubeControllerManager, Args: []string{"--cluster-signing-duration=87600h"}})
		}, 3650 * day, 3650*day - certs.Backdate, ""},
	} {
		t.Run(name, func(t *testing.T) {
			n := sharingNode()
			n.Time = now
			n.Authorities = []inventory.Authority{{Name: "ca", Paths: []string{"/ca.crt"}, KeyOn: "/ca.key",
				Facts: certs.Facts{Subject: "CN=ca", NotBefore: now.Add(-day), NotAfter: now.Add(9000 * day)}}}
			c := &n.Certificates[2]
			c.LifeSeconds = int64(test.life.Seconds())
			req := Request{Services: []certs.Service{certs.KubeAPIServer}, Restart: RestartAlways}
			if test.change != nil {
				test.change(&req, &n, c)
			}
			p, err := BuildPlan([]inventory.Node{n}, req, nil)
			require.NoError(t, err)
			target := p.AllSteps()[0].targetOf(c.ID())
			require.NotNil(t, target)
			assert.Equal(t, now.Add(test.want), target.NewNotAfter)
			assert.Equal(t, test.reason, target.LifeReason)
		})
	}
}
