package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// ErrNothing means that no node in scope runs any of the services.
var ErrNothing = errors.New("nothing to do: no node in scope runs any of these services")

// RefusedError means that certificates in scope cannot be renewed, so that nothing was begun.
type RefusedError struct {
	Problems []Problem
	// Rollback means that they cannot be put back.
	Rollback bool
}

// Problem is an obstacle on one node.
type Problem struct {
	Node string
	Text string
}

func (e *RefusedError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.Node+": "+p.Text)
	}
	what := "a certificate"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d certificates", len(lines))
	}
	can := "renewed"
	if e.Rollback {
		can = "put back"
	}
	return fmt.Sprintf("%s in scope cannot be %s, so nothing was changed:\n  %s", what, can, strings.Join(lines, "\n  "))
}

// BuildPlan makes the plan. Control-plane nodes come first, one a wave, in the order of their names
// (the etcd leader is found at run time and taken last); workers follow in waves of at most
// req.MaxUnavailable. Certificates that the unfinished rotation has renewed are not renewed
// again.
//
// Where only another node has the key of the CA, that node signs, see [FindSigners].
// One that cannot be renewed is left out and named in Plan.LeftOut, see
// [ObstacleTo]. Where nothing else remains to renew, or with req.RequireAll, that is a
// [*RefusedError] that lists all of them.
func BuildPlan(nodes []inventory.Node, req Request, unfinished *Unfinished) (Plan, error) {
	if err := req.CheckValidity(); err != nil {
		return Plan{}, err
	}
	if err := refuseRollback(nodes, req); err != nil {
		return Plan{}, err
	}
	size, err := waveSize(req.MaxUnavailable, countWorkers(nodes, req))
	if err != nil {
		return Plan{}, err
	}
	var p Plan
	var workers []Step
	renews := false
	granted := signingDuration(nodes)
	nodes = FindSigners(leaveToServers(nodes, req))
	slices.SortFunc(nodes, func(a, b inventory.Node) int { return strings.Compare(a.Name, b.Name) })
	for i := range nodes {
		n := &nodes[i]
		if !inScope(n.Name, req) {
			continue
		}
		b := buildStep(n, req, unfinished)
		if req.RollbackOf == "" {
			b.predictExpiry(granted)
		}
		p.LeftOut = append(p.LeftOut, b.left...)
		p.NotInspected = append(p.NotInspected, b.notInspected...)
		renews = renews || b.renews
		switch {
		case len(b.step.Services) == 0:
		case req.Recover && !b.renews: // nothing of it has expired
		case b.step.ControlPlane:
			p.Waves = append(p.Waves, Wave{ControlPlane: true, Steps: []Step{b.step}})
		default:
			workers = append(workers, b.step)
		}
	}
	for chunk := range slices.Chunk(workers, size) {
		p.Waves = append(p.Waves, Wave{Steps: chunk})
	}
	if err := p.RefuseIncomplete(req); err != nil {
		return Plan{}, err
	}
	switch left := p.NotDone(req); {
	case !renews && left > 0:
		return Plan{}, p.refusalOf(req)
	case len(p.Waves) == 0 && req.RollbackOf != "":
		return Plan{}, &RollbackError{req.RollbackOf, "no certificate that it has renewed is in use on the nodes in scope"}
	case len(p.Waves) == 0:
		return Plan{}, ErrNothing
	}
	return p, nil
}

// AllSteps returns all steps in order.
func (p Plan) AllSteps() []Step {
	var out []Step
	for _, w := range p.Waves {
		out = append(out, w.Steps...)
	}
	return out
}

// IsIdle reports whether the step changes nothing: its services have no certificates here, or
// this rotation has already renewed them.
func (s Step) IsIdle() bool { return len(s.Targets) == 0 && len(s.Restarts) == 0 }

func inScope(node string, req Request) bool {
	return (len(req.Nodes) == 0 || slices.Contains(req.Nodes, node)) && (req.StepOf == "" || req.StepOf == node)
}

// builder makes one node's step.
type builder struct {
	node         *inventory.Node
	req          Request
	unfinished   *Unfinished
	step         Step
	left         []LeftOut
	notInspected []NotInspected
	restarts     []certs.Service
	renews       bool // a certificate is to be renewed, or was already renewed by the same rotation
}

