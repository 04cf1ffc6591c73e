package layout

import (
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// wrapper describes the command line of a program that starts another one.
type wrapper struct {
	// valued are its options whose value may be the next word, without dashes.
	valued []string
	// operands is the number of words without dashes before the command.
	operands int
	// script are its options whose value is a script for a shell, without dashes.
	script []string
}

// wrappers are the programs that components are started behind, as their manuals
// describe them. Those of Kubernetes' own images are go-runner and kube-log-runner
// (k8s.io/component-base/logs/kube-log-runner).
var wrappers = map[string]wrapper{
	"go-runner":       {valued: []string{"log-file", "log-file-size", "log-file-age", "flush-interval"}},
	"kube-log-runner": {valued: []string{"log-file", "log-file-size", "log-file-age", "flush-interval"}},
	"tini":            {valued: []string{"p", "e"}},
	"tini-static":     {valued: []string{"p", "e"}},
	"docker-init":     {valued: []string{"p", "e"}},
	"dumb-init":       {valued: []string{"r", "rewrite"}},
	"catatonit":       {},
	"nice":            {valued: []string{"n", "adjustment"}},
	"ionice":          {valued: []string{"c", "class", "n", "classdata"}},
	"numactl": {valued: []string{"i", "interleave", "p", "preferred", "P", "preferred-many", "m", "membind", "N", "cpunodebind",
		"C", "physcpubind", "w", "weighted-interleave"}},
	"taskset":        {operands: 1},
	"chrt":           {valued: []string{"T", "sched-runtime", "P", "sched-period", "D", "sched-deadline"}, operands: 1},
	"env":            {valued: []string{"u", "unset", "C", "chdir"}},
	"stdbuf":         {valued: []string{"i", "input", "o", "output", "e", "error"}},
	"setpriv":        {valued: []string{"ambient-caps", "inh-caps", "bounding-set", "ruid", "euid", "reuid", "rgid", "egid", "regid", "groups", "securebits", "pdeathsig", "selinux-label", "apparmor-profile"}},
	"su-exec":        {operands: 1},
	"gosu":           {operands: 1},
	"setuidgid":      {operands: 1},
	"s6-setuidgid":   {operands: 1},
	"s6-envuidgid":   {operands: 1},
	"s6-applyuidgid": {valued: []string{"u", "g", "G"}},
	"chpst":          {valued: []string{"u", "U", "b", "e", "/", "C", "n", "l", "L", "m", "d", "o", "p", "f", "c", "r", "t"}},
	"busybox":        {},
	"flock":          {valued: []string{"E", "conflict-exit-code", "w", "wait", "timeout"}, operands: 1, script: []string{"c", "command"}},
	"faketime":       {operands: 1},
	"strace": {valued: []string{"e", "o", "output", "p", "attach", "s", "string-limit", "u", "user", "E", "env", "a", "columns", "b", "detach-on",
		"I", "interruptible", "O", "S", "summary-sort-by", "U", "summary-columns", "P", "trace-path", "X", "const-print-style"}},
	"chroot":          {operands: 1},
	"nohup":           {},
	"setsid":          {},
	"exec":            {valued: []string{"a"}},
	"timeout":         {valued: []string{"s", "signal", "k", "kill-after"}, operands: 1},
	"prlimit":         {valued: []string{"p", "pid", "o", "output"}},
	"choom":           {valued: []string{"n", "adjust"}},
	"runuser":         {valued: []string{"u", "user", "g", "group", "G", "supp-group"}, script: []string{"c", "command"}},
	"sudo":            {valued: []string{"u", "user", "g", "group", "h", "host", "p", "prompt", "C", "close-from", "D", "chdir", "R", "chroot", "r", "role", "t", "type"}},
	"unshare":         {valued: []string{"S", "setuid", "G", "setgid", "R", "root", "w", "wd"}},
	"nsenter":         {valued: []string{"t", "target", "S", "setuid", "G", "setgid"}},
	"cgexec":          {valued: []string{"g"}},
	"systemd-cat":     {valued: []string{"t", "identifier", "p", "priority", "stderr-priority", "level-prefix"}},
	"systemd-inhibit": {valued: []string{"what", "who", "why", "mode"}},
	"systemd-run": {valued: []string{"u", "unit", "p", "property", "description", "slice", "E", "setenv", "uid", "gid", "nice",
		"working-directory", "d", "service-type", "M", "machine", "H", "host", "on-active", "on-boot", "on-calendar"}},
}

// behindWrapper returns the command that a known wrapper's command line starts: the words after
// its options, its operands and, for env, its assignments.
func behindWrapper(argv []string) ([]string, bool) {
	w, known := wrappers[programName(argv[0])]
	if !known {
		return nil, false
	}
	operands := w.operands
	rest := argv[1:]
	for len(rest) > 0 {
		word := rest[0]
		name := strings.TrimLeft(word, "-")
		switch {
		case word == "--":
			rest = rest[1:]
			return rest[min(operands, len(rest)):], true
		case operands > 0 && strings.HasPrefix(word, "-") && name != "" && name[0] >= '0' && name[0] <= '9':
			operands-- // a time in the past: faketime -1d
			rest = rest[1:]
		case strings.HasPrefix(word, "-") && slices.Contains(w.script, name):
			return append([]string{"sh", "-c"}, rest[1:]...), true
		case strings.HasPrefix(word, "-") && name != "":
			name, value, _ := strings.Cut(name, "=")
			rest = rest[1:]
			if !strings.Contains(word, "=") && value == "" && slices.Contains(w.valued, name) && len(rest) > 0 {
				rest = rest[1:]
			}
		case isAssignment(word):
			rest = rest[1:]
		case operands > 0:
			operands--
			rest = rest[1:]
		default:
			return rest, true
		}
	}
	return nil, true
}

// isAssignment reports whether a word sets a variable: NAME=value.
func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && isName(name)
}

