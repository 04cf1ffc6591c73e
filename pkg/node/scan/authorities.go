package scan

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// authority is a CA certificate that lies on this node, in one file or several.
type authority struct {
	cert     *x509.Certificate
	paths    []string
	files    []string // the paths that components name
	services []certs.Service
	flagKeys []string // keys that flags name beside it
	key      string   // path of the key that fits it; empty: not on this node
	keyCert  string   // the path of the certificate beside which the key was found
	noKey    string   // why there is no key, if known
}

// isNamed reports whether a component names it; otherwise it was found in a directory.
func (a *authority) isNamed() bool { return len(a.files) > 0 }

func (a *authority) displayName() string {
	if a.cert.Subject.CommonName != "" {
		return a.cert.Subject.CommonName
	}
	return a.cert.Subject.String()
}

// authorities holds the CAs known on a node, and the certificates that they signed.
type authorities struct {
	all     []*authority
	issuers map[*entry]*authority
	// embedded are the CAs in kubeconfigs, by which servers are verified.
	embedded []*x509.Certificate
}

// loadAuthorities reads the CA files that components name.
func loadAuthorities(root hostfs.Root, found *layout.Layout) *authorities {
	known := &authorities{issuers: map[*entry]*authority{}}
	for _, f := range found.Authorities {
		data, err := root.ReadFile(f.Path)
		var chain []*x509.Certificate
		if err == nil {
			chain, err = certs.ParsePEM(data)
		}
		if err != nil {
			found.Node.NotInspected = append(found.Node.NotInspected, inventory.NotInspected{
				Service: f.Services[0], Path: f.Path, Reason: fmt.Sprintf("read CA certificate: %v", err)})
			continue
		}
		for _, c := range chain {
			a := &authority{cert: c, paths: []string{f.Path}, files: []string{f.Path}, services: f.Services}
			if f.Key != "" {
				a.flagKeys = []string{f.Key}
			}
			known.addCAs(a)
		}
	}
	for _, data := range found.EmbeddedCAs {
		if chain, err := certs.ParsePEM(data); err == nil {
			known.embedded = append(known.embedded, chain...)
		}
	}
	return known
}

// addCAs adds CAs; a known one gets further paths and keys.
func (k *authorities) addCAs(more ...*authority) {
	for _, m := range more {
		i := slices.IndexFunc(k.all, func(a *authority) bool { return a.cert.Equal(m.cert) })
		if i < 0 {
			k.all = append(k.all, m)
			continue
		}
		a := k.all[i]
		a.files = appendNew(a.files, m.files...)
		a.paths = appendNew(a.paths, m.paths...)
		a.flagKeys = appendNew(a.flagKeys, m.flagKeys...)
		a.services = appendNew(a.services, m.services...)
	}
}

// findIssuers determines once which CA signed which certificate, since the verification of
// signatures takes time.
func (k *authorities) findIssuers(entries []entry, now time.Time) {
	for i := range entries {
		e := &entries[i]
		if len(e.chain) == 0 {
			continue
		}
		var signed []*authority
		copied := false // NotBefore, from its CA
		for _, a := range k.all {
			if certs.IsIssuedBy(e.leafCert(), a.cert) && !a.cert.Equal(e.leafCert()) {
				signed = append(signed, a)
				copied = copied || a.cert.NotBefore.Equal(e.leafCert().NotBefore)
			}
		}
		e.LifeSeconds = int64(certs.LifeOf(e.leafCert().NotBefore, e.leafCert().NotAfter, now, copied) / time.Second)
		if len(signed) > 0 {
			k.issuers[e] = preferredCA(signed, now)
		}
	}
}

// issuerOf returns the known CA that signed a certificate, or nil.
func (k *authorities) issuerOf(e *entry) *authority { return k.issuers[e] }

// bundleWith returns the certificate in a component's trust bundle by which peers verify a
// self-made certificate: itself, or the CA that was made for it. Nil: there is none.
func (k *authorities) bundleWith(e *entry) *authority {
	for _, a := range k.all {
		if a.isNamed() && (a.cert.Equal(e.leafCert()) || certs.IsIssuedBy(e.leafCert(), a.cert)) {
			return a
		}
	}
	return nil
}

