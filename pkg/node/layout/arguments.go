package layout

import (
	"slices"
	"strconv"
	"strings"
)

// arguments is a component's command line without its name. It is read as the flag packages of
// Kubernetes and etcd do: one or two dashes, "--flag=value" and "--flag value", underscores for
// dashes, and the last one takes precedence.
type arguments []string

// lastValue is the last value of a flag, or "".
func (a arguments) lastValue(name string) string {
	v, _ := a.lookupFlag(name)
	return v
}

// lookupFlag returns the last value of a flag, and whether the flag is set.
func (a arguments) lookupFlag(name string) (string, bool) {
	all := a.allValues(name)
	if len(all) == 0 {
		return "", false
	}
	return all[len(all)-1], true
}

// allValues are all values of a flag that may be repeated.
func (a arguments) allValues(name string) []string {
	var out []string
	for i, arg := range a {
		flag, value, joined, ok := splitFlag(arg)
		if !ok || flag != name {
			continue
		}
		if !joined && i+1 < len(a) && !strings.HasPrefix(a[i+1], "-") {
			value = a[i+1]
		}
		out = append(out, value)
	}
	return out
}

// booleanFlag reads a boolean flag, which never takes the next word as its value.
func (a arguments) booleanFlag(name string) (value, set bool) {
	for _, arg := range a {
		flag, text, joined, ok := splitFlag(arg)
		if !ok || flag != name {
			continue
		}
		set = true
		value = !joined
		if joined {
			value, _ = strconv.ParseBool(text)
		}
	}
	return value, set
}

// listValue splits the last value of a flag at its commas.
func (a arguments) listValue(name string) []string { return splitList(a.lastValue(name)) }

// splitFlag takes "--name=value" apart; the name has its underscores made dashes.
func splitFlag(arg string) (name, value string, joined, ok bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", "", false, false
	}
	body := strings.TrimPrefix(arg[1:], "-")
	name, value, joined = strings.Cut(body, "=")
	if name == "" {
		return "", "", false, false
	}
	return strings.ReplaceAll(name, "_", "-"), value, joined, true
}

func splitList(s string) []string {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" })
}
