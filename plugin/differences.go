package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// differences are sentences about what will be other than a new key and otherwise the same
// certificate: another length of life, a key that stays, one key for several.
func differences(p plan.Plan) []string {
	var out []string
	on := map[string][]string{}
	tell := func(node, text string) {
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
	for _, s := range p.Steps() {
		if s.RestartUnit != "" {
			tell(s.Node, fmt.Sprintf("a restart of %s is the renewal: its program makes these certificates, with new keys, when it starts. "+
				"It restarts every component there, and cannot be undone.", s.RestartUnit))
		}
		for _, t := range s.Targets {
			tell(s.Node, otherLife(t))
		}
		for _, t := range s.Targets {
			if t.KeptKey != "" {
				tell(s.Node, fmt.Sprintf("the key of %s stays, since it also %s; only the certificate is new.", t.Name, t.KeptKey))
			}
		}
		for _, t := range s.Targets {
			tell(s.Node, oneKey(s, t.SharedKeyFile))
		}
		for _, service := range s.Services {
			if service.Because != "" {
				tell(s.Node, fmt.Sprintf("%s was not asked for and takes part: %s.", service.Service, service.Because))
			}
		}
	}
	for i, text := range out {
		out[i] = some(on[text]) + ": " + text
	}
	return out
}

// otherLife says for how long a successor will be valid where that changes.
func otherLife(t plan.Target) string {
	if t.LifeReason == "" {
		return ""
	}
	return fmt.Sprintf("the new certificate of %s will be valid until %s; the old one was made for %s. The reason: %s.",
		t.Name, date(t.NewNotAfter), inDays(time.Duration(t.LifeSeconds)*time.Second), t.LifeReason)
}

// oneKey names the targets of a step whose key lies in one file.
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
	return fmt.Sprintf("the keys of %s lie in one file, %s: they get one new key together.", strings.Join(names, ", "), file)
}

// inDays is a certificate's life in whole days, or hours where it is short.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return count(int(d.Round(day)/day), "day")
	}
	return count(int(d.Round(time.Hour)/time.Hour), "hour")
}
