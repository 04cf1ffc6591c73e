package layout

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// member is a process of a unit in which a component runs.
type member struct {
	pid, parent int
	argv        []string
}

func (m member) programName() string { return programName(m.argv[0]) }

// membersOf collects the processes of the units in which components run.
func membersOf(proc string, init map[string]string, ids []int, components []process) map[string][]member {
	out := map[string][]member{}
	for _, p := range components {
		if p.place.unit != "" {
			out[p.place.unit] = nil
		}
	}
	if len(out) == 0 {
		return out
	}
	units := slices.Collect(maps.Keys(out))
	buf := make([]byte, cmdlineHead)
	for _, pid := range ids {
		groups := readInto(processFile(proc, pid, "cgroup"), buf)
		// Most processes are in none of these units, and are not placed.
		if !slices.ContainsFunc(units, func(name string) bool { return bytes.Contains(groups, []byte(name)) }) {
			continue
		}
		unit := placeProcess(cgroupPaths(groups), init).unit
		if _, wanted := out[unit]; !wanted {
			continue
		}
		m := member{pid: pid, argv: parseCmdline(readInto(processFile(proc, pid, "cmdline"), buf))}
		m.parent = parentOf(readInto(processFile(proc, pid, "stat"), buf))
		if len(m.argv) > 0 {
			out[unit] = append(out[unit], m)
		}
	}
	return out
}

// distribution is a product that starts components in a unit of its own and renews their
// certificates.
type distribution struct {
	name     string
	programs []string // its process, and the first word of its unit's command
	dir      string   // where it keeps its data by default
	unit     string   // the usual one
	// prefixes are how the names of its units begin.
	prefixes []string
	// renewal is its way to renew certificates: see madeAtStart, commandParts and refreshedParts.
	renewal inventory.IssuerKind
	// staticPods means that it writes manifests of static pods, and replaces these pods after
	// that command.
	staticPods bool
}

var distributions = []distribution{
	{name: "k0s", programs: []string{"k0s"}, dir: "/var/lib/k0s", unit: "k0scontroller.service",
		prefixes: []string{"k0scontroller", "k0sworker", "k0sserver"}, renewal: inventory.UnitStart},
	{name: "RKE2", programs: []string{"rke2"}, dir: "/var/lib/rancher/rke2", unit: "rke2-server.service",
		prefixes: []string{"rke2-server", "rke2-agent"}, renewal: inventory.UnitCommand, staticPods: true},
	{name: "K3s", programs: []string{"k3s"}, dir: "/var/lib/rancher/k3s", unit: "k3s.service", prefixes: []string{"k3s"},
		renewal: inventory.UnitCommand},
	{name: "MicroK8s", programs: []string{"kubelite"}, dir: "/var/snap/microk8s", unit: "snap.microk8s.daemon-kubelite.service",
		renewal: inventory.RestartCommand},
}

// distributionNamed returns a distribution by its name.
func distributionNamed(name string) *distribution {
	i := slices.IndexFunc(distributions, func(d distribution) bool { return d.name == name })
	return &distributions[i]
}

// distributionOf finds the distribution whose program a command line starts.
func distributionOf(argv []string) *distribution {
	if len(argv) == 0 {
		return nil
	}
	for i := range distributions {
		if slices.Contains(distributions[i].programs, programName(argv[0])) {
			return &distributions[i]
		}
	}
	return nil
}

// judgeUnit determines whether a component's unit is its own. A component that runs below
// another program, or together with other components, is Supervised: its unit stops all of
// them.
func (d *discovery) judgeUnit(p process, out *program) {
	head, why := d.headOf(p)
	if why == "" {
		return
	}
	out.component.Runtime = inventory.Supervised
	out.distribution = head
	out.component.Note = joinNotes(out.component.Note, why)
	if head == nil {
		return
	}
	if u, ok := d.loadedUnit(p.place.unit); ok {
		out.component.GraceSeconds = u.grace
	}
}

