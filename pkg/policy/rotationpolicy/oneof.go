package rotationpolicy

import (
	"maps"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// oneOf returns the value of a name. The error for an unknown name suggests a similar one, or
// lists all.
func oneOf[T any](bad report, field, what, name string, known map[string]T) T {
	found, is := known[name]
	if is {
		return found
	}
	all := slices.Sorted(maps.Keys(known))
	best := ""
	distance := max(2, len(name)/3) + 1
	for _, k := range all {
		if d := certs.EditDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best = k
			distance = d
		}
	}
	if best != "" && len(name) < 100 {
		bad(field, "unknown %s %q, did you mean %q?", what, name, best)
	} else {
		bad(field, "unknown %s %q, want one of: %s", what, name, strings.Join(all, ", "))
	}
	return found
}
