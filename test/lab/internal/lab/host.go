package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/cgroup"
)

// tools are the programs that the host must have, and Debian's packages with
// them.
var tools = []struct{ program, pkg string }{
	{"systemd-nspawn", "systemd-container"},
	{"debootstrap", "debootstrap"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"iptables", "iptables"},
	{"ssh", "openssh-client"},
}

// CheckHost reports in one message everything that the host lacks. With install
// it first installs the missing packages where apt-get can.
func CheckHost(install bool, log func(format string, args ...any)) error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("a lab needs Linux, this is %s", runtime.GOOS)
	}
	var lacks []string
	if os.Geteuid() != 0 {
		lacks = append(lacks, "to run as root")
		install = false
	}
	if _, err := cgroup.Hierarchies(); err != nil {
		lacks = append(lacks, "control groups mounted under /sys/fs/cgroup")
	}
	if data, _ := os.ReadFile("/proc/filesystems"); !bytes.Contains(data, []byte("\toverlay\n")) {
		// Where it is a module, mounting loads it.
		if exec.Command("modprobe", "overlay").Run() != nil {
			lacks = append(lacks, "the overlay file system in the kernel")
		}
	}
	if packages := missingPackages(); len(packages) > 0 && install {
		if _, err := exec.LookPath("apt-get"); err == nil {
			log("installing %s", strings.Join(packages, " "))
			if err := aptInstall(packages); err != nil {
				return err
			}
		}
	}
	if packages := missingPackages(); len(packages) > 0 {
		lacks = append(lacks, "Debian's packages "+strings.Join(packages, ", "))
	}
	if _, err := exec.LookPath("go"); err != nil {
		lacks = append(lacks, "the Go toolchain on the PATH")
	}
	if len(lacks) > 0 {
		return fmt.Errorf("this host cannot run a lab, it lacks: %s", strings.Join(lacks, "; "))
	}
	return nil
}

func missingPackages() []string {
	var packages []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.program); err != nil {
			packages = append(packages, tool.pkg)
		}
	}
	return packages
}

func aptInstall(packages []string) error {
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(string(out), 20))
		}
	}
	return nil
}

func hostHasCgroupV1() bool { return cgroup.V1() }

// hostRaisesLimits reports whether processes here may raise resource limits and
// out-of-memory scores, which the kubelet takes for granted otherwise.
func hostRaisesLimits() bool {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return false
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && mask&(1<<unix.CAP_SYS_RESOURCE) != 0
		}
	}
	return false
}
