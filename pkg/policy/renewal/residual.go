package renewal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Compromised is a certificate that is, or may be, in wrong hands.
type Compromised struct {
	Node string
	Certificate
}

// Residual says in plain sentences what old certificates still open once they are
// replaced, until when, and what stops it: Kubernetes cannot revoke them.
func Residual(old []Compromised) []string {
	type group struct {
		names []string
		until time.Time
	}
	groups := map[string]*group{}
	for _, c := range old {
		text := holderCan(c)
		g := groups[text]
		if g == nil {
			g = &group{}
			groups[text] = g
		}
		g.names = append(g.names, c.Name+" of "+c.Node)
		g.until = later(g.until, c.NotAfter)
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

// holderCan says what the holder of a certificate's key can do. UNTIL stands for when it ends.
func holderCan(c Compromised) string {
	ca := certs.CommonName(c.Issuer)
	newCA := fmt.Sprintf("only a new CA in place of %q stops it sooner", ca)
	switch {
	case c.Service == certs.Etcd && c.Name == "etcd-server" || c.Name == "etcd-peer":
		return "whoever has the old key can pose as this etcd member UNTIL, and, where the certificate is good for clients too, read and write everything in etcd; " + newCA
	case c.Service == certs.Etcd || c.Name == "apiserver-etcd-client":
		return "whoever has the old key and reaches etcd can read and write everything in it, Secrets too, UNTIL; " + newCA + ", and a firewall in front of etcd's port helps until then"
	case c.Name == "front-proxy-client":
		return "whoever has the old key can act as any user at the API server UNTIL; " + newCA
	case c.Service == certs.Kubelet && c.SelfManaged && !strings.Contains(c.Name, "server"):
		return "whoever has the old key can act as this node UNTIL, and, where the cluster approves the renewals of nodes by itself, renew it without end; " +
			"removing the binding that approves them stops the renewing, removing the Node and its name from the cluster or a new CA in place of \"" + ca + "\" stops all of it"
	case c.Service == certs.Kubelet && strings.Contains(c.Name, "server"), c.Name == "apiserver", c.Name == "apiserver-sni", serving(c):
		if selfMade(ca) {
			return "whoever has the old key can pose as this endpoint towards clients that do not verify it, as most do with a certificate that the component made itself, UNTIL"
		}
		return "whoever has the old key and can redirect connections can pose as this endpoint UNTIL; " + newCA
	case strings.Contains(c.Subject, "O=system:masters"):
		return "whoever has the old key is in system:masters and may do everything UNTIL, whatever RBAC says; " + newCA
	default:
		return fmt.Sprintf("whoever has the old key can act as %s at the API server UNTIL; taking that user's and its groups' rights away in RBAC stops it, as long as the "+
			"component does not need them, and else %s", user(c.Subject), newCA)
	}
}

// serving tells the certificates of the controllers' own endpoints from their kubeconfigs.
func serving(c Compromised) bool {
	return c.User == "" && (c.Service == certs.KubeControllerManager || c.Service == certs.KubeScheduler)
}

// selfMade recognises the throwaway CA of a certificate that a component made itself.
func selfMade(ca string) bool {
	_, digits, found := strings.Cut(ca, "-ca@")
	return found && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// user is who a client certificate is for the API server.
func user(subject string) string {
	text := "user " + quoted(certs.CommonName(subject))
	for part := range strings.FieldsFuncSeq(subject, func(r rune) bool { return r == ',' || r == '+' }) {
		if group, ok := strings.CutPrefix(part, "O="); ok {
			text += " (group " + group + ")"
		}
	}
	return text
}
