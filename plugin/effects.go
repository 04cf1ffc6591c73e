package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// effects is a plan's blast radius in sentences: what restarts where, what that means
// to everybody else, and what stays as it is.
func effects(p plan.Plan, nodes []inventory.Node, policy plan.RestartPolicy, now time.Time) []string {
	restarts := map[certs.Service][]string{}
	for _, s := range p.Steps() {
		for _, service := range s.Restarts {
			restarts[service] = append(restarts[service], s.Node)
		}
	}
	out := differences(p)
	if policy == plan.RestartNever {
		out = append(out, "Nothing restarts (--restart=never): what does not read its files again goes on with the old certificate, and ends with it.")
	}
	for _, service := range certs.Services() {
		if on := restarts[service]; len(on) > 0 {
			out = append(out, fmt.Sprintf("%s restarts on %s: %s", service, some(on), restartMeans(service, nodes)))
		}
	}
	if shaken := collateral(restarts); shaken != "" {
		out = append(out, shaken)
	}
	if hot := keptRunning(p, policy); len(hot) > 0 {
		out = append(out, "Not restarted, since they read their files again: "+strings.Join(hot, ", ")+". Open connections keep the old certificate.")
	}
	uses := otherUses(p, nodes)
	out = append(out, restartedOthers(uses)...)
	out = append(out, keptOthers(uses)...)
	out = append(out, consumers(p, nodes)...)
	if kept := kubeconfigs(p, uses); kept != "" {
		out = append(out, kept)
	}
	if copied := copies(p, nodes); copied != "" {
		out = append(out, copied)
	}
	if old := oldCopies(p, now); old != "" {
		out = append(out, old)
	}
	return out
}

// forceMeans is what --force is about, before it is known what it will override.
const forceMeans = "--force: goes on in spite of what is wrong at the start with etcd (members that are not healthy, never started, learners or far behind, " +
	"alarms, a database that is full, no quorum without the next node) or the API servers; each finding is named when it is overridden. " +
	"A quorum that is lost makes the API unavailable. It overrides no lock, no lost attribute, no invalid certificate or CA, and nothing that breaks on the way."

// restartMeans says what others notice when one instance of a service restarts.
func restartMeans(s certs.Service, nodes []inventory.Node) string {
	instances := 0
	for i := range nodes {
		if nodes[i].Component(s) != nil {
			instances++
		}
	}
	switch s {
	case certs.Etcd:
		if instances <= 2 {
			return fmt.Sprintf("%s cannot keep a quorum meanwhile, so the API is unavailable for some seconds.", count(instances, "member"))
		}
		return fmt.Sprintf("one at a time, the leader last; the other %d members keep the quorum.", instances-1)
	case certs.KubeAPIServer:
		if instances <= 1 {
			return "it is the only one, so the API is unavailable for some seconds."
		}
		return "one at a time; open watches and connections to it are closed, and clients connect again. " +
			"A client that knows only this one waits."
	case certs.Kubelet:
		return "running pods keep running; open exec, attach, port-forward and logs -f sessions on the node end."
	case certs.KubeProxy:
		return "its rules stay, so traffic goes on; changed Services wait for some seconds."
	case certs.KubeScheduler, certs.KubeControllerManager:
		if instances <= 1 {
			return "it is the only one, and its work waits for some seconds."
		}
		return "another instance takes over."
	default:
		return "nothing else notices."
	}
}

// collateral says which components may restart that the plan does not restart.
func collateral(restarts map[certs.Service][]string) string {
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
	return fmt.Sprintf("%s on the same node may restart by itself, when its API server is away for too long.", strings.Join(shaken, " or "))
}

// keptRunning lists the services that --restart=if-needed leaves alone everywhere.
func keptRunning(p plan.Plan, policy plan.RestartPolicy) []string {
	if policy != plan.RestartIfNeeded {
		return nil
	}
	var out []string
	for _, s := range p.Steps() {
		for _, t := range s.Targets {
			name := string(t.Service)
			if t.Service != certs.Admin && !slices.Contains(s.Restarts, t.Service) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// kubeconfigs says that kubeconfigs of people are files only.
func kubeconfigs(p plan.Plan, uses []*otherUse) string {
	var paths []string
	for _, s := range p.Steps() {
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
	return fmt.Sprintf("%s: not used by a running component; copies that people carry keep the old certificate.", strings.Join(paths, ", "))
}

// oldCopies says until when the last of the old certificates opens doors.
func oldCopies(p plan.Plan, now time.Time) string {
	var last plan.Target
	node := ""
	for _, s := range p.Steps() {
		for _, t := range s.Targets {
			if t.OldNotAfter.After(last.OldNotAfter) {
				last, node = t, s.Node
			}
		}
	}
	if !last.OldNotAfter.After(now) {
		return ""
	}
	return fmt.Sprintf("A copy of an old certificate stays valid until that ends, the last (%s of %s) on %s: Kubernetes cannot revoke it.",
		last.Name, node, date(last.OldNotAfter))
}

// compromisedMeans is what --compromised adds to a rotation.
const compromisedMeans = "--compromised: nothing is signed in the name of a node's own identity, and once the new certificates are verified the old private keys are destroyed on their nodes: " +
	"there is no way back after that. Whoever has a copy of an old one can use it until it ends or its CA is replaced: Kubernetes cannot revoke certificates."
