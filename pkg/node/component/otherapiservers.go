package component

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// OtherAPIServers requests /readyz of the API servers of other nodes, all at the same
// time, with a client certificate of this node. The server must have a certificate for
// its own address, for the address that this node's components use, or for one of the
// names by which every API server is known in a cluster.
func OtherAPIServers(ctx context.Context, root hostfs.Root, node inventory.Node, peers []inventory.Peer) []inventory.PeerHealth {
	out := make([]inventory.PeerHealth, len(peers))
	var all sync.WaitGroup
	for i, p := range peers {
		all.Go(func() {
			out[i] = inventory.PeerHealth{Node: p.Node, Probe: otherAPIServer(ctx, root, node, p)}
		})
	}
	all.Wait()
	return out
}

func otherAPIServer(ctx context.Context, root hostfs.Root, node inventory.Node, peer inventory.Peer) inventory.Probe {
	url := "https://" + peer.Address + "/readyz"
	last := inventory.Probe{Address: url, Unasked: true, Message: "no client certificate for the API server on " + node.Name + " can be used"}
	for _, c := range apiClients(node, url) {
		if c.Status == certs.Expired || c.Status == certs.Invalid || c.Status == certs.NotYetValid {
			continue
		}
		conf, err := peerTLS(root, c, peer)
		if err != nil {
			last.Message = fmt.Sprintf("%s: %v", c.Name, err)
			continue
		}
		status, body, err := sendRequest(ctx, conf, http.MethodGet, url, nil, nil)
		switch {
		case errors.Is(err, errAlert):
			last.Message = err.Error()
			continue // another client certificate may be accepted
		case err != nil:
			return inventory.Probe{Address: url, Message: err.Error()}
		case status == http.StatusUnauthorized, status == http.StatusForbidden:
			last.Message = fmt.Sprintf("%s is not accepted: status %d: %s", c.Name, status, firstLines(body))
			continue
		case status != http.StatusOK:
			return inventory.Probe{Address: url, Message: fmt.Sprintf("status %d: %s", status, firstLines(body))}
		}
		return inventory.Probe{Address: url, Healthy: true}
	}
	return last
}

// peerTLS presents a client certificate and verifies the server by the authorities that
// this certificate's user trusts.
func peerTLS(root hostfs.Root, c inventory.Certificate, peer inventory.Peer) (*tls.Config, error) {
	content, err := store.ReadStore(root, c.Store)
	if err != nil {
		return nil, err
	}
	if content.KeyErr != nil {
		return nil, content.KeyErr
	}
	p := verifier{target: *c.Client, pair: tls.Certificate{PrivateKey: content.Key.Signer, Leaf: content.LeafCert()}}
	for _, link := range content.Chain {
		p.pair.Certificate = append(p.pair.Certificate, link.Raw)
	}
	if err := p.prepareTLS(root); err != nil {
		return nil, err
	}
	if p.conf.InsecureSkipVerify {
		return p.conf, nil // as in the kubeconfig
	}
	roots := p.conf.RootCAs
	names := []string{c.Client.ServerName, hostOnly(peer.Address), hostOnly(c.Client.Address), "kubernetes.default.svc", "kubernetes"}
	p.conf.ServerName = ""
	p.conf.InsecureSkipVerify = true //nolint:gosec // verified below, by any of several names
	p.conf.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verifyChain(state, roots); err != nil {
			return err
		}
		leaf := state.PeerCertificates[0]
		if !slices.ContainsFunc(names, func(name string) bool { return name != "" && leaf.VerifyHostname(name) == nil }) {
			return leaf.VerifyHostname(hostOnly(peer.Address))
		}
		return nil
	}
	return p.conf, nil
}

func hostOnly(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
