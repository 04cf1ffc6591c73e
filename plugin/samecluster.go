package plugin

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// compareCluster returns an error where a host is not of the cluster whose API server has these CAs:
// nodes of different clusters may have the same names. A host with an API server has one of these
// CAs. Every other node has one of these, or one of the hosts with an API server. Hosts of an
// external etcd know no CA of an API server.
func compareCluster(rootCA []byte, hosts []inventory.Node) error {
	chain, err := certs.ParsePEM(rootCA)
	if err != nil {
		return fmt.Errorf("read the CA of the kubeconfig's cluster: %w", err)
	}
	var known []string
	for _, ca := range chain {
		known = append(known, certs.AuthorityID(ca))
	}
	compared := 0
	for _, service := range []certs.Service{certs.KubeAPIServer, certs.Kubelet} {
		var more []string
		for i := range hosts {
			n := &hosts[i]
			if n.ComponentOf(service) == nil {
				continue
			}
			if compared++; !slices.ContainsFunc(n.Authorities, func(a inventory.Authority) bool { return slices.Contains(known, a.ID) }) {
				return hint.AddTo(fmt.Errorf("%w: host %q does not have its CA, %q", errOtherCluster, n.Name, chain[0].Subject),
					"--kubeconfig and --context choose another one")
			}
			for _, a := range n.Authorities {
				more = append(more, a.ID)
			}
		}
		known = append(known, more...)
	}
	if compared == 0 {
		return hint.AddTo(errors.New("it is not known whether the hosts are of the kubeconfig's cluster: none has an API server or a kubelet"),
			"name the control-plane nodes, too")
	}
	return nil
}
