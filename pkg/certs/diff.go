package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
)

// Difference is an attribute in which a successor is not like its predecessor.
type Difference struct {
	Attribute string `json:"attribute"`
	Old       string `json:"old"`
	New       string `json:"new"`
	// Loss means that the successor lacks something that peers may rely on: a name, a usage,
	// strength. Additions and another issuer's name are no loss.
	Loss bool `json:"loss,omitempty"`
	// Lost are the members that a set (names, usages, extensions) has lost.
	Lost []string `json:"lost,omitempty"`
}

func (d Difference) String() string {
	text := fmt.Sprintf("%s: %q → %q", d.Attribute, d.Old, d.New)
	if len(d.Lost) > 0 {
		text += " (lost " + strings.Join(d.Lost, ", ") + ")"
	}
	return text
}

// LossesOf returns the differences that are losses.
func LossesOf(in []Difference) []Difference {
	var out []Difference
	for _, d := range in {
		if d.Loss {
			out = append(out, d)
		}
	}
	return out
}

// Compare compares everything that a renewal must keep: subject (with its encoding), names,
// usages, CA or not, other extensions and their criticality, the key's algorithm and size, the
// signature's algorithm, the issuer's name. Serial numbers, dates, the key itself and its
// identifiers always differ and are not compared.
func Compare(old, successor *x509.Certificate) []Difference {
	var out []Difference
	add := func(attribute, o, n string, loss bool) {
		if o != n {
			out = append(out, Difference{Attribute: attribute, Old: o, New: n, Loss: loss})
		}
	}
	addSet := func(attribute string, o, n []string) {
		slices.Sort(o)
		slices.Sort(n)
		lost := slices.DeleteFunc(slices.Clone(o), func(s string) bool { return slices.Contains(n, s) })
		before := len(out)
		add(attribute, strings.Join(o, ", "), strings.Join(n, ", "), len(lost) > 0)
		if len(out) > before && len(lost) > 0 {
			out[before].Lost = lost
		}
	}

	if !bytes.Equal(old.RawSubject, successor.RawSubject) {
		o := old.Subject.String()
		n := successor.Subject.String()
		if o == n { // another string type or order
			o += " (DER " + hex.EncodeToString(old.RawSubject) + ")"
			n += " (DER " + hex.EncodeToString(successor.RawSubject) + ")"
		}
		add("subject", o, n, !sameSubject(old.RawSubject, successor.RawSubject))
	}
	addSet("names", generalNames(old), generalNames(successor))
	addSet("usages", usageNames(old), usageNames(successor))
	add("certificate authority", yesNo(isCA(old)), yesNo(isCA(successor)), true)
	addSet("extensions", otherExtensions(old), otherExtensions(successor))
	o, n := criticalityChanges(old, successor)
	add("critical extensions", o, n, false)
	add("key", KeyAlgorithm(old.PublicKey), KeyAlgorithm(successor.PublicKey), isWeaker(old, successor))
	add("signature", old.SignatureAlgorithm.String(), successor.SignatureAlgorithm.String(), false)
	add("issuer", old.Issuer.String(), successor.Issuer.String(), false)
	return out
}

// sameSubject reports whether two subjects have the same attributes in the same order, with any
// string types of their values. These compare as equal (RFC 5280, 7.1), and a remote signer
// chooses them: the signers of Kubernetes use those of Go, so a kubelet's certificate that
// OpenSSL made could never be renewed otherwise.
func sameSubject(a, b []byte) bool {
	var x, y pkix.RDNSequence
	restX, errX := asn1.Unmarshal(a, &x)
	restY, errY := asn1.Unmarshal(b, &y)
	return errX == nil && errY == nil && len(restX)+len(restY) == 0 && reflect.DeepEqual(x, y)
}

func isCA(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// isWeaker reports whether the new key is of another algorithm or has fewer bits.
func isWeaker(old, successor *x509.Certificate) bool {
	return old.PublicKeyAlgorithm != successor.PublicKeyAlgorithm || keyBits(successor) < keyBits(old)
}

func keyBits(c *x509.Certificate) int {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen()
	case *ecdsa.PublicKey:
		return k.Params().BitSize
	default: // Ed25519 has one size
		return 0
	}
}

// otherExtensions returns the extensions that no other attribute of Compare covers, with their
// values: the same policy or distribution point must still exist.
func otherExtensions(c *x509.Certificate) []string {
	var out []string
	for _, e := range c.Extensions {
		known := slices.ContainsFunc([]asn1.ObjectIdentifier{oidSubjectAltName, oidKeyUsage, oidExtKeyUsage, oidBasic}, e.Id.Equal)
		if !known && !ownExtension(e.Id) {
			out = append(out, e.Id.String()+"="+hex.EncodeToString(e.Value))
		}
	}
	return out
}

// criticalityChanges names the extensions that both have and only one calls critical.
func criticalityChanges(old, successor *x509.Certificate) (o, n string) {
	var inOld, inNew []string
	for _, e := range old.Extensions {
		i := slices.IndexFunc(successor.Extensions, func(other pkix.Extension) bool { return e.Id.Equal(other.Id) })
		switch {
		case i < 0 || ownExtension(e.Id) || e.Critical == successor.Extensions[i].Critical:
		case e.Critical:
			inOld = append(inOld, e.Id.String())
		default:
			inNew = append(inNew, e.Id.String())
		}
	}
	return strings.Join(inOld, ", "), strings.Join(inNew, ", ")
}

// generalNames lists the subject alternative names, those included that crypto/x509
// does not parse (directory names, user principal names).
func generalNames(c *x509.Certificate) []string {
	var out []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return append(out, "undecodable:"+hex.EncodeToString(e.Value))
		}
		for _, name := range names {
			out = append(out, generalName(name))
		}
	}
	return out
}

// The tags of RFC 5280's GeneralName that have a customary notation.
const (
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
	tagIP    = 7
)

func generalName(name asn1.RawValue) string {
	switch {
	case name.Class != asn1.ClassContextSpecific:
	case name.Tag == tagEmail:
		return "email:" + string(name.Bytes)
	case name.Tag == tagDNS:
		return "DNS:" + string(name.Bytes)
	case name.Tag == tagURI:
		return "URI:" + string(name.Bytes)
	case name.Tag == tagIP && (len(name.Bytes) == net.IPv4len || len(name.Bytes) == net.IPv6len):
		return "IP:" + net.IP(name.Bytes).String()
	}
	return "other:" + hex.EncodeToString(name.FullBytes)
}
