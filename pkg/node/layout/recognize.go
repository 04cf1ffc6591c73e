package layout

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// hyperkubeNames are the short names that multi-call binaries know components by.
var hyperkubeNames = map[string]certs.Service{
	"apiserver":          certs.KubeAPIServer,
	"controller-manager": certs.KubeControllerManager,
	"scheduler":          certs.KubeScheduler,
	"proxy":              certs.KubeProxy,
}

// bundled maps programs that run all components in one process to the advice for their users.
var bundled = map[string]string{
	"k3s":      `K3s runs every component in one process, and no systemd unit that starts it as root was found; use "k3s certificate rotate"`,
	"kubelite": `MicroK8s runs every component in one process, and no systemd unit of its snap that starts it was found; use "microk8s refresh-certs"`,
}

// recognized is the component of a command line.
type recognized struct {
	service certs.Service
	args    arguments
	direct  bool // the component itself, not a wrapper that names it
	// script: the arguments are those in a script of a shell, which may hold variables.
	script bool
	// opaque: the program that starts it is not known, and the arguments are those of a process.
	opaque bool
	// assigned are the variables that a wrapper or a script sets for the component.
	assigned map[string]string
	// unsure are those of them that a script sets only in some cases.
	unsure []string
	// local are those that only the shell has, and removed those that it has removed.
	local, removed []string
	// own are the assignments before the component's own command, for it only.
	own []string
	// unknown is why its settings cannot be read from its script.
	unknown string
}

// recognizeArgs finds the component in a command line: by the base name of its first word, by
// its second word in a multi-call binary, behind one wrapper or several, or within the script
// of a shell.
func recognizeArgs(argv []string) (recognized, bool) {
	assigned := map[string]string{}
	for depth := 0; depth < maxWrappers && len(argv) > 0; depth++ {
		direct := depth == 0
		first := programName(argv[0])
		if s, ok := serviceNamed(first); ok {
			return recognized{service: s, args: argv[1:], direct: direct, assigned: assigned}, isComponent(s, argv[1:])
		}
		if isShell(first) {
			return recognizeScript(argv[1:], assigned)
		}
		if s, ok := hyperkubeComponent(first, argv[1:]); ok {
			return recognized{service: s, args: argv[2:], direct: direct, assigned: assigned}, true
		}
		command, known := behindWrapper(argv)
		if !known {
			return behindUnknown(argv, direct)
		}
		// A script for a shell ("runuser -c SCRIPT") is a longer command than the words that it is read from.
		assignVariables(assigned, argv[1:max(1, len(argv)-len(command))])
		argv = command
	}
	return recognized{}, false
}

// maxWrappers limits the number of nested wrappers.
const maxWrappers = 8

// hyperkubeComponent is the component that a multi-call binary was started as.
func hyperkubeComponent(program string, args []string) (certs.Service, bool) {
	if len(args) == 0 || !hasName(program, "hyperkube") {
		return "", false
	}
	if s, ok := hyperkubeNames[args[0]]; ok {
		return s, true
	}
	return serviceNamed(args[0])
}

// isComponent reports whether a program with the name of a component was started as it: etcd is
// also a proxy for clients of etcd on other machines, which is no member.
func isComponent(s certs.Service, args []string) bool {
	return s != certs.Etcd || len(args) == 0 || args[0] != "gateway" && args[0] != "grpc-proxy"
}

func isShell(name string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "ash"}, name)
}

func hasFlag(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
}

// build matches the possible suffixes of a program's name beside a version: a platform, or a
// word for one of several.
const build = `(?:[-_.](?:linux|amd64|x86_64|arm64|aarch64|arm|armv7|ppc64le|s390x|real|bin|orig|original|distrib|fips))*`

// versioned matches the possible suffixes of a program's name: a version ("-v1.29.3", "_3.5",
// "-1.30.0-rc.1") and a platform, in either order.
var versioned = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(build + `(?:[-_.@]?v?[0-9]+(?:\.[0-9]+)*(?:[-+._](?:(?:alpha|beta|rc|eks|gke|aks|k3s|rke2r|k0s|vmware|fips|hotfix|build)[-.]?[0-9A-Za-z.]*|[0-9]+|[0-9a-f]{7,40}))*)?` + build + `$`)
})

// serviceNamed maps a program's name, which may have a version, to its service; "admin"
// is no program.
func serviceNamed(name string) (certs.Service, bool) {
	for _, s := range certs.Services() {
		if s != certs.Admin && hasName(name, string(s)) {
			return s, true
		}
	}
	return "", false
}

// hasName reports whether a program has a name, with or without a version.
func hasName(program, name string) bool {
	version, ok := strings.CutPrefix(program, name)
	return ok && (version == "" || versioned().FindString(version) == version)
}

// programName is a program's name: without directories, and without the rest of a
// command line that some programs write over their own first word.
func programName(word string) string {
	word, _, _ = strings.Cut(word, " ")
	return path.Base(word)
}
