package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// LeftOut is a certificate in scope that the plan does not renew, with the reason.
type LeftOut struct {
	Node     string        `json:"node"`
	Service  certs.Service `json:"service"`
	Name     string        `json:"name"`
	Path     string        `json:"path"`
	User     string        `json:"user,omitempty"`    // of a kubeconfig
	NotAfter time.Time     `json:"notAfter,omitzero"` // zero: it cannot be read
	Reason   string        `json:"reason"`
}

// String is the certificate and the reason in one line.
func (l LeftOut) String() string { return l.Node + ": " + l.reasonText() }

func (l LeftOut) reasonText() string { return fmt.Sprintf("%s %q: %s", l.Name, l.Path, l.Reason) }

func leaveOut(n *inventory.Node, s certs.Service, c inventory.Certificate, reason string) LeftOut {
	return LeftOut{Node: n.Name, Service: s, Name: c.Name, Path: c.Store.Cert, User: c.Store.User, NotAfter: c.NotAfter, Reason: reason}
}

// Obstacle is the reason why a certificate cannot be renewed on its node. The zero value: it
// can be.
type Obstacle struct {
	Reason string
	// MaxRestart is the restart policy with which it can be renewed all the same:
	// RestartIfNeeded stands for RestartNever too. Empty: there is none.
	MaxRestart RestartPolicy
}

// BlocksRenewal reports whether the certificate cannot be renewed with a restart policy.
func (o Obstacle) BlocksRenewal(policy RestartPolicy) bool {
	switch {
	case o.Reason == "":
		return false
	case o.MaxRestart == RestartIfNeeded:
		return policy != RestartIfNeeded && policy != RestartNever
	}
	return o.MaxRestart == "" || policy != o.MaxRestart
}

// ObstacleTo returns the obstacle to the renewal of a certificate on its node, alone or
// together with those whose key is in the same file.
func ObstacleTo(n *inventory.Node, c inventory.Certificate) Obstacle {
	return stricterOf(ownObstacle(n, c), sharedKeyObstacle(n, c))
}

func ownObstacle(n *inventory.Node, c inventory.Certificate) Obstacle {
	if reason := unrenewable(n, c); reason != "" {
		return Obstacle{Reason: reason}
	}
	if c.Issuer.IsByUnit() {
		return Obstacle{Reason: obstacleToUnit(n, c)}
	}
	return restartObstacle(n, c)
}

// restartObstacle returns the obstacle to the restarts after a certificate was replaced.
func restartObstacle(n *inventory.Node, c inventory.Certificate) Obstacle {
	reason, unverified := unrestartable(n, c)
	if reason == "" {
		return Obstacle{}
	}
	// If a component cannot be restarted, only a handshake can verify that it uses the new one.
	// A component with an expiring certificate in memory is restarted even with if-needed.
	due := slices.ContainsFunc(usersOf(c), func(s certs.Service) bool { return restartDue(n, s) })
	if why := HotReload(c); why != "" && !due && (!unverified || len(c.Served) > 0) {
		return Obstacle{Reason: reason + "; use --restart=if-needed: " + why, MaxRestart: RestartIfNeeded}
	}
	return Obstacle{Reason: reason + "; use --restart=never and restart it yourself", MaxRestart: RestartNever}
}

// unrenewable is why a certificate cannot be renewed under any restart policy.
func unrenewable(n *inventory.Node, c inventory.Certificate) string {
	switch {
	case isDamaged(n, &c) && c.FingerprintSHA256 == "":
		return "cannot be read: " + cmp.Or(c.Reason, "no certificate in it")
	case isDamaged(n, &c):
		return cmp.Or(c.Reason, "is invalid")
	case c.Issuer.Kind == inventory.NoIssuer:
		return cmp.Or(c.Reason, "cannot be renewed from this node: nothing here can sign its successor")
	}
	return ""
}

// unrestartable is the reason why a component that loads a certificate cannot be restarted to
// use the successor. unknown means that it runs and its supervisor is not known.
func unrestartable(n *inventory.Node, c inventory.Certificate) (reason string, unknown bool) {
	if !isLoaded(c) {
		return "", false
	}
	for _, s := range usersOf(c) {
		u := n.ComponentOf(s)
		if u == nil {
			continue
		}
		switch u.Runtime {
		case inventory.None:
			return fmt.Sprintf("%s: %s; nothing here can restart it", s, cmp.Or(u.Note, "was started by something unknown")), true
		case inventory.Supervised:
			return fmt.Sprintf("%s: %s", s, cmp.Or(u.Note, "is a child process of "+u.Unit+", which runs other components too")), true
		}
		if why := withoutSocket(n, u); why != "" {
			return fmt.Sprintf("%s runs, and %s; nothing here can restart it", s, why), true
		}
		if b := keepsFromStarting(n, s); b != nil {
			return fmt.Sprintf("%s would have to restart, and could not start with %s %q: %s", s, b.Name, b.Store.Cert, cmp.Or(b.Reason, string(b.Status))), false
		}
	}
	return "", false
}

