package layout

import (
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// hyperkubeNames are the short names that multi-call binaries know components by.
var hyperkubeNames = map[string]certs.Service{
	"apiserver":          certs.KubeAPIServer,
	"controller-manager": certs.KubeControllerManager,
	"scheduler":          certs.KubeScheduler,
	"proxy":              certs.KubeProxy,
}

// bundled are programs that hold whole clusters in one process, and what their
// users can do instead.
var bundled = map[string]string{
	"k3s":      `K3s runs every component in one process and keeps their certificates itself; use "k3s certificate rotate"`,
	"kubelite": `MicroK8s runs every component in one process; use "microk8s refresh-certs"`,
}

// recognised is what a command line says it is.
type recognised struct {
	service certs.Service
	args    arguments
	direct  bool // the component itself, not a wrapper that names it
}

// recognise finds the component in a command line: by the base name of its first
// word, by its second word in a multi-call binary or behind a wrapper, or within
// the script of a shell.
func recognise(argv []string) (recognised, bool) {
	if len(argv) == 0 {
		return recognised{}, false
	}
	first := base(argv[0])
	if s, ok := serviceNamed(first); ok {
		return recognised{s, argv[1:], true}, true
	}
	if len(argv) < 2 {
		return recognised{}, false
	}
	if isShell(first) {
		return recogniseScript(argv[1:])
	}
	second := base(argv[1])
	if s, ok := serviceNamed(second); ok && hasFlag(argv[2:]) {
		return recognised{s, argv[2:], false}, true
	}
	if s, ok := hyperkubeNames[second]; ok && first == "hyperkube" {
		return recognised{s, argv[2:], true}, true
	}
	return recognised{}, false
}

// recogniseScript looks into `sh -c "exec kube-apiserver --flag … >>log"`.
func recogniseScript(args []string) (recognised, bool) {
	i := slices.Index(args, "-c")
	if i < 0 || i+1 >= len(args) {
		return recognised{}, false
	}
	words := splitWords(args[i+1])
	for j, w := range words {
		s, ok := serviceNamed(base(w))
		if !ok || !hasFlag(words[j+1:]) {
			continue
		}
		rest := words[j+1:]
		if end := slices.IndexFunc(rest, shellOperator); end >= 0 {
			rest = rest[:end]
		}
		return recognised{s, rest, false}, true
	}
	return recognised{}, false
}

// shellOperator says whether a word of a script ends a command's arguments.
func shellOperator(w string) bool {
	return strings.ContainsAny(w, "|;&<>") && !strings.HasPrefix(w, "-")
}

func isShell(name string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "ash"}, name)
}

func hasFlag(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
}

// serviceNamed maps a program's name to its service; "admin" is no program.
func serviceNamed(name string) (certs.Service, bool) {
	s := certs.Service(name)
	return s, s != certs.Admin && slices.Contains(certs.Services(), s)
}

// base is a program's name: without directories, and without the rest of a
// command line that some programs write over their own first word.
func base(word string) string {
	word, _, _ = strings.Cut(word, " ")
	return path.Base(word)
}
