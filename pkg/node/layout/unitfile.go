package layout

import (
	"cmp"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// unitDirs are systemd's directories of system units, the first takes precedence.
var unitDirs = []string{
	"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system", "/lib/systemd/system",
}

// assignment is one "Name=value" line of a unit file.
type assignment struct{ section, name, value string }

// parseUnit reads a unit file. Unlike systemd it reports no errors: an invalid line is skipped.
// (go-systemd's parser refuses lines over 2 KiB, which an API server's command line easily
// has.)
func parseUnit(data string) []assignment {
	var out []assignment
	section := ""
	pending := ""
	for line := range strings.SplitSeq(data, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && (line[0] == '#' || line[0] == ';') {
			continue // also between continued lines
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			pending += before + " "
			continue
		}
		line = strings.TrimSpace(pending + line)
		pending = ""
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			out = append(out, assignment{section, strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return out
}

// unit holds the relevant settings of a service unit with its drop-ins.
type unit struct {
	name      string   // "kubelet.service"
	path      string   // of its main file
	execStart []string // command lines as written
	execPre   []string // those of ExecStartPre, such as one that copies a file
	execPost  []string // those of ExecStartPost
	env       map[string]string
	workDir   string
	killMode  string // as written; empty: systemd's default, control-group
	// loaded are the credentials of LoadCredential, credentials their files, by the names that the
	// service has them under, and mounts those of BindPaths and BindReadOnlyPaths.
	loaded      []credential
	credentials []mount
	mounts      []mount
	unitPaths
	grace  int64 // TimeoutStopSec in seconds; 0: not set, or no limit
	preset bool  // comes with a package: counts only where it is enabled
}

// loadUnit reads a unit and its drop-ins; false where there is none, or where it is
// masked.
func loadUnit(root hostfs.Root, name string) (*unit, bool) {
	u := &unit{name: name, env: map[string]string{}}
	template, instance := splitInstance(name)
	var lines []assignment
	for _, file := range []string{name, template} {
		for _, dir := range unitDirs {
			p := path.Join(dir, file)
			if isMasked(root, p) {
				return nil, false
			}
			data, err := root.ReadFile(p)
			if err != nil {
				continue
			}
			u.path = p
			u.preset = dir != unitDirs[0] && dir != unitDirs[1]
			lines = parseUnit(string(data))
			break
		}
		if u.path != "" {
			break
		}
	}
	if u.path == "" {
		return nil, false
	}
	for _, p := range dropIns(root, name) {
		if data, err := root.ReadFile(p); err == nil {
			lines = append(lines, parseUnit(string(data))...)
		}
	}
	u.applyAll(root, lines, instance)
	return u, true
}

// isMasked reports whether a unit file is a link to /dev/null. Only the link is read: a node
// pod need not see the host's devices.
func isMasked(root hostfs.Root, file string) bool {
	local, err := root.LocalNoFollow(file)
	if err != nil {
		return false
	}
	target, err := os.Readlink(local)
	return err == nil && target == "/dev/null"
}

// applyAll evaluates the assignments in order; an empty value resets a list.
func (u *unit) applyAll(root hostfs.Root, lines []assignment, instance string) {
	var files []string
	for _, l := range lines {
		if l.section != "Service" {
			continue
		}
		value := expandSpecifiers(root, l.value, u.name, instance)
		switch l.name {
		case "ExecStart":
			u.execStart = addToList(u.execStart, value)
		case "ExecStartPre":
			u.execPre = addToList(u.execPre, value)
		case "ExecStartPost":
			u.execPost = addToList(u.execPost, value)
		case "Environment":
			if value == "" {
				clear(u.env)
			}
			for _, w := range splitWords(value) {
				if k, v, ok := strings.Cut(w, "="); ok {
					u.env[k] = v
				}
			}
		case "EnvironmentFile":
			files = addToList(files, strings.TrimPrefix(value, "-"))
		case "LoadCredential", "LoadCredentialEncrypted":
			if value == "" {
				u.loaded = nil
			} else {
				u.loaded = append(u.loaded, parseCredential(value, l.name != "LoadCredential"))
			}
		case "BindPaths", "BindReadOnlyPaths":
			if value == "" {
				u.mounts = nil
			}
			u.mounts = append(u.mounts, bindMounts(value)...)
		case "TimeoutStopSec", "TimeoutSec":
			u.grace = unitSeconds(value)
		case "KillMode":
			u.killMode = value
		case "WorkingDirectory":
			u.workDir = strings.TrimPrefix(value, "-")
		default:
			u.applyPath(l.name, value)
		}
	}
	// Files take precedence over Environment=, in any order in the unit.
	for _, f := range matchingFiles(root, files) {
		if data, err := root.ReadFile(f); err == nil {
			maps.Copy(u.env, parseEnvFile(string(data)))
		}
	}
	u.completePaths(root)
}

// addToList adds a value to a list; an empty value resets the list.
func addToList(list []string, value string) []string {
	if value == "" {
		return nil
	}
	return append(list, value)
}

// commandsBeside are the command lines that run before and after ExecStart's.
func (u *unit) commandsBeside() []string { return slices.Concat(u.execPre, u.execPost) }

// expandedCommands are the command lines that the unit starts, expanded.
func (u *unit) expandedCommands() [][]string { return u.expand(u.execStart) }

// expand splits command lines into words, with the unit's variables. A word ";" separates commands.
func (u *unit) expand(lines []string) [][]string {
	var out [][]string
	for _, line := range lines {
		for _, words := range splitCommands(lexWords(line)) {
			if argv := u.expandCommand(words); len(argv) > 0 {
				out = append(out, argv)
			}
		}
	}
	return out
}

// expandCommand evaluates the prefixes of systemd.service(5): with ":" variables are not replaced,
// with "@" the second word is the name that the process shows.
func (u *unit) expandCommand(words []word) []string {
	if len(words) == 0 {
		return nil
	}
	words = slices.Clone(words)
	program := strings.TrimLeft(words[0].text, "-@:+!|")
	prefixes := strings.TrimSuffix(words[0].text, program)
	words[0].text = program
	if strings.Contains(prefixes, "@") && len(words) > 1 {
		words = slices.Delete(words, 1, 2)
	}
	if strings.Contains(prefixes, ":") {
		out := make([]string, 0, len(words))
		for _, w := range words {
			out = append(out, w.text)
		}
		return out
	}
	return expandUnit(words, u.env)
}

// splitCommands splits words at those that are just ";", neither quoted nor escaped.
func splitCommands(words []word) [][]word {
	out := [][]word{nil}
	for _, w := range words {
		if w.text == ";" && !w.quoted {
			out = append(out, nil)
			continue
		}
		out[len(out)-1] = append(out[len(out)-1], w)
	}
	return out
}

// splitInstance takes "etcd@a.service" apart: its template "etcd@.service" and "a".
func splitInstance(name string) (template, instance string) {
	stem, ok := strings.CutSuffix(name, ".service")
	if !ok {
		return "", ""
	}
	prefix, instance, ok := strings.Cut(stem, "@")
	if !ok {
		return "", ""
	}
	return prefix + "@.service", instance
}

// bindMounts reads "source:destination:options", repeated; the destination is the source
// where it is not given.
func bindMounts(value string) []mount {
	var out []mount
	for _, word := range splitWords(value) {
		source, rest, _ := strings.Cut(strings.TrimPrefix(word, "-"), ":")
		destination, _, _ := strings.Cut(rest, ":")
		destination = cmp.Or(destination, source)
		if path.IsAbs(source) && path.IsAbs(destination) {
			out = append(out, mount{host: path.Clean(source), container: path.Clean(destination)})
		}
	}
	return out
}