// withoutSocket is the reason why the supervisor of a running component cannot be reached.
func withoutSocket(n *inventory.Node, u *inventory.Component) string {
	byRuntime := u.Runtime == inventory.StaticPod || u.Runtime == inventory.DaemonSet
	switch {
	case u.PID == 0, n.SocketsHidden:
		return ""
	case byRuntime && n.CRISocket == "":
		return "no socket of a container runtime was found on this node"
	case u.Runtime == inventory.Systemd && n.DBusSocket == "":
		return "systemd cannot be reached on this node: there is no D-Bus socket"
	case u.Runtime == inventory.Docker && n.DockerSocket == "":
		return fmt.Sprintf("Docker, whose container %q it is, cannot be reached on this node: there is no /run/docker.sock", u.ContainerName)
	}
	return ""
}

// keepsFromStarting returns a certificate with which a service would not start again after a
// stop: it still uses the certificate that it loaded before the file was damaged or expired.
func keepsFromStarting(n *inventory.Node, s certs.Service) *inventory.Certificate {
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if !isLoaded(*c) || !slices.Contains(usersOf(*c), s) {
			continue
		}
		if isDamaged(n, c) && !staysUsable(c) || expiredClient(c) && unrenewable(n, *c) != "" {
			return c
		}
	}
	return nil
}

// isDamaged reports whether a certificate on disk is unusable. On a node whose rotation was
// interrupted it may be half of a pair, which the next process there restores first.
func isDamaged(n *inventory.Node, c *inventory.Certificate) bool {
	between := slices.ContainsFunc(n.Rotations, func(r inventory.NodeRotation) bool { return r.State == inventory.Committing })
	return !between && (c.FingerprintSHA256 == "" || c.Status == certs.Invalid && !c.Refused)
}

// staysUsable reports whether a certificate can be loaded, and a restart makes nothing worse: its
// peers have refused it before, and its component does not need them to work. etcd and API servers
// that serve such a one have connections which could not be made again.
func staysUsable(c *inventory.Certificate) bool {
	switch {
	case !c.BrokenChain:
		return false
	case c.Client != nil:
		return len(c.Served) == 0 && (c.Client.Kind == inventory.ToAPIServerAsProxy || c.Client.Kind == inventory.ToKubelet)
	}
	return !slices.ContainsFunc(usersOf(*c), func(s certs.Service) bool { return s == certs.Etcd || s == certs.KubeAPIServer })
}

// expiredClient reports whether a component can no longer reach the server that it needs to
// start: etcd, or the API server.
func expiredClient(c *inventory.Certificate) bool {
	return c.Status == certs.Expired && c.Client != nil && (c.Client.Kind == inventory.ToEtcd || c.Client.Kind == inventory.ToAPIServer)
}

// KeptKey is why a certificate's key is kept when the certificate is renewed, so that a
// renewal does not replace a compromised one; empty: it is not kept.
func KeptKey(n *inventory.Node, c inventory.Certificate) string {
	kept := n.KeptKey(c)
	if kept == "" {
		return ""
	}
	return fmt.Sprintf("its key %s, so a renewal keeps it: replace the key by hand", kept)
}

// reasonToLeave is why a request does not renew a certificate; empty: it does.
func reasonToLeave(n *inventory.Node, c inventory.Certificate, req Request) string {
	if o := ObstacleTo(n, c); o.BlocksRenewal(req.Restart) {
		return o.Reason
	}
	if reason := reasonByUnit(n, c, req); reason != "" {
		return reason
	}
	if req.Compromised {
		return KeptKey(n, c)
	}
	return ""
}

// usersOf are the services whose processes load a certificate.
func usersOf(c inventory.Certificate) []certs.Service {
	if len(c.UsedBy) == 0 {
		return []certs.Service{c.Service}
	}
	return c.UsedBy
}

// missingInScope returns the files and nodes in scope that should have been inspected and were
// not.
func (p Plan) missingInScope(req Request) []NotInspected {
	var out []NotInspected
	for _, x := range p.NotInspected {
		if !x.Informational && inScope(x.Node, req) {
			out = append(out, x)
		}
	}
	return out
}

// NotDone counts the parts of the scope that the plan leaves unchanged: certificates that
// cannot be renewed, nodes and files that could not be inspected.
func (p Plan) NotDone(req Request) int { return len(p.LeftOut) + len(p.missingInScope(req)) }

// RefuseIncomplete returns a [*RefusedError] if everything in scope was required and a
// certificate is left out.
func (p Plan) RefuseIncomplete(req Request) error {
	if req.RequireAll && p.NotDone(req) > 0 {
		return p.refusalOf(req)
	}
	return nil
}

// refusalOf lists the obstacles to a plan.
func (p Plan) refusalOf(req Request) *RefusedError {
	refused := &RefusedError{Rollback: req.RollbackOf != ""}
	for _, l := range p.LeftOut {
		refused.Problems = append(refused.Problems, Problem{Node: l.Node, Text: l.reasonText()})
	}
	for _, x := range p.missingInScope(req) {
		refused.Problems = append(refused.Problems, Problem{Node: x.Node, Text: strings.TrimPrefix(x.String(), x.Node+": ")})
	}
	return refused
}
