package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// ErrNothing means that no node in scope runs any of the services.
var ErrNothing = errors.New("nothing to do: no node in scope runs any of these services")

// RefusedError says that certificates in scope cannot be renewed, so that nothing was begun.
type RefusedError struct {
	Problems []Problem
	more     []string // what else was found
}

// Problem is what stands in the way on one node.
type Problem struct {
	Node string
	Text string
}

func (e *RefusedError) Error() string {
	lines := make([]string, 0, len(e.Problems)+len(e.more))
	for _, p := range e.Problems {
		lines = append(lines, p.Node+": "+p.Text)
	}
	lines = append(lines, e.more...)
	what := "a certificate"
	if len(lines) > 1 {
		what = fmt.Sprintf("%d certificates", len(lines))
	}
	return fmt.Sprintf("%s in scope cannot be renewed, so nothing was changed:\n  %s", what, strings.Join(lines, "\n  "))
}

// Build makes the plan. Control-plane nodes come first, one a wave, in the order of
// their names (the etcd leader is found at run time and taken last); workers follow
// in waves of at most req.MaxUnavailable. What an unfinished rotation already renewed
// is left out.
//
// A certificate that cannot be renewed (no issuer within reach, a key that does not
// fit) is a [*RefusedError] that lists all of them: half a scope is not what was asked for.
// One that cannot even be parsed is a finding in Plan.NotInspected; the others go on.
func Build(nodes []inventory.Node, req Request, unfinished *Unfinished) (Plan, error) {
	size, err := waveSize(req.MaxUnavailable, countWorkers(nodes, req))
	if err != nil {
		return Plan{}, err
	}
	var p Plan
	var workers []Step
	var problems []Problem
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b inventory.Node) int { return strings.Compare(a.Name, b.Name) })
	for i := range nodes {
		n := &nodes[i]
		if !inScope(n.Name, req) {
			continue
		}
		step, findings, bad := buildStep(n, req, unfinished)
		problems = append(problems, bad...)
		p.NotInspected = append(p.NotInspected, findings...)
		switch {
		case len(step.Services) == 0:
		case step.ControlPlane:
			p.Waves = append(p.Waves, Wave{ControlPlane: true, Steps: []Step{step}})
		default:
			workers = append(workers, step)
		}
	}
	if len(problems) > 0 {
		refused := &RefusedError{Problems: problems}
		for _, f := range p.NotInspected {
			refused.more = append(refused.more, f.String())
		}
		return Plan{}, refused
	}
	for chunk := range slices.Chunk(workers, size) {
		p.Waves = append(p.Waves, Wave{Steps: chunk})
	}
	if len(p.Waves) == 0 {
		return Plan{}, ErrNothing
	}
	if unfinished == nil && len(p.NotInspected) > 0 && !p.renews() {
		return Plan{}, unreadable(p.NotInspected)
	}
	return p, nil
}

// renews says whether any step has a certificate to renew.
func (p Plan) renews() bool {
	return slices.ContainsFunc(p.Steps(), func(s Step) bool { return len(s.Targets) > 0 })
}

// unreadable refuses a scope of which nothing can be read: success would be a lie.
func unreadable(findings []Exclusion) error {
	refused := &RefusedError{}
	for _, f := range findings {
		refused.Problems = append(refused.Problems, Problem{Node: f.Node, Text: strings.TrimPrefix(f.String(), f.Node+": ")})
	}
	return refused
}

// Steps returns all steps in order.
func (p Plan) Steps() []Step {
	var out []Step
	for _, w := range p.Waves {
		out = append(out, w.Steps...)
	}
	return out
}

// Idle says that the step has nothing to change: its services have no certificates
// here, or this rotation has renewed them before.
func (s Step) Idle() bool { return len(s.Targets) == 0 && len(s.Restarts) == 0 }

func inScope(node string, req Request) bool {
	return len(req.Nodes) == 0 || slices.Contains(req.Nodes, node)
}

