package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// planEffects describes a plan's blast radius: which components restart on which node, the
// consequences for their clients, and the copies that keep an old certificate.
func planEffects(p plan.Plan, nodes []inventory.Node, req plan.Request, now time.Time) []string {
	policy := req.Restart
	restarts := map[certs.Service][]string{}
	for _, s := range p.AllSteps() {
		for _, service := range s.Restarts {
			restarts[service] = append(restarts[service], s.Node)
		}
	}
	out := successorDifferences(p)
	if policy == plan.RestartNever {
		out = append(out, "No component restarts (--restart=never): one that does not re-read its files uses the old certificate until it expires.")
	}
	for _, service := range certs.Services() {
		if on := restarts[service]; len(on) > 0 {
			means := restartMeans(service, nodes)
			if req.Recover {
				means = recoveryMeans(service)
			}
			out = append(out, fmt.Sprintf("%s restarts on %s: %s", service, printers.SomeNames(on), means))
		}
	}
	if shaken := collateralRestarts(restarts); shaken != "" {
		out = append(out, shaken)
	}
	if hot := keptRunning(p, policy); len(hot) > 0 {
		out = append(out, "Not restarted, since they re-read their files: "+strings.Join(hot, ", ")+". Open connections keep the old certificate.")
	}
	uses := otherUses(p, nodes)
	out = append(out, restartedOthers(uses)...)
	out = append(out, keptOthers(uses)...)
	out = append(out, namedConsumers(p, nodes)...)
	if kept := adminKubeconfigs(p, uses); kept != "" {
		out = append(out, kept)
	}
	if copied := namedCopies(p, nodes); copied != "" {
		out = append(out, copied)
	}
	if old := oldCopies(p, now); old != "" {
		out = append(out, old)
	}
	return out
}

// recoveryMeans is restartMeans for a recovery, in which nodes that do not answer come together.
func recoveryMeans(s certs.Service) string {
	switch s {
	case certs.Etcd, certs.KubeAPIServer:
		return "at the same time on all nodes where the API server or etcd does not answer, one after the other elsewhere."
	default:
		return "running pods keep running."
	}
}

// forceMeans describes --force, before any check has failed.
const forceMeans = "--force: proceeds even if, at the start, etcd (members that are not healthy, never started, learners or far behind, " +
	"alarms, a full database, no quorum without the next node) or an API server fails a health check; every overridden finding is named. " +
	"Without a quorum the API is unavailable. It overrides no lock, no lost attribute, no invalid certificate or CA, and no failure after the start."

// restartMeans describes the effect on clients when one instance of a service restarts.
func restartMeans(s certs.Service, nodes []inventory.Node) string {
	instances := 0
	for i := range nodes {
		if nodes[i].ComponentOf(s) != nil {
			instances++
		}
	}
	switch s {
	case certs.Etcd:
		if instances <= 2 {
			return fmt.Sprintf("%s cannot keep a quorum while one restarts, so the API is unavailable for some seconds.", printers.CountOf(instances, "member"))
		}
		return fmt.Sprintf("one at a time, the leader last; the other %d members keep the quorum.", instances-1)
	case certs.KubeAPIServer:
		if instances <= 1 {
			return "it is the only one, so the API is unavailable for some seconds."
		}
		return "one at a time; open watches and connections to it are closed, and clients connect again. " +
			"A client that knows only one API server has to wait."
	case certs.Kubelet:
		return "running pods keep running; open exec, attach, port-forward and logs -f sessions on the node are closed."
	case certs.KubeProxy:
		return "its rules stay, so traffic continues; changes of Services take effect some seconds later."
	case certs.KubeScheduler, certs.KubeControllerManager:
		if instances <= 1 {
			return "it is the only one, so its work is delayed by some seconds."
		}
		return "another instance takes over."
	default:
		return "no client notices it."
	}
}

// collateralRestarts names components that may restart although the plan does not restart them.
func collateralRestarts(restarts map[certs.Service][]string) string {
	var at []string
	for _, s := range []certs.Service{certs.Etcd, certs.KubeAPIServer} {
		for _, n := range restarts[s] {
			if !slices.Contains(at, n) {
				at = append(at, n)
			}
		}
	}
	var shaken []string
	for _, s := range []certs.Service{certs.KubeControllerManager, certs.KubeScheduler} {
		if len(restarts[s]) == 0 {
			shaken = append(shaken, string(s))
		}
	}
	if len(at) == 0 || len(shaken) == 0 {
		return ""
	}
	return fmt.Sprintf("%s on the same node may restart, too: it exits when its API server is unavailable for too long.", strings.Join(shaken, " or "))
}

// keptRunning lists the services that --restart=if-needed restarts on no node.
func keptRunning(p plan.Plan, policy plan.RestartPolicy) []string {
	if policy != plan.RestartIfNeeded {
		return nil
	}
	var out []string
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			name := string(t.Service)
			if t.Service != certs.Admin && !slices.Contains(s.Restarts, t.Service) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// adminKubeconfigs names kubeconfigs of administrators, which no component uses.
func adminKubeconfigs(p plan.Plan, uses []*otherUse) string {
	var paths []string
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			used := slices.ContainsFunc(uses, func(o *otherUse) bool { return slices.Contains(o.files, t.Path) })
			if t.Service == certs.Admin && !used && !slices.Contains(paths, t.Path) {
				paths = append(paths, t.Path)
			}
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: not used by a running component; copies of it keep the old certificate.", strings.Join(paths, ", "))
}

// oldCopies says until when the last of the old certificates remains valid.
func oldCopies(p plan.Plan, now time.Time) string {
	var last plan.Target
	node := ""
	for _, s := range p.AllSteps() {
		for _, t := range s.Targets {
			if t.OldNotAfter.After(last.OldNotAfter) {
				last = t
				node = s.Node
			}
		}
	}
	if !last.OldNotAfter.After(now) {
		return ""
	}
	return fmt.Sprintf("Copies of the %s certificates remain valid until they expire, the last one (%s of %s) on %s: Kubernetes cannot revoke them.",
		printers.ReplacedWord(rollbackOf(p)), last.Name, node, printers.UTCDate(last.OldNotAfter))
}
