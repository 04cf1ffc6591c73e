package plugin

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// identity is the client certificate of the operator.
type identity struct {
	certs.Facts
	kubeconfig string // the file, or "your kubeconfig"
}

// clientIdentity is the client certificate of a connection; nil where it uses none (a token,
// an exec plugin), or where it cannot be read, which is an error when connecting.
func clientIdentity(config *rest.Config, kubeconfig string) *identity {
	facts, err := kube.OwnCertificate(config)
	if err != nil || facts == nil {
		return nil
	}
	return &identity{Facts: *facts, kubeconfig: kubeconfig}
}

// findOrigin finds the kubeconfig on a node of which the identity is a copy.
func (i *identity) findOrigin(nodes []inventory.Node) (node string, found *inventory.Certificate) {
	for n := range nodes {
		for c := range nodes[n].Certificates {
			if nodes[n].Certificates[c].FingerprintSHA256 == i.FingerprintSHA256 {
				return nodes[n].Name, &nodes[n].Certificates[c]
			}
		}
	}
	return "", nil
}

// expiresSoon warns that the operator's own certificate expires soon, and says how to replace
// it; empty where it does not.
func (i *identity) expiresSoon(nodes []inventory.Node, now time.Time, within time.Duration) string {
	if i == nil {
		return ""
	}
	if status, _ := i.ValidityStatus(now, within); status == certs.OK {
		return ""
	}
	how := "request a new one from its issuer"
	if node, c := i.findOrigin(nodes); c != nil {
		how = fmt.Sprintf("it is the one of %s on %s: rotate admin, then copy the file from there", c.Store.Cert, node)
	} else if node, path := adminConf(nodes); node != "" {
		how = fmt.Sprintf("%s on %s holds an administrator's certificate, which --service admin renews", path, node)
	}
	return fmt.Sprintf("%s: your own client certificate (%s) %s; %s.", i.kubeconfig, printers.CleanText(certs.CommonName(i.Subject)), printers.ExpiryInWords(i.NotAfter, now), how)
}

// beingRenewed says that the plan renews the certificate of which the operator has a copy:
// the copy remains valid, but is an old one then.
func (i *identity) beingRenewed(p plan.Plan) string {
	if i == nil {
		return ""
	}
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			if t.OldFingerprint == i.FingerprintSHA256 {
				return fmt.Sprintf("%s holds the certificate of %s on %s, which is renewed: the copy remains valid until %s; copy the new file from there.",
					i.kubeconfig, t.Path, s.Node, printers.UTCMinute(i.NotAfter))
			}
		}
	}
	return ""
}

// adminConf is the first kubeconfig of an administrator on any node, best that of
// admin itself.
func adminConf(nodes []inventory.Node) (node, path string) {
	for _, n := range nodes {
		for _, c := range n.Certificates {
			if c.Service == certs.Admin && (path == "" || strings.HasSuffix(c.Store.Cert, "/admin.conf") && !strings.HasSuffix(path, "/admin.conf")) {
				node = n.Name
				path = c.Store.Cert
			}
		}
	}
	return node, path
}
