package inventory

import (
	"path"
	"slices"
	"strings"
)

// thenRun stands between commands that are run one after the other, as in a shell.
const thenRun = " && "

// PartOption is the argument with which the command renews the certificate's part.
func (i Issuer) PartOption() string {
	if i.Kind == RestartCommand {
		return "--cert=" + i.Part
	}
	return "--service=" + i.Part
}

// UnitCommandOf returns the command that renews those certificates that a command renews; empty:
// it renews none of them. That of UnitCommand gets an argument for each of their parts: the flag
// is repeated, since not every version of the programs splits its value at commas. That of
// RestartCommand renews one part, and is run for each of them.
func UnitCommandOf(certificates []Certificate) string {
	command := ""
	kind := NoIssuer
	var options []string
	for _, c := range certificates {
		if c.Issuer.IsByCommand() {
			command = c.Issuer.Command
			kind = c.Issuer.Kind
			options = append(options, " "+c.Issuer.PartOption())
		}
	}
	slices.Sort(options)
	options = slices.Compact(options)
	if kind == RestartCommand {
		return command + strings.Join(options, thenRun+command)
	}
	return command + strings.Join(options, "")
}

// SplitCommands returns the programs with their arguments that a command of UnitCommandOf runs one
// after the other.
func SplitCommands(command string) [][]string {
	var out [][]string
	for one := range strings.SplitSeq(command, thenRun) {
		out = append(out, strings.Fields(one))
	}
	return out
}

// CommandName is a command without its program's directory and without its flags, as people
// know it: "rke2 certificate rotate".
func CommandName(command string) string {
	words := SplitCommands(command)[0]
	if len(words) == 0 {
		return ""
	}
	words[0] = path.Base(words[0])
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }), " ")
}
