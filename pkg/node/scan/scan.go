// Package scan takes a node's inventory: it reads the certificates that package layout finds,
// determines their status, their issuer and the place of the issuer's key, and reads the
// certificates that the node's TLS endpoints serve.
//
// A scan changes nothing, starts no program and never fails as a whole: a fault of one
// certificate is its status, and files that could not be inspected are listed.
package scan

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// Options holds the inputs of a scan beside the node's files.
type Options struct {
	// NodeName is the node's name in the API; empty: it is discovered, see layout.Options.
	NodeName string
	// PodsHidden: see layout.Options.
	PodsHidden bool
	// Now is the clock; nil: the real one.
	Now func() time.Time
	// Within is the time before its expiry from which a certificate counts as expiring; 0: the
	// default.
	Within time.Duration
	// Homes includes copies of client certificates in home directories.
	Homes bool
	// History returns the rotations of the node's journals, newest first, and the highest
	// fencing token. Nil: none. An error is listed as not inspected.
	History func() ([]inventory.NodeRotation, int64, error)
	// Handshake returns the certificate of a TLS endpoint; nil: component.ServedCertificate.
	Handshake func(ctx context.Context, addr, serverName string) (*x509.Certificate, error)
	// HandshakeInMemory returns a certificate that an endpoint holds only in memory; nil:
	// component.ServedCertificate, or none if Handshake is set.
	HandshakeInMemory func(ctx context.Context, addr, serverName string) (*x509.Certificate, error)
}

// entry is a certificate in the course of the scan.
type entry struct {
	inventory.Certificate
	chain  []*x509.Certificate // leaf first; empty: could not be read
	keyErr error
}

func (e *entry) leafCert() *x509.Certificate { return e.chain[0] }

// TakeInventory takes the inventory of the node whose root directory is root.
func TakeInventory(ctx context.Context, root hostfs.Root, opts Options) inventory.Node {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Handshake == nil {
		opts.Handshake = component.ServedCertificate
		if opts.HandshakeInMemory == nil {
			opts.HandshakeInMemory = component.ServedCertificate
		}
	}
	now := opts.Now()
	found := layout.DiscoverNode(root, layout.Options{NodeName: opts.NodeName, PodsHidden: opts.PodsHidden})
	node := &found.Node
	node.Time = now.UTC()
	node.ProgramVersion = version.Version

	entries := withoutStrays(root, &found, readStores(root, &found))
	known := loadAuthorities(root, &found)
	loose := readDirectories(root, &found)
	known.addCAs(loose.authorities...)
	node.NotInspected = append(node.NotInspected, loose.unreadable...)
	readUnclaimed(root, &found)
	entries = append(entries, adoptLeaves(root, node, &found, loose.leaves, known)...)

	memory := askInMemory(ctx, found.InMemory, opts)
	shown := askAll(ctx, entries, opts.Handshake)
	node.InMemory = <-memory
	known.findIssuers(entries, now)
	for i := range entries {
		entries[i].setStatus(known, shown[i], now, opts.Within)
	}
	known.findKeys(root)
	node.NotInspected = append(node.NotInspected, findKeyUses(root, &found, entries, known)...)
	proxyTrust(entries, known)
	for i := range entries {
		entries[i].findIssuer(known)
	}
	leaveSharedFiles(root, entries)
	leaveImmutable(root, entries)
	addOtherUsers(root, &found, entries)
	node.Certificates = node.Certificates[:0]
	for i := range entries {
		entries[i].Store.Directories = store.DirectoriesOf(root, entries[i].Store)
		entries[i].KeyFile = entries[i].realKeyFile(root)
		node.Certificates = append(node.Certificates, entries[i].Certificate)
	}
	slices.SortStableFunc(node.Certificates, func(a, b inventory.Certificate) int {
		return slices.Index(certs.Services(), a.Service) - slices.Index(certs.Services(), b.Service)
	})
	var old []inventory.UnusedCertificate
	node.Authorities, old = known.listCAs(entries, now, opts.Within)
	node.Unused = append(node.Unused, old...)
	otherPrograms(root, &found, entries)
	sortUnused(node)
	node.Findings = append(findDrift(root, node, entries), inMemoryFindings(node.InMemory)...)
	if opts.Homes {
		var slow []inventory.NotInspected
		node.Copies, slow = findCopies(ctx, root)
		node.NotInspected = append(node.NotInspected, slow...)
	}
	if opts.History != nil {
		var err error
		if node.Rotations, node.Token, err = opts.History(); err != nil {
			node.NotInspected = append(node.NotInspected, inventory.NotInspected{Reason: inventory.UnreadJournals + err.Error()})
		}
		node.NotInspected = append(node.NotInspected, findUnverified(node.Rotations)...)
	}
	return *node
}

// findUnverified reports certificates of an interrupted rotation that are not verified yet.
func findUnverified(rotations []inventory.NodeRotation) (out []inventory.NotInspected) {
	for _, r := range rotations {
		if !r.Unverified {
			continue
		}
		what := "the old certificates of rotation %s were restored at boot"
		if r.State == inventory.Committed {
			what = "the new certificates of rotation %s were kept, since the old ones have expired"
		}
		out = append(out, inventory.NotInspected{Reason: fmt.Sprintf(what+
			" and are not verified yet; the next rotation on this node verifies them first, "+
			"and so does \"rotate-certs-node recover\" there", r.ID)})
	}
	return out
}

// readStores reads the stores that discovery found.
func readStores(root hostfs.Root, found *layout.Layout) []entry {
	out := make([]entry, len(found.Node.Certificates))
	for i, c := range found.Node.Certificates {
		out[i].Certificate = c
		content, err := store.ReadStore(root, c.Store)
		if err != nil {
			out[i].Status = certs.Invalid
			out[i].Reason = err.Error()
			continue
		}
		out[i].Facts = certs.DescribeCertificate(content.LeafCert())
		out[i].chain = content.Chain
		out[i].keyErr = content.KeyErr
		if slices.Contains(found.Split, c.ID()) {
			out[i].keyErr = nil
		}
	}
	return out
}

// componentUsers holds the user names of components at the API server.
var componentUsers = []string{"system:kube-scheduler", "system:kube-controller-manager", "system:kube-proxy", "system:node:"}

// withoutStrays drops kubeconfigs that belong to admin by their place, but to a component by
// their user: no component on this node uses them, and they must not be renewed as if no
// restart were needed.
func withoutStrays(root hostfs.Root, found *layout.Layout, entries []entry) []entry {
	node := &found.Node
	return slices.DeleteFunc(entries, func(e entry) bool {
		if e.Service != certs.Admin || len(e.chain) == 0 || len(found.OtherUsers(root, e.Store)) > 0 {
			return false
		}
		user := e.leafCert().Subject.CommonName
		for _, name := range componentUsers {
			if !strings.HasPrefix(user, name) {
				continue
			}
			node.NotInspected = append(node.NotInspected, inventory.NotInspected{
				Path: e.Store.Cert, Reason: fmt.Sprintf("holds a certificate of %q, but no component found on this node uses it", user)})
			return true
		}
		return false
	})
}