// headOf returns the distribution that started a component, which may be nil, and why its unit
// is not its own; why is empty if it is.
func (d *discovery) headOf(p process) (head *distribution, why string) {
	unit := p.place.unit
	members := d.members[unit]
	loaded, _ := d.loadedUnit(unit)
	for i := range distributions {
		dist := &distributions[i]
		if slices.ContainsFunc(dist.prefixes, func(prefix string) bool { return strings.HasPrefix(unit, prefix) }) {
			return dist, fmt.Sprintf("is started by %s, which runs %s", unit, dist.name)
		}
	}
	for _, argv := range d.commandsOf(loaded, members) {
		if dist := distributionOf(argv); dist != nil {
			return dist, fmt.Sprintf("is started by %s, which runs %s", unit, dist.name)
		}
	}
	for _, m := range members {
		if r, ok := recognizeArgs(m.argv); ok && r.service != p.service {
			return nil, fmt.Sprintf("shares %s with %s, and is not restarted without it", unit, r.service)
		}
	}
	if ownUnit(loaded, unit, p.service) {
		return nil, ""
	}
	if first, other := firstOf(p, members); other {
		return nil, fmt.Sprintf("is started by %q in %s, whose restart restarts everything that it runs", first.programName(), unit)
	}
	return nil, ""
}

// commandsOf are the command lines of a unit: those of its file and those that run.
func (d *discovery) commandsOf(u *unit, members []member) [][]string {
	var out [][]string
	if u != nil {
		out = u.expandedCommands()
	}
	for _, m := range members {
		out = append(out, m.argv)
	}
	return out
}

// ownUnit reports whether a unit starts the component itself, perhaps behind a wrapper, or is
// named for it.
func ownUnit(u *unit, name string, s certs.Service) bool {
	if u != nil {
		for _, argv := range u.expandedCommands() {
			if r, ok := recognizeArgs(argv); ok {
				return r.service == s
			}
		}
	}
	return strings.Contains(name, strings.TrimPrefix(string(s), "kube-"))
}

// firstOf finds the process of a unit that started a component: its topmost ancestor
// there, else the unit's first process. False where that is the component itself, or a
// wrapper or shell around it.
func firstOf(p process, members []member) (member, bool) {
	byID := map[int]member{}
	for _, m := range members {
		byID[m.pid] = m
	}
	top, known := byID[p.pid]
	for range members {
		parent, ok := byID[top.parent]
		if !known || !ok {
			break
		}
		top = parent
	}
	if top.pid == p.pid {
		for _, m := range members {
			if _, child := byID[m.parent]; !child && m.pid < top.pid {
				top = m
			}
		}
	}
	if !known || top.pid == p.pid || isShell(top.programName()) {
		return member{}, false
	}
	_, wraps := wrappers[top.programName()]
	return top, !wraps
}

// leaveToDistributions sets the reason of certificates that a distribution renews: those that
// its components use, those of a node whose kubelet it runs, and those that lie in its
// directory.
func (d *discovery) leaveToDistributions(programs []*program) {
	byService := map[certs.Service]*program{}
	for _, p := range programs {
		if p.distribution != nil {
			byService[p.service] = p
		}
	}
	renewer := d.findRenewer(byService)
	certificates := d.out.Node.Certificates
	for i := range certificates {
		c := &certificates[i]
		reason := leftTo(c, byService)
		unit := ""
		if issuer, ok := renewer.issuerOf(c); ok {
			reason = renewer.harm
			unit = renewer.unit
			c.Issuer = issuer
		}
		if reason != "" {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}
			c.Reason = joinNotes(c.Reason, reason)
		}
	}
}

func leftTo(c *inventory.Certificate, supervised map[certs.Service]*program) string {
	users := append([]certs.Service{c.Service}, c.UsedBy...)
	if c.Service != certs.Admin {
		users = append(users, certs.Kubelet)
	}
	for _, s := range users {
		if p := supervised[s]; p != nil {
			return p.distribution.reasonFor(c, p.component.Unit, supervised)
		}
	}
	for i := range distributions {
		if dist := &distributions[i]; isUnder(c.Store.Cert, dist.dir) {
			unit := ""
			for _, p := range supervised {
				if p.distribution == dist {
					unit = p.component.Unit
				}
			}
			return dist.reasonFor(c, unit, supervised)
		}
	}
	return ""
}