// distinctive lists flags that a component's command line has, and that of a program which
// merely mentions the component's name has not.
var distinctive = map[certs.Service][]string{
	certs.Etcd: {"name", "data-dir", "wal-dir", "config-file", "cert-file", "peer-cert-file", "listen-client-urls", "listen-peer-urls",
		"initial-cluster", "advertise-client-urls", "auto-tls", "trusted-ca-file"},
	certs.KubeAPIServer: {"etcd-servers", "tls-cert-file", "client-ca-file", "service-cluster-ip-range", "secure-port", "authorization-mode",
		"service-account-issuer", "service-account-key-file", "advertise-address", "bind-address", "cert-dir"},
	certs.KubeControllerManager: {"kubeconfig", "cluster-signing-cert-file", "leader-elect", "root-ca-file", "service-account-private-key-file",
		"controllers", "cluster-cidr", "use-service-account-credentials", "master", "config", "bind-address"},
	certs.KubeScheduler: {"kubeconfig", "config", "leader-elect", "authentication-kubeconfig", "master", "bind-address"},
	certs.KubeProxy:     {"config", "kubeconfig", "cluster-cidr", "hostname-override", "proxy-mode", "master"},
	certs.Kubelet: {"config", "kubeconfig", "bootstrap-kubeconfig", "node-ip", "hostname-override", "cert-dir", "root-dir", "config-dir",
		"container-runtime-endpoint", "pod-manifest-path", "node-labels"},
}

// clients start or reach a component in a container or on another machine. The
// component is a process of its own there, if it is on this node at all.
var clients = []string{"docker", "podman", "nerdctl", "ctr", "crictl", "runc", "crun", "conmon", "containerd-shim", "kubectl", "ssh", "journalctl"}

// behindUnknown finds a component's command in that of a program which is not known as
// a wrapper: named by its path, after "--" or, in a command line of its own, as the
// second word, and followed by flags that the component has.
func behindUnknown(argv []string, whole bool) (recognized, bool) {
	if slices.Contains(clients, programName(argv[0])) {
		return recognized{}, false
	}
	for i := 1; i < len(argv); i++ {
		if !(i == 1 && whole) && !path.IsAbs(argv[i]) && argv[i-1] != "--" {
			continue
		}
		s, ok := serviceNamed(programName(argv[i]))
		rest := arguments(argv[i+1:])
		if ok && isComponent(s, rest) && slices.ContainsFunc(distinctive[s], func(f string) bool { _, set := rest.lookupFlag(f); return set }) {
			return recognized{service: s, args: rest}, true
		}
	}
	return recognized{}, false
}
