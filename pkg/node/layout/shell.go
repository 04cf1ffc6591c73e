package layout

import (
	"maps"
	"slices"
	"strings"
)

// shell holds the variables of a shell that runs a script.
type shell struct {
	variables map[string]string
	exported  map[string]bool
	exportAll bool // set -a
	removed   []string
	// unsure are variables without a certain value: the script alone does not show it.
	unsure []string
	// reads: it has read a file with assignments that are not known.
	reads bool
}

// newShell starts a shell with the variables that the wrappers around it set.
func newShell(given map[string]string) *shell {
	s := &shell{variables: maps.Clone(given), exported: map[string]bool{}}
	for name := range given {
		s.exported[name] = true
	}
	return s
}

// reserved are words that may stand before a command.
var reserved = []string{"if", "then", "else", "elif", "while", "until", "do", "{", "!", "time"}

// runCommand evaluates a command that may set variables of the shell.
func (s *shell) runCommand(words []string) {
	for len(words) > 0 && slices.Contains(reserved, words[0]) {
		words = words[1:]
	}
	first := slices.IndexFunc(words, func(w string) bool { return !isAssignment(w) })
	if first < 0 {
		s.assignAll(words, false)
		return
	}
	// Assignments before another command are variables of that command only.
	rest := words[first+1:]
	options := strings.Join(slices.DeleteFunc(slices.Clone(rest), func(w string) bool { return !strings.HasPrefix(w, "-") }), "")
	switch words[first] {
	case "export":
		s.assignAll(rest, true)
	case "declare", "typeset":
		s.assignAll(rest, strings.Contains(options, "x"))
	case "readonly", "local":
		s.assignAll(rest, false)
	case "set":
		if slices.Contains(rest, "--") {
			return // the positional parameters follow
		}
		s.exportAll = s.exportAll && !slices.Contains(rest, "+a") || strings.Contains(options, "a") || slices.Contains(rest, "allexport")
	case "unset":
		for _, name := range rest {
			delete(s.variables, name)
			delete(s.exported, name)
			s.removed = append(s.removed, name)
		}
	case ".", "source", "eval", "read", "mapfile":
		s.reads = true
	}
}

// assignAll evaluates assignments, and names to export.
func (s *shell) assignAll(words []string, export bool) {
	for _, w := range words {
		name, value, assigns := strings.Cut(w, "=")
		if !isName(name) {
			continue
		}
		if assigns {
			s.variables[name] = expandShell(value, s.variables)
			s.removed = slices.DeleteFunc(s.removed, func(removed string) bool { return removed == name })
		}
		if assigns && shellOperator(value) {
			s.unsure = append(s.unsure, name) // it was in quotes, which are removed here
		}
		if export || s.exportAll && assigns {
			s.exported[name] = true
		}
	}
}

// startComponent describes a component that a command of the script starts: its words before the
// component's name, and its arguments.
func (s *shell) startComponent(before, args []string) recognized {
	out := recognized{args: args, script: true, assigned: maps.Clone(s.variables), removed: slices.Clone(s.removed), unsure: slices.Clone(s.unsure)}
	for name := range s.variables {
		if !s.exported[name] {
			out.local = append(out.local, name)
		}
	}
	slices.Sort(out.local)
	for _, w := range before {
		if isAssignment(w) {
			out.own = append(out.own, w)
		}
	}
	if s.reads {
		out.unknown = readsFile
	}
	return out
}

// Why the settings of a component cannot be read from the script that starts it.
const (
	readsFile    = "a script starts it with variables that it reads from elsewhere"
	severalTimes = "a script starts it in several ways"
)

// isSame reports whether two commands of a script start a component in the same way.
func (r recognized) isSame(other recognized) bool {
	return slices.Equal(r.args, other.args) && maps.Equal(r.assigned, other.assigned) && slices.Equal(r.own, other.own) &&
		slices.Equal(r.local, other.local) && slices.Equal(r.removed, other.removed)
}

// withVariables returns the component with the variables that a script's arguments hold expanded, and
// with all variables that it is started with: those of env and those that its command line sets. A
// variable without a certain value has its name with a dollar for one.
func (r recognized) withVariables(env map[string]string) (recognized, map[string]string) {
	all := maps.Clone(env)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range r.assigned {
		all[name] = expandShell(value, env)
	}
	for _, name := range r.removed {
		all[name] = ""
	}
	for _, name := range r.unsure {
		all[name] = "$" + name
	}
	if r.script {
		r.args = expandWords(r.args, all)
		// Only etcd takes settings from variables.
		if r.unknown == readsFile && !r.hasVariable() && !readsVariables(r.service) {
			r.unknown = ""
		}
	}
	started := map[string]string{}
	for name, value := range all {
		if _, given := env[name]; (given || !slices.Contains(r.local, name)) && !slices.Contains(r.removed, name) {
			started[name] = value
		}
	}
	for _, w := range r.own {
		name, value, _ := strings.Cut(w, "=")
		all[name] = expandShell(value, all)
		started[name] = all[name]
	}
	return r, started
}

// expandWords replaces the variables in the arguments of a script.
func expandWords(words []string, variables map[string]string) arguments {
	out := make(arguments, 0, len(words))
	for _, word := range words {
		text := expandShell(word, variables)
		// A shell splits the value of a variable that is a word of its own: $FLAGS.
		if name, rest := shellName(strings.TrimPrefix(word, "$")); name != "" && rest == "" && strings.HasPrefix(word, "$") {
			out = append(out, splitWords(text)...)
			continue
		}
		out = append(out, text)
	}
	return out
}

// expandShell replaces $NAME and ${NAME} by the values of known variables.
func expandShell(text string, env map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, rest := shellName(after)
		if value, known := env[name]; known {
			out.WriteString(value)
			text = rest
			continue
		}
		out.WriteString("$")
		text = after
	}
}

// shellName returns the variable's name at the beginning of a text that follows a dollar, and the
// rest of the text; "" where there is none.
func shellName(text string) (name, rest string) {
	if inside, ok := strings.CutPrefix(text, "{"); ok {
		name, rest, closed := strings.Cut(inside, "}")
		if !closed || !isName(name) {
			return "", text
		}
		return name, rest
	}
	end := 0
	for end < len(text) && isName(text[:end+1]) {
		end++
	}
	return text[:end], text[end:]
}
