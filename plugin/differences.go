package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// successorDifferences are sentences about successors that differ from their certificate by
// more than the key: another validity period, a key that stays, one key for several
// certificates, or the signature of another node.
func successorDifferences(p plan.Plan) []string {
	var out []string
	on := map[string][]string{}
	add := func(node, text string) {
		if text == "" {
			return
		}
		if on[text] == nil {
			out = append(out, text)
		}
		if !slices.Contains(on[text], node) {
			on[text] = append(on[text], node)
		}
	}
	for _, s := range p.AllSteps() {
		if s.RestartUnit != "" {
			add(s.Node, unitRenewal(s))
		}
		for _, t := range s.Targets {
			add(s.Node, otherLife(t))
		}
		for _, t := range s.Targets {
			if t.KeptKey != "" {
				add(s.Node, fmt.Sprintf("the key of %s stays, since it %s; only the certificate is new.", t.Name, t.KeptKey))
			}
		}
		for _, t := range s.Targets {
			add(s.Node, oneKey(s, t.SharedKeyFile))
		}
		for _, text := range signedElsewhere(s) {
			add(s.Node, text)
		}
		for _, service := range s.Services {
			if service.Because != "" {
				add(s.Node, fmt.Sprintf("%s is included although it was not requested: %s.", service.Service, service.Because))
			}
		}
	}
	for i, text := range out {
		out[i] = printers.SomeNames(on[text]) + ": " + text
	}
	return out
}

// otherLife says how long a successor will be valid where that changes.
func otherLife(t plan.Target) string {
	if t.LifeReason == "" {
		return ""
	}
	return fmt.Sprintf("the new certificate of %s expires on %s; the old one was valid for %s. Reason: %s.",
		t.Name, printers.UTCDate(t.NewNotAfter), printers.ValidityInWords(time.Duration(t.LifeSeconds)*time.Second), t.LifeReason)
}

// oneKey names the targets of a step that share a key file.
func oneKey(s plan.Step, file string) string {
	if file == "" {
		return ""
	}
	var names []string
	for _, t := range s.Targets {
		if t.SharedKeyFile == file {
			names = append(names, t.Name)
		}
	}
	return fmt.Sprintf("%s share the key file %s: they get one new key.", strings.Join(names, ", "), file)
}

// signedElsewhere says which targets of a step other nodes sign.
func signedElsewhere(s plan.Step) []string {
	names := map[string][]string{}
	for _, t := range s.Targets {
		if by := strings.Join(t.SignedBy, " or "); by != "" {
			names[by] = append(names[by], t.Name)
		}
	}
	var out []string
	for _, by := range slices.Sorted(maps.Keys(names)) {
		words := "%s is signed by %s, since the key of its CA is not on the node."
		if len(names[by]) > 1 {
			words = "%s are signed by %s, since the key of their CA is not on the node."
		}
		out = append(out, fmt.Sprintf(words, strings.Join(names[by], ", "), by))
	}
	return out
}

// unitRenewal describes the effects of a renewal by a unit, whose program makes the certificates.
func unitRenewal(s plan.Step) string {
	if s.UnitCommand == "" {
		return fmt.Sprintf("a restart of %s is the renewal: its program makes these certificates, with new keys, when it starts. "+
			"It restarts every component there, and cannot be undone.", s.RestartUnit)
	}
	if s.RestartsItself() {
		return fmt.Sprintf("%q is the renewal: it signs these certificates again and restarts %s. "+
			"That restarts every component there, and this program cannot undo it. The command keeps the certificates from before its last run in a backup of its own.", s.UnitCommand, s.RestartUnit)
	}
	keys := "with new keys"
	if !s.ControlPlane && slices.ContainsFunc(s.Targets, func(t plan.Target) bool { return t.Service == certs.Kubelet }) {
		keys = "with new keys, except where the servers, as in older versions, make the key of all kubelets: that one stays until it is renewed on the servers"
	}
	return fmt.Sprintf("%q is the renewal: it is run while %s is stopped, and the next start makes these certificates, %s. "+
		"That restarts every component there, and this program cannot undo it. The command keeps the old certificates and keys in a backup of its own.", s.UnitCommand, s.RestartUnit, keys)
}
