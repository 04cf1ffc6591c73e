package layout

import (
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// expandSpecifiers replaces the specifiers that occur in command lines.
func expandSpecifiers(root hostfs.Root, value, name, instance string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	stem := strings.TrimSuffix(name, ".service")
	host := firstLineOf(root, "/proc/sys/kernel/hostname", "/etc/hostname")
	short, _, _ := strings.Cut(host, ".")
	return strings.NewReplacer("%%", "%", "%i", instance, "%I", instance, "%n", name, "%N", stem, "%p", strings.TrimSuffix(stem, "@"+instance),
		"%H", host, "%l", short, "%m", firstLineOf(root, "/etc/machine-id")).Replace(value)
}

// firstLineOf returns the first line of the first file that is there.
func firstLineOf(root hostfs.Root, files ...string) string {
	for _, file := range files {
		if data, err := root.ReadFile(file); err == nil {
			line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
			return line
		}
	}
	return ""
}
