package layout

import (
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// recognizeScript finds the component in `sh -c "exec kube-apiserver --flag … >>log"`. given are the
// variables that the wrappers around the shell set. A script that starts it in several ways is
// recognized as that.
func recognizeScript(args []string, given map[string]string) (recognized, bool) {
	// "-c" may stand together with other options: "-ec", "-lc".
	i := slices.IndexFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c")
	})
	if i < 0 || i+1 >= len(args) {
		return recognized{}, false
	}
	words := withPositional(splitWords(commandsInOneLine(args[i+1])), args[i+2:])
	var found recognized
	state := newShell(given)
	for _, c := range splitScript(words) {
		service, at := c.findComponent()
		switch {
		case at < 0:
			state.runCommand(c.words)
			continue
		case found.service != "" && found.service != service:
			continue
		}
		r := state.startComponent(c.words[:at], c.words[at+1:])
		r.service = service
		r.unsure = append(r.unsure, setInBranches(words[:c.start])...)
		if found.service == "" {
			found = r
		} else if !found.isSame(r) {
			found.unknown = severalTimes
		}
	}
	return found, found.service != ""
}

// command is one command of a script.
type command struct {
	words []string
	start int // its first word among those of the script
}

// splitScript splits the words of a script at the operators between commands.
func splitScript(words []string) []command {
	var out []command
	at := command{}
	end := func(next int) {
		if len(at.words) > 0 {
			out = append(out, at)
		}
		at = command{start: next}
	}
	for i, w := range words {
		word, last := strings.CutSuffix(w, ";")
		if shellOperator(word) && !isAssignment(word) {
			end(i + 1)
			continue
		}
		if word != "" {
			at.words = append(at.words, word)
		}
		if last {
			end(i + 1)
		}
	}
	end(len(words))
	return out
}

// naming are commands that may name a component, or the user or file of one, and do not start it.
var naming = []string{"echo", "printf", "logger", "pgrep", "pkill", "which", "type", "test", "[", "install", "mkdir", "chmod", "chown", "chgrp", "cp", "ln", "rm",
	"useradd", "adduser", "groupadd", "addgroup", "usermod"}

// beforeUser are words before the name of a user or group, or of a file that is tested.
var beforeUser = []string{"-e", "-f", "-r", "-x", "-u", "-g", "-o", "--user", "--group", "su"}

// informing are the flags with which a component prints something and exits.
var informing = []string{"--version", "-version", "--help", "-help", "-h"}

// findComponent returns the component that a command starts, and the place of its name; -1: none.
func (c command) findComponent() (certs.Service, int) {
	for i, w := range c.words {
		if slices.Contains(naming, w) {
			return "", -1
		}
		s, ok := serviceNamed(programName(w))
		if !ok || i > 0 && slices.Contains(beforeUser, c.words[i-1]) {
			continue
		}
		rest := c.words[i+1:]
		informs := slices.ContainsFunc(rest, func(a string) bool {
			flag, _, _ := strings.Cut(a, "=")
			return slices.Contains(informing, flag)
		})
		if hasFlag(rest) && !informs && isComponent(s, rest) {
			return s, i
		}
	}
	return "", -1
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

// shellOperator reports whether a word of a script ends a command's arguments.
func shellOperator(w string) bool {
	return strings.ContainsAny(w, "|;&<>") && !strings.HasPrefix(w, "-")
}

// assignVariables adds the assignments among the words of a wrapper such as env.
func assignVariables(assigned map[string]string, words []string) {
	for _, w := range words {
		if name, value, _ := strings.Cut(w, "="); isAssignment(w) {
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

// hasVariable reports whether an argument holds something that a shell or the kubelet replaces by a
// value that is not known.
func (r recognized) hasVariable() bool {
	return slices.ContainsFunc(r.args, func(a string) bool {
		return strings.Contains(a, "$(") || r.script && strings.ContainsAny(a, "$`")
	})
}
