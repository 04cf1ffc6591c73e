package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// hostFlags say which machines are reached over ssh, and how.
type hostFlags struct {
	hosts     []string
	hostFile  string
	sshConfig string
	programs  string
}

// hostFlagNames are the names of the flags that addHostFlags adds.
var hostFlagNames = []string{"host", "host-file", "ssh-config", "node-programs"}

func (f *hostFlags) addHostFlags(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringSliceVar(&f.hosts, "host", nil, "Machines to reach over ssh, as [USER@]HOST or a name of your ssh configuration, separated by commas")
	set.StringVar(&f.hostFile, "host-file", "", "File with a machine on each line; lines that begin with # do not count")
	set.StringVar(&f.sshConfig, "ssh-config", "", "Configuration file for ssh instead of your own (ssh -F)")
	set.StringVar(&f.programs, "node-programs", "", "Directory with rotate-certs-node-linux-amd64 and -arm64 (default: where this program is)")
	_ = cmd.MarkFlagFilename("host-file") // fails only for a flag that does not exist
	_ = cmd.MarkFlagFilename("ssh-config")
	_ = cmd.MarkFlagDirname("node-programs")
}

// errNoHost means that no flag names a host.
var errNoHost = errors.New("no host is named")

// nameHosts is the hint of errNoHost.
const nameHosts = "--host [USER@]HOST[,…] or --host-file FILE: all control-plane nodes, and the workers"

// hostOptions returns the options for the hosts that the flags name; none is an error.
func (f *hostFlags) hostOptions() (ssh.Options, error) {
	o := ssh.Options{Addresses: f.hosts, Config: f.sshConfig, Program: f.nodeProgram}
	if f.hostFile != "" {
		more, err := readHosts(f.hostFile)
		if err != nil {
			return o, err
		}
		o.Addresses = append(o.Addresses, more...)
	}
	if len(o.Addresses) == 0 {
		return o, hint.AddTo(errNoHost, nameHosts)
	}
	return o, nil
}

// byteOrderMark is how some editors begin a file.
const byteOrderMark = "\ufeff"

func readHosts(path string) ([]string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("read --host-file: %w", err)
	}
	defer func() { _ = file.Close() }()
	var hosts []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), byteOrderMark)); line != "" && !strings.HasPrefix(line, "#") {
			hosts = append(hosts, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read --host-file: %w", err)
	}
	return hosts, nil
}

// nodeProgram returns the file of the node program for an architecture. Archives of the plugin
// hold one for each beside the plugin itself; a build has one for this machine.
func (f *hostFlags) nodeProgram(arch string) (string, error) {
	dir := f.programs
	if dir == "" {
		own, err := os.Executable()
		if err == nil {
			own, err = filepath.EvalSymlinks(own) // Krew links to it
		}
		if err != nil {
			return "", fmt.Errorf("find this program: %w", err)
		}
		dir = filepath.Dir(own)
	}
	names := []string{"rotate-certs-node-linux-" + arch}
	if runtime.GOOS == "linux" && runtime.GOARCH == arch {
		names = append(names, "rotate-certs-node")
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", hint.AddTo(fmt.Errorf("there is no %q in %q", names[0], dir), "the archive of the release has it; --node-programs names its directory")
}
