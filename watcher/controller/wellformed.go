package controller

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// Refusal is why a report, or a part of it, is ignored.
type Refusal struct{ Reason, Message string }

const (
	reasonMalformed = "Malformed"
	reasonNoNode    = "NoNode"
)

// The CustomResourceDefinition demands the same. It is demanded here once more, since a
// definition of an earlier version may be installed, and objects are kept as they were when
// a definition changes. One malformed entry would make an event that NATS refuses, and with
// it the rotation of everything else that is due.
const (
	maxEntryText = 512
	maxPath      = 4096
)

var (
	fingerprintForm = regexp.MustCompile(`\A[0-9a-f]{64}\z`)
	serialForm      = regexp.MustCompile(`\A-?[0-9a-f]{1,512}\z`)
)

// malformedCertificate returns why an entry is malformed; empty: it is not.
func malformedCertificate(c *v1alpha1.ReportedCertificate) string {
	switch {
	case !slices.Contains(certs.Services(), c.Service):
		return "service is not one that exists"
	case len(c.Name) > maxEntryText, len(c.User) > maxEntryText, len(c.Path) > maxPath, len(c.Subject) > maxEntryText, len(c.Issuer) > maxEntryText,
		len(c.KeptKey) > maxEntryText, c.NotRenewable != nil && len(c.NotRenewable.Reason) > maxEntryText:
		return "a text is too long"
	case c.NotRenewable != nil && !slices.Contains([]string{"", plan.RestartIfNeeded.APIName(), plan.RestartNever.APIName()}, c.NotRenewable.MaxRestart):
		return "maxRestart is not a restart policy"
	case c.NotRenewable != nil && !isAuthorityID(c.NotRenewable.Authority):
		return "authority is not 64 lower-case hexadecimal digits"
	case c.FingerprintSHA256 == "":
		return "" // it cannot be parsed: nothing is known of it, and nothing is started for it
	}
	return malformedFacts(c.FingerprintSHA256, c.SerialNumber, c.NotBefore.Time, c.NotAfter.Time)
}

func malformedAuthority(a *v1alpha1.ReportedAuthority) string {
	if len(a.Name) > maxEntryText || len(a.Path) > maxPath || len(a.Subject) > maxEntryText {
		return "a text is too long"
	}
	if !isAuthorityID(a.ID) {
		return "id is not 64 lower-case hexadecimal digits"
	}
	return malformedFacts(a.FingerprintSHA256, a.SerialNumber, a.NotBefore.Time, a.NotAfter.Time)
}

// isAuthorityID reports whether a text is the id of a CA, or empty.
func isAuthorityID(id string) bool { return id == "" || fingerprintForm.MatchString(id) }

func malformedFacts(fingerprint, serial string, notBefore, notAfter time.Time) string {
	switch {
	case !fingerprintForm.MatchString(fingerprint):
		return "fingerprintSHA256 is not 64 lower-case hexadecimal digits"
	case !serialForm.MatchString(serial):
		return "serialNumber is not hexadecimal"
	case notAfter.IsZero(), notAfter.Before(notBefore):
		return "notAfter is missing, or before notBefore"
	}
	return ""
}

// maxNamed is how many entries a condition names.
const maxNamed = 5

// wellFormed returns the well-formed entries of a report, and a text about the others.
func wellFormed(r *v1alpha1.NodeCertificateReport) ([]renewal.Certificate, []renewal.Authority, string) {
	var left []string
	certificates := make([]renewal.Certificate, 0, len(r.Certificates))
	for i := range r.Certificates {
		if why := malformedCertificate(&r.Certificates[i]); why != "" {
			left = append(left, fmt.Sprintf("certificate %d: %s", i+1, why))
			continue
		}
		certificates = append(certificates, certificateOf(&r.Certificates[i]))
	}
	authorities := make([]renewal.Authority, 0, len(r.Authorities))
	for i := range r.Authorities {
		if why := malformedAuthority(&r.Authorities[i]); why != "" {
			left = append(left, fmt.Sprintf("authority %d: %s", i+1, why))
			continue
		}
		authorities = append(authorities, renewal.AuthorityOf(reported.AuthorityOf(r.Authorities[i])))
	}
	if len(left) == 0 {
		return certificates, authorities, ""
	}
	text := fmt.Sprintf("%d entries are left out: %s", len(left), strings.Join(left[:min(len(left), maxNamed)], "; "))
	if len(left) > maxNamed {
		text += " …"
	}
	return certificates, authorities, text
}

func certificateOf(c *v1alpha1.ReportedCertificate) renewal.Certificate {
	out := renewal.CertificateOf(reported.CertificateOf(*c))
	out.KeptKey = c.KeptKey
	if o := c.NotRenewable; o != nil {
		out.NotRenewable = o.Reason
		out.Authority = o.Authority
		out.MaxRestart, _ = plan.ParseRestartPolicy(o.MaxRestart) // well-formed, or none
	}
	return out
}
