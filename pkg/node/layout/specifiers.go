package layout

import (
	"strconv"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// expandSpecifiers replaces the specifiers that occur in command lines, with their values for units of
// the system: the user is that of the manager, root, whatever User= has.
func expandSpecifiers(root hostfs.Root, value, name, instance string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	stem := strings.TrimSuffix(name, ".service")
	host := firstLineOf(root, "/proc/sys/kernel/hostname", "/etc/hostname")
	short, _, _ := strings.Cut(host, ".")
	return strings.NewReplacer("%%", "%", "%i", instance, "%I", unescapeInstance(instance), "%n", name, "%N", stem, "%p", strings.TrimSuffix(stem, "@"+instance),
		"%h", "/root", "%u", "root", "%U", "0", "%t", "/run", "%S", "/var/lib", "%C", "/var/cache", "%L", "/var/log", "%E", "/etc", "%T", "/tmp", "%V", "/var/tmp",
		"%d", "/run/credentials/"+name, "%H", host, "%l", short, "%m", firstLineOf(root, "/etc/machine-id")).Replace(value)
}

// unescapeInstance is the inverse of systemd-escape: "-" is a slash, and "\x2d" a dash.
func unescapeInstance(instance string) string {
	var b strings.Builder
	for i := 0; i < len(instance); i++ {
		code, isHex := strings.CutPrefix(instance[i:], `\x`)
		switch {
		case instance[i] == '-':
			b.WriteByte('/')
		case isHex && len(code) >= 2:
			value, err := strconv.ParseUint(code[:2], 16, 8)
			if err != nil {
				b.WriteByte(instance[i])
				continue
			}
			b.WriteByte(byte(value))
			i += len(`x2d`)
		default:
			b.WriteByte(instance[i])
		}
	}
	return b.String()
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
