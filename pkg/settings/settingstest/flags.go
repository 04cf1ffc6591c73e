// Package settingstest reads the flags of components from their help texts.
package settingstest

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// kubernetesFlag is a line of the help of a program of Kubernetes: name, type, description.
	// Switches, numbers and lists name no files.
	kubernetesFlag = regexp.MustCompile(`^\s+(?:-[a-zA-Z], )?--([a-z0-9-]+) (?:string|stringArray|namedCertKey|file)\s+(.*)$`)
	// etcdFlag is a line of etcd's help: name, default. The description follows.
	etcdFlag = regexp.MustCompile(`^\s+--([a-z0-9-]+) '([^']*)'`)

	nameOfInterest  = regexp.MustCompile(`cert|key|kubeconfig|(^|-)ca(-|file|$)|x509|tls|config|file$|-dir$`)
	usageOfInterest = regexp.MustCompile(`(?i)certificate|\bkeys?\b|kubeconfig|x509|\bPEM\b|\bCA\b|\bTLS\b`)
	// noise matches descriptions of keys that are no keys of certificates.
	noise          = regexp.MustCompile(`\(DEPRECATED.*|key[=-]value|<key>|\bkey\b: |HTTP header`)
	switchOrNumber = regexp.MustCompile(`^(true|false|[0-9]+)$`)
	etcdSwitch     = []string{"auto-tls", "peer-auto-tls"} // that make etcd use certificates

	etcdOfInterest = regexp.MustCompile(`cert|key|tls|ca-file|cacert|crl|config-file|auth-token$`)
)

// KubernetesFlags returns, sorted, the flags in the help of a program of Kubernetes that may
// name a file of certificates or keys.
func KubernetesFlags(help string) (out []string) {
	// Of a library that programs have in common only where one binary holds them all.
	library := regexp.MustCompile(`^(boot-id-file|machine-id-file|event-storage-.*)$`)
	for line := range strings.Lines(help) {
		m := kubernetesFlag.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m != nil && !library.MatchString(m[1]) && (nameOfInterest.MatchString(m[1]) || usageOfInterest.MatchString(noise.ReplaceAllString(m[2], ""))) {
			out = append(out, m[1])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// EtcdFlags is [KubernetesFlags] for etcd.
func EtcdFlags(help string) (out []string) {
	for line := range strings.Lines(help) {
		m := etcdFlag.FindStringSubmatch(line)
		if m == nil || !etcdOfInterest.MatchString(m[1]) {
			continue
		}
		if !switchOrNumber.MatchString(m[2]) || slices.Contains(etcdSwitch, m[1]) {
			out = append(out, m[1])
		}
	}
	if strings.Contains(help, "--config-file") { // in the first lines, which have another form
		out = append(out, "config-file")
	}
	slices.Sort(out)
	return slices.Compact(out)
}
