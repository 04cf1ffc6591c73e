package renewal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Compromised is a certificate whose key is compromised.
type Compromised struct {
	Node string
	Certificate
}

// ResidualAccess lists what replaced certificates still give access to, until when, and how to stop
// that: Kubernetes cannot revoke them.
func ResidualAccess(old []Compromised) []string {
	type group struct {
		names []string
		until time.Time
	}
	groups := map[string]*group{}
	for _, c := range old {
		text := describeAccess(c)
		g := groups[text]
		if g == nil {
			g = &group{}
			groups[text] = g
		}
		g.names = append(g.names, c.Name+" of "+c.Node)
		g.until = laterOf(g.until, c.NotAfter)
	}
	type line struct {
		until time.Time
		text  string
	}
	var lines []line
	for text, g := range groups {
		slices.Sort(g.names)
		names := strings.Join(slices.Compact(g.names), ", ")
		if more := len(g.names) - 6; more > 1 {
			names = strings.Join(g.names[:6], ", ") + fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, line{g.until, names + ": " + strings.ReplaceAll(text, "UNTIL", "until "+g.until.UTC().Format(time.RFC3339))})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(b.until.Compare(a.until), strings.Compare(a.text, b.text)) })
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}

// describeAccess says what the holder of the key of a certificate can do. UNTIL stands for its
// expiry.
func describeAccess(c Compromised) string {
	ca := certs.CommonName(c.Issuer)
	newCA := fmt.Sprintf("only a new CA in place of %q stops it sooner", ca)
	switch {
	case c.Service == certs.Etcd && c.Name == "etcd-server" || c.Name == "etcd-peer":
		return "a holder of the old key can pose as this etcd member UNTIL, and, if the certificate is also valid for clients, read and write everything in etcd; " + newCA
	case c.Service == certs.Etcd || c.Name == "apiserver-etcd-client":
		return "a holder of the old key that can connect to etcd can read and write everything in it, Secrets too, UNTIL; " + newCA + ", and a firewall for the etcd port helps until then"
	case c.Name == "front-proxy-client":
		return "a holder of the old key can act as any user at the API server UNTIL; " + newCA
	case c.Service == certs.Kubelet && c.SelfManaged && !strings.Contains(c.Name, "server"):
		return "a holder of the old key can act as this node UNTIL, and, if the cluster approves the renewals of nodes automatically, renew it indefinitely; " +
			"deleting the binding that approves them stops the renewals; deleting the Node and its name from the cluster, or a new CA in place of \"" + ca + "\" stops all of it"
	case c.Service == certs.Kubelet && strings.Contains(c.Name, "server"), c.Name == "apiserver", c.Name == "apiserver-sni", servesOwnEndpoint(c):
		if selfMade(ca) {
			return "a holder of the old key can pose as this endpoint towards clients that do not verify it, as most do with a certificate that the component generated, UNTIL"
		}
		return "a holder of the old key that can redirect connections can pose as this endpoint UNTIL; " + newCA
	case strings.Contains(c.Subject, "O=system:masters"):
		return "a holder of the old key is in system:masters and may do everything UNTIL, regardless of RBAC; " + newCA
	default:
		return fmt.Sprintf("a holder of the old key can act as %s at the API server UNTIL; removing the rights of that user and its groups in RBAC stops it, if the "+
			"component does not need them; otherwise %s", describeUser(c.Subject), newCA)
	}
}

// servesOwnEndpoint is true for the certificates of the endpoints of the controllers, as
// opposed to their kubeconfigs.
func servesOwnEndpoint(c Compromised) bool {
	return c.User == "" && (c.Service == certs.KubeControllerManager || c.Service == certs.KubeScheduler)
}

// selfMade recognises the ephemeral CA of a certificate that a component generated.
func selfMade(ca string) bool {
	_, digits, found := strings.Cut(ca, "-ca@")
	return found && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// describeUser is the user of a client certificate for the API server.
func describeUser(subject string) string {
	text := "user " + quoteName(certs.CommonName(subject))
	for part := range strings.FieldsFuncSeq(subject, func(r rune) bool { return r == ',' || r == '+' }) {
		if group, ok := strings.CutPrefix(part, "O="); ok {
			text += " (group " + group + ")"
		}
	}
	return text
}