func buildStep(n *inventory.Node, req Request, unfinished *Unfinished) (Step, []Exclusion, []Problem) {
	step := Step{Node: n.Name, ControlPlane: n.ControlPlane(), Etcd: n.Component(certs.Etcd) != nil}
	var findings []Exclusion
	var problems []Problem
	var restarts []certs.Service
	for _, s := range req.Services {
		owned := certificatesOf(n, s)
		component := n.Component(s)
		unread := uninspected(n, s)
		findings = append(findings, unread...)
		if len(owned) == 0 {
			if component != nil {
				note := component.Note
				if len(unread) > 0 {
					note = "what it uses could not be inspected: " + unread[0].Reason
				}
				step.Services = append(step.Services, Service{Service: s, NoCertificate: true, Note: note})
			}
			continue
		}
		step.Services = append(step.Services, Service{Service: s})
		for _, c := range owned {
			switch {
			case unfinished.renewed(n.Name, c):
				continue
			case c.FingerprintSHA256 == "":
				findings = append(findings, Exclusion{Node: n.Name, NotInspected: inventory.NotInspected{
					Service: s, Path: c.Store.Cert, Reason: "not renewed: " + c.Reason}})
				continue
			case c.Issuer.Kind == inventory.NoIssuer || c.Status == certs.Invalid:
				problems = append(problems, Problem{Node: n.Name, Text: fmt.Sprintf("%s %q: %s", c.Name, c.Store.Cert, c.Reason)})
				continue
			}
			if !step.add(c) {
				continue
			}
			restarts = append(restarts, needRestart(n, c, s, req.Restart)...)
		}
	}
	step.Restarts = certs.SortServices(restarts)
	step.setSockets(n)
	step.setUnitDirectory(n)
	return step, findings, problems
}

// uninspected returns what a service uses on a node and discovery could not look at,
// such as a kubeconfig that is missing.
func uninspected(n *inventory.Node, s certs.Service) []Exclusion {
	var out []Exclusion
	for _, x := range n.NotInspected {
		if x.Service == s && x.Path != "" {
			out = append(out, Exclusion{Node: n.Name, NotInspected: x})
		}
	}
	return out
}

// certificatesOf returns what a service's rotation renews: every pair that its
// process loads, also where it shares it with another service.
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
	if policy == RestartNever || (policy == RestartIfNeeded && HotReload(c) != "") {
		return nil
	}
	var out []certs.Service
	for _, user := range append([]certs.Service{s}, c.UsedBy...) {
		if component := n.Component(user); component != nil && component.Restartable() {
			out = append(out, user)
		}
	}
	return out
}

// add makes the certificate a target, once, and says whether it was new.
func (s *Step) add(c inventory.Certificate) bool {
	id := c.ID()
	if slices.ContainsFunc(s.Targets, func(t Target) bool { return t.ID == id }) {
		return false
	}
	s.Targets = append(s.Targets, Target{
		ID: id, Service: c.Service, Name: c.Name, Path: c.Store.Cert, Issuer: string(c.Issuer.Kind),
		OldFingerprint: c.FingerprintSHA256, OldNotAfter: c.NotAfter,
	})
	dirs := c.Store.Directories
	if len(dirs) == 0 {
		dirs = []string{path.Dir(c.Store.Cert)}
		if c.Store.Key != "" {
			dirs = append(dirs, path.Dir(c.Store.Key))
		}
	}
	for _, d := range dirs {
		if !slices.Contains(s.Directories, d) {
			s.Directories = append(s.Directories, d)
		}
	}
	slices.Sort(s.Directories)
	return true
}

// setSockets asks for exactly the sockets that the restarts need.
func (s *Step) setSockets(n *inventory.Node) {
	for _, r := range s.Restarts {
		switch n.Component(r).Runtime {
		case inventory.StaticPod, inventory.DaemonSet:
			s.CRISocket = n.CRISocket
		case inventory.Systemd:
			s.DBusSocket = n.DBusSocket
		case inventory.None, inventory.Supervised:
		}
	}
}

// setUnitDirectory asks for the place of the recovery unit, where something is
// replaced and systemd starts something.
func (s *Step) setUnitDirectory(n *inventory.Node) {
	bySystemd := func(c inventory.Component) bool { return c.Runtime == inventory.Systemd }
	if len(s.Targets) > 0 && slices.ContainsFunc(n.Components, bySystemd) {
		s.Directories = append(s.Directories, UnitDirectory)
		slices.Sort(s.Directories)
	}
}

func (u *Unfinished) renewed(node string, c inventory.Certificate) bool {
	if u == nil {
		return false
	}
	r, ok := u.Renewed[node][c.ID()]
	return ok && r.New.FingerprintSHA256 == c.FingerprintSHA256
}