// namesakeOf returns a CA with the name of a certificate's issuer, or nil. It considers only
// CAs that components name: others may belong to another cluster, or be outdated. There is none
// for a serving certificate of a CA in kubeconfigs: that of clients may have the same name.
func (k *authorities) namesakeOf(e *entry) *authority {
	issued := func(ca *x509.Certificate) bool { return certs.IsIssuedBy(e.leafCert(), ca) }
	if len(e.Served) > 0 && slices.ContainsFunc(k.embedded, issued) {
		return nil
	}
	for _, a := range k.all {
		if a.isNamed() && string(a.cert.RawSubject) == string(e.leafCert().RawIssuer) {
			return a
		}
	}
	return nil
}

// replacementOf returns the CA of the same name in the same bundle whose key is on this node,
// for a CA whose key is not; nil: there is none.
func (k *authorities) replacementOf(ca *authority) *authority {
	if ca == nil || ca.key != "" {
		return nil
	}
	for _, a := range k.all {
		together := slices.ContainsFunc(a.paths, func(p string) bool { return slices.Contains(ca.paths, p) })
		if a != ca && a.key != "" && together && string(a.cert.RawSubject) == string(ca.cert.RawSubject) {
			return a
		}
	}
	return nil
}

// findKeys searches for the key of each CA: in the file that a flag names, and beside its
// certificate.
func (k *authorities) findKeys(root hostfs.Root) {
	dirs := &keyDirectories{root: root, files: map[string][]string{}, keys: map[string]certs.Key{}, errs: map[string]error{}}
	for _, a := range k.all {
		for _, p := range a.flagKeys {
			if dirs.fitsCert(p, a.cert) {
				a.key = p
				a.keyCert = a.paths[0]
				break
			}
		}
		for i := 0; i < len(a.paths) && a.key == ""; i++ {
			a.key = dirs.keyBeside(a.paths[i], a.cert)
			a.keyCert = a.paths[i]
		}
		if a.key == "" {
			a.noKey = dirs.keyProblem(a)
		}
	}
}

// listCAs returns the relevant CAs: those that components name, those that signed a listed
// certificate, and those whose key is on this node. An expired one, or one that expires soon,
// which is none of the first two is listed as a file that no component uses.
func (k *authorities) listCAs(entries []entry, now time.Time, within time.Duration) (out []inventory.Authority, unused []inventory.UnusedCertificate) {
	used := map[*authority]bool{}
	for i := range entries {
		if a := k.issuers[&entries[i]]; a != nil {
			used[a] = true
		}
	}
	for _, a := range k.all {
		if !a.isNamed() && !used[a] && a.key == "" {
			continue
		}
		listed := inventory.Authority{Facts: certs.DescribeCertificate(a.cert), ID: certs.AuthorityID(a.cert), Name: a.displayName(), Paths: a.paths, KeyOn: a.key}
		listed.Status, listed.Reason = listed.ValidityStatus(now, within)
		problem := certs.CanSign(a.cert, now)
		switch by := k.renewalOf(a, now); {
		case by != nil:
			listed.Renewed = true
			listed.Status = certs.OK
			listed.Reason = renewedReason(a, by)
		case !a.isNamed() && !used[a] && listed.Status != certs.OK:
			unused = append(unused, inventory.UnusedCertificate{Facts: listed.Facts, Kind: inventory.UnusedFile, Path: a.paths[0],
				Reason: "an old CA: no component names it, and it signed none of the certificates here"})
			continue
		case problem != nil && listed.Status != certs.Expired && listed.Status != certs.NotYetValid && used[a]:
			first, _, _ := strings.Cut(problem.Error(), "\n")
			listed.Status = certs.Invalid
			listed.Reason = first
		}
		out = append(out, listed)
	}
	return out, unused
}

func appendNew[T comparable](to []T, more ...T) []T {
	for _, m := range more {
		if !slices.Contains(to, m) {
			to = append(to, m)
		}
	}
	return to
}
