package renewal

import "strings"

// NoticeKind is the kind of a notice.
type NoticeKind string

// The kinds of notices.
const (
	CertificateExpiring NoticeKind = "CertificateExpiring" // it is due under its rule
	CertificateExpired  NoticeKind = "CertificateExpired"
	AuthorityExpiring   NoticeKind = "AuthorityExpiring" // a CA expires soon or has expired
)

// Notice is a fact that is published once.
type Notice struct {
	Kind NoticeKind
	Node string // a CA is published once for all its nodes
	// Certificate is the certificate or the CA. Its NotRenewable is why no rotation under its rule
	// renews it; empty: one does.
	Certificate
	Rule string // with the threshold; empty for a CA
}

// ID identifies the fact.
func (n Notice) ID() string {
	if n.Kind == AuthorityExpiring {
		return string(n.Kind) + "/" + n.Fingerprint
	}
	return strings.Join([]string{string(n.Kind), n.Fingerprint, n.Node, string(n.Service), n.Name, n.Path, n.User}, "/")
}
