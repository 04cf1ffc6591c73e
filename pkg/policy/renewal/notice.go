package renewal

import (
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// NoticeKind is what a notice tells.
type NoticeKind string

// The kinds of notices.
const (
	CertificateExpiring NoticeKind = "CertificateExpiring" // it is due under its rule
	CertificateExpired  NoticeKind = "CertificateExpired"
	AuthorityExpiring   NoticeKind = "AuthorityExpiring" // a CA is near its end, or past it
)

// Notice is something that people are told once.
type Notice struct {
	Kind        NoticeKind
	Node        string // where it was seen; a CA is told of once for all nodes
	Service     certs.Service
	Name        string
	Path        string
	User        string
	Subject     string
	Issuer      string
	Serial      string
	Fingerprint string
	NotBefore   time.Time
	NotAfter    time.Time
	// NotRenewable says that and why no rotation under its rule renews it; empty: one does.
	NotRenewable string
	Rule         string // that says how near is near; empty for a CA
}

// ID is the same for the same fact, whoever looks and however often.
func (n Notice) ID() string {
	if n.Kind == AuthorityExpiring {
		return string(n.Kind) + "/" + n.Fingerprint
	}
	return strings.Join([]string{string(n.Kind), n.Fingerprint, n.Node, string(n.Service), n.Name, n.Path, n.User}, "/")
}
