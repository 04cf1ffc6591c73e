package fleet

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// showRecord shows what a node is doing right now.
func (r *run) showRecord(rec nodeapi.Record) {
	p := Progress{Node: rec.Node, Phase: PhaseWorking}
	switch rec.Kind {
	case nodeapi.CopyingEtcd:
		p.Text = "copying etcd's data"
	case nodeapi.EtcdCopied:
		p.Done = true
		p.Text = rec.Message
	case nodeapi.Replaced:
		p.Text = "files replaced"
		if rec.Message != "" {
			p.Text = rec.Message
		}
	case nodeapi.Restarting:
		p.Text = fmt.Sprintf("restarting %s", rec.Service)
	case nodeapi.Restarted:
		p.Text = fmt.Sprintf("%s is healthy again", rec.Service)
	case nodeapi.Verified:
		p.Text = "verified: " + rec.Evidence.Detail
	case nodeapi.Waiting:
		p.Done = true
		p.Text = rec.Message
	case nodeapi.RollingBack:
		p.Phase = PhaseUndoing
		p.Done = true
		p.Text = rec.Message + "; putting the " + r.priorWord() + " certificates back"
	case nodeapi.RolledBack:
		p.Phase = PhaseUndone
		p.Done = true
		p.Text = r.priorWord() + " certificates are in use and verified"
	case nodeapi.Unknown, nodeapi.Failed, nodeapi.Refused:
		p.Phase = PhaseFailed
		p.Done = true
		p.Text = rec.Message
	default:
		return
	}
	r.showProgress(p)
}

// staging, prepared and replacing say what is done with a step: this program signs its
// certificates and replaces their files, or a unit makes them when it starts.
func stagingText(s plan.Step) string {
	if s.RestartUnit != "" {
		return fmt.Sprintf("checking %d certificates that %s renews", len(s.Targets), s.Renewer())
	}
	if s.RollbackOf != "" {
		return fmt.Sprintf("checking %d certificates in the backup of rotation %s", len(s.Targets), s.RollbackOf)
	}
	return fmt.Sprintf("signing %d certificates", len(s.Targets))
}

func stagedText(steps []plan.Step) string {
	signed := 0
	byUnit := 0
	for _, s := range steps {
		if s.RollbackOf != "" {
			return savedText(steps)
		}
		if s.RestartUnit != "" {
			byUnit += len(s.Targets)
		} else {
			signed += len(s.Targets)
		}
	}
	switch {
	case byUnit == 0:
		return fmt.Sprintf("%d certificates signed", signed)
	case signed == 0:
		return fmt.Sprintf("%d certificates checked, which a restart renews", byUnit)
	}
	return fmt.Sprintf("%d certificates signed, %d checked, which a restart renews", signed, byUnit)
}

// savedText is stagedText for a rollback.
func savedText(steps []plan.Step) string {
	saved := 0
	for _, s := range steps {
		saved += len(s.Targets)
	}
	return fmt.Sprintf("%d certificates of the backup checked", saved)
}

func committingText(s plan.Step) string {
	if s.RestartUnit != "" {
		if s.UnitCommand != "" {
			return fmt.Sprintf("running %s, which renews %d certificates", s.Renewer(), len(s.Targets))
		}
		return fmt.Sprintf("restarting %s, which renews %d certificates", s.RestartUnit, len(s.Targets))
	}
	return "replacing files"
}

// summaryOf is the one line that remains of a node: what was done and what was seen.
func (r *run) summaryOf(w *worker) string {
	parts := []string{"replaced"}
	if w.step.RestartUnit != "" {
		parts = []string{"renewed by " + w.step.RestartUnit}
		if w.step.RestartsItself() {
			parts = []string{"renewed by " + w.step.Renewer()}
		}
	}
	if w.step.RollbackOf != "" {
		parts = []string{"put back"}
	}
	if restarted := w.recordsOf(nodeapi.Restarted); len(restarted) > 0 {
		var services []string
		for _, rec := range restarted {
			services = append(services, string(rec.Service))
		}
		parts = append(parts, "restarted "+strings.Join(services, ", "))
	}
	for _, h := range r.health {
		if m := gate.MemberSummary(h); w.step.Etcd && h.Node == w.step.Node && m != "" {
			parts = append(parts, m)
		}
	}
	if served := servedPorts(w.recordsOf(nodeapi.Verified), r.inventoryOf(w.step.Node), r.nextWord()); served != "" {
		parts = append(parts, served)
	}
	return strings.Join(parts, " · ")
}

// nextWord is the word for the certificates that the rotation puts in place.
func (r *run) nextWord() string {
	if r.Request.RollbackOf != "" {
		return "earlier"
	}
	return "new"
}

// priorWord is the word for the certificates that the rotation replaces. Those that a rollback
// replaces are younger than those that it puts in place.
func (r *run) priorWord() string {
	if r.Request.RollbackOf != "" {
		return "present"
	}
	return "old"
}

// servedPorts is "2379 and 2380 serve the new certificates".
func servedPorts(verifications []nodeapi.Record, n *inventory.Node, next string) string {
	var ports []string
	for _, rec := range verifications {
		if rec.Evidence.Method != nodeapi.Handshake || n == nil {
			continue
		}
		for _, c := range n.Certificates {
			if c.ID() != rec.Evidence.TargetID {
				continue
			}
			for _, s := range c.Served {
				if _, port, err := net.SplitHostPort(s.Address); err == nil && !slices.Contains(ports, port) {
					ports = append(ports, port)
				}
			}
		}
	}
	switch len(ports) {
	case 0:
		return ""
	case 1:
		return ports[0] + " serves the " + next + " certificate"
	default:
		slices.Sort(ports)
		return strings.Join(ports[:len(ports)-1], ", ") + " and " + ports[len(ports)-1] + " serve the " + next + " certificates"
	}
}