func buildStep(n *inventory.Node, req Request, unfinished *Unfinished) *builder {
	b := &builder{node: n, req: req, unfinished: unfinished,
		step: Step{Node: n.Name, ControlPlane: n.ControlPlane(), Etcd: n.ComponentOf(certs.Etcd) != nil}}
	if req.RollbackOf != "" {
		b.addRollback()
	} else {
		for _, s := range req.Services {
			b.addService(s)
		}
		b.addUnreadNode()
	}
	b.setUnitCommand()
	b.restartStuck()
	b.step.Restarts = certs.SortServices(b.restarts)
	b.step.setSockets(n)
	b.step.addOthers(n, req.Restart)
	b.step.setUnitDirectory(n)
	return b
}

// addService adds the certificates of a service on the node. A service whose certificates are
// all left out is no part of the step.
func (b *builder) addService(s certs.Service) {
	owned := certificatesOf(b.node, s)
	component := b.node.ComponentOf(s)
	unread := uninspectedFiles(b.node, s)
	b.notInspected = append(b.notInspected, unread...)
	if len(owned) == 0 && component != nil {
		note := component.Note
		if len(unread) > 0 {
			note = "what it uses could not be inspected: " + unread[0].Reason
		}
		b.step.Services = append(b.step.Services, Service{Service: s, NoCertificate: true, Note: note})
	}
	taken := false
	for _, c := range owned {
		taken = b.addCertificate(s, c) || taken
	}
	if taken {
		b.step.Services = append(b.step.Services, Service{Service: s})
		b.renews = true
	}
}

// addCertificate reports whether a service's certificate is to be renewed, or was already
// renewed by the same rotation. If not, it is left out.
func (b *builder) addCertificate(s certs.Service, c inventory.Certificate) bool {
	if b.unfinished.isRenewed(b.node.Name, c) {
		return true
	}
	if b.req.Recover && !needsRecovery(b.node, c) {
		return false
	}
	if reason := reasonToLeave(b.node, c, b.req); reason != "" {
		left := leaveOut(b.node, c.Service, c, reason)
		if !slices.Contains(b.left, left) { // once for all services that share it
			b.left = append(b.left, left)
		}
		return false
	}
	if b.step.addTarget(c) {
		b.restarts = append(b.restarts, needRestart(b.node, c, s, b.req.Restart)...)
	}
	b.addSharing(c)
	b.addUnit(c)
	return true
}

// addUnreadNode adds the reasons why no component of a node could be inspected.
func (b *builder) addUnreadNode() {
	if len(b.node.Components) > 0 {
		return
	}
	for _, x := range b.node.NotInspected {
		if item := NotInspectedOn(b.node.Name, x); !x.Informational && !slices.Contains(b.notInspected, item) {
			b.notInspected = append(b.notInspected, item)
		}
	}
}

// uninspectedFiles returns the files of a service on a node that discovery could not inspect,
// such as a missing kubeconfig.
func uninspectedFiles(n *inventory.Node, s certs.Service) []NotInspected {
	var out []NotInspected
	for _, x := range n.NotInspected {
		if x.Service == s && x.Path != "" {
			out = append(out, NotInspectedOn(n.Name, x))
		}
	}
	return out
}

// certificatesOf returns the certificates that a service's rotation renews: every pair that its
// process loads, including shared ones.
func certificatesOf(n *inventory.Node, s certs.Service) []inventory.Certificate {
	var out []inventory.Certificate
	for _, c := range n.Certificates {
		if c.Service == s || slices.Contains(c.UsedBy, s) {
			out = append(out, c)
		}
	}
	return out
}

// needRestart returns the services to restart because a certificate is replaced:
// everything that loads it, and that runs on this node.
func needRestart(n *inventory.Node, c inventory.Certificate, s certs.Service, policy RestartPolicy) []certs.Service {
	if policy == RestartNever || (policy == RestartIfNeeded && HotReload(c) != "" && !restartDue(n, s)) {
		return nil
	}
	var out []certs.Service
	for _, user := range append([]certs.Service{s}, c.UsedBy...) {
		if component := n.ComponentOf(user); component != nil && component.IsRestartable() {
			out = append(out, user)
		}
	}
	return out
}

// restartDue reports whether a service must be restarted because of a certificate that it has
// only in memory.
func restartDue(n *inventory.Node, s certs.Service) bool {
	return slices.ContainsFunc(n.InMemory, func(m inventory.InMemory) bool { return m.Service == s && m.RestartDue(n.Time) })
}
