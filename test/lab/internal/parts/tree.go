package parts

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
)

const suite = "bookworm"

// nodePackages is what a node has besides Debian's minimum: what the kubelet
// and the container runtime call, and what tests inspect a node with.
var nodePackages = []string{
	"systemd", "systemd-sysv", "dbus", "udev", "iproute2", "iptables", "nftables", "conntrack", "ethtool", "socat",
	"kmod", "procps", "runc", "containernetworking-plugins", "ca-certificates", "openssh-server", "sudo", "openssl",
	"util-linux", "iputils-ping", "curl", "jq", "strace", "lsof",
}

// tree makes the Debian system that every node starts from.
func (c Cache) tree() (string, error) {
	return c.part("tree", keyOf("1", suite, strings.Join(nodePackages, ",")), func(dir string) error {
		args := []string{"--variant=minbase", "--include=" + strings.Join(nodePackages, ","), suite, dir}
		if mirror := debianMirror(); mirror != "" {
			args = append(args, mirror)
		}
		cmd := exec.Command("debootstrap", args...)
		cmd.Stdout, cmd.Stderr = c.Log, c.Log
		if err := cmd.Run(); err != nil {
			return hint.AddTo(fmt.Errorf("debootstrap: %w", err), "its log is %s", filepath.Join(dir, "debootstrap/debootstrap.log"))
		}
		// What must not be the same on two nodes, and what only takes space.
		for _, path := range []string{"etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf"} {
			_ = os.Remove(filepath.Join(dir, path))
		}
		archives, _ := filepath.Glob(filepath.Join(dir, "var/cache/apt/archives/*.deb"))
		for _, archive := range archives {
			_ = os.Remove(archive)
		}
		return nil
	})
}

// debianMirror is the archive that the host's own apt uses, which can surely
// be reached; empty leaves the choice to debootstrap.
func debianMirror() string {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, file := range append([]string{"/etc/apt/sources.list"}, files...) {
		data, _ := os.ReadFile(file)
		if mirror := mirrorIn(string(data)); mirror != "" {
			return mirror
		}
	}
	return ""
}

// mirrorIn finds the first archive with Debian's packages in a sources file of
// either format.
func mirrorIn(text string) string {
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || (fields[0] != "deb" && fields[0] != "URIs:") {
			continue
		}
		for _, field := range fields[1:] {
			if strings.HasPrefix(field, "http") && strings.HasSuffix(strings.TrimSuffix(field, "/"), "/debian") {
				return field
			}
		}
	}
	return ""
}
