package layout

import (
	"maps"
	"slices"
	"strings"
)

// recognizeScript finds the component in `sh -c "exec kube-apiserver --flag … >>log"`. Variables
// that the script sets are added to assigned.
func recognizeScript(args []string, assigned map[string]string) (recognized, bool) {
	// "-c" may stand together with other options: "-ec", "-lc".
	i := slices.IndexFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c")
	})
	if i < 0 || i+1 >= len(args) {
		return recognized{}, false
	}
	words := withPositional(splitWords(commandsInOneLine(args[i+1])), args[i+2:])
	for j, w := range words {
		s, ok := serviceNamed(programName(w))
		tested := j > 0 && slices.Contains([]string{"-e", "-f", "-r", "-x"}, words[j-1])
		if !ok || tested {
			continue
		}
		rest := untilOperator(words[j+1:])
		if !hasFlag(rest) || !isComponent(s, rest) {
			continue
		}
		assignVariables(assigned, words[:j])
		return recognized{service: s, args: rest, script: true, assigned: assigned, unsure: setInBranches(words[:j])}, true
	}
	return recognized{}, false
}

// commandsInOneLine writes a script as one line: lines that a backslash continues are joined,
// comments left out, and commands separated by ";".
func commandsInOneLine(script string) string {
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(script, "\\\n", ""), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, " ; ")
}

// withPositional replaces "$@" by the words that follow a script; the first of them is its name, $0.
func withPositional(words, following []string) []string {
	var out []string
	for _, w := range words {
		switch {
		case w != "$@" && w != "${@}" && w != "$*":
			out = append(out, w)
		case len(following) > 1:
			out = append(out, following[1:]...)
		}
	}
	return out
}

// untilOperator returns the arguments of a command: the words up to the next operator.
func untilOperator(words []string) []string {
	for i, w := range words {
		if shellOperator(w) {
			return words[:i]
		}
		if last, ok := strings.CutSuffix(w, ";"); ok {
			return append(slices.Clone(words[:i]), last)
		}
	}
	return words
}

// shellOperator reports whether a word of a script ends a command's arguments.
func shellOperator(w string) bool {
	return strings.ContainsAny(w, "|;&<>") && !strings.HasPrefix(w, "-")
}

// assignVariables adds the assignments among words: those of env, or those before a command.
func assignVariables(assigned map[string]string, words []string) {
	for _, w := range words {
		if name, value, _ := strings.Cut(strings.TrimSuffix(w, ";"), "="); isAssignment(w) {
			assigned[name] = expandShell(value, assigned)
		}
	}
}

// setInBranches returns the variables that a script sets only in some cases: in a branch or a loop, or
// after "&&" or "||" where the command of the component does not depend on that.
func setInBranches(words []string) []string {
	var out, conditional []string
	depth := 0
	after := false // "&&" or "||" in the same command
	for _, w := range words {
		word, ends := strings.CutSuffix(w, ";")
		switch word {
		case "if", "case", "for", "while", "until":
			depth++
		case "fi", "esac", "done":
			depth--
		case "&&", "||":
			after = true
		}
		if name, _, _ := strings.Cut(word, "="); isAssignment(word) && depth > 0 {
			out = append(out, name)
		} else if isAssignment(word) && after {
			conditional = append(conditional, name)
		}
		if ends {
			out = append(out, conditional...)
			conditional = nil
			after = false
		}
	}
	return out
}

// withVariables returns the component with the variables that a script's arguments hold expanded, and
// with all variables that it is started with: those of env and those that its command line sets.
func (r recognized) withVariables(env map[string]string) (recognized, map[string]string) {
	all := maps.Clone(env)
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range r.assigned {
		all[name] = expandShell(value, env)
	}
	for _, name := range r.unsure {
		delete(all, name)
	}
	if r.script {
		args := make(arguments, 0, len(r.args))
		for _, arg := range r.args {
			text := expandShell(arg, all)
			// A shell splits the value of a variable that is a word of its own: $FLAGS.
			if name, rest := shellName(strings.TrimPrefix(arg, "$")); name != "" && rest == "" && strings.HasPrefix(arg, "$") {
				args = append(args, splitWords(text)...)
				continue
			}
			args = append(args, text)
		}
		r.args = args
	}
	return r, all
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

// hasVariable reports whether an argument holds something that a shell or the kubelet replaces by a
// value that is not known.
func (r recognized) hasVariable() bool {
	return slices.ContainsFunc(r.args, func(a string) bool {
		return strings.Contains(a, "$(") || r.script && strings.ContainsAny(a, "$`")
	})
}
