package rotate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// RecoveryUnit undoes an interrupted commit when the node boots. A power cut between two
// renames can leave a single control plane unable to start. No pod can be started then to fix
// it.
const RecoveryUnit = "rotate-certs-recover.service"

const (
	kubeletUnit = "kubelet.service"
	unitFile    = plan.UnitDirectory + "/" + RecoveryUnit
	unitLink    = plan.UnitDirectory + "/multi-user.target.wants/" + RecoveryUnit
	// keptProgram is the copy of this program that the unit runs.
	keptProgram = statedir.HostPath + "/bin/rotate-certs-node"
	// systemdRuns exists where systemd is the init system, see sd_booted(3).
	systemdRuns = "/run/systemd/system"
	// modelProgram is a program of the host whose SELinux label lets systemd run it.
	modelProgram = "/usr/bin/env"
	selinuxLabel = "security.selinux"
)

// installRecovery installs the recovery unit, durably. missing is the reason where the node
// cannot have one; an error means that a possible installation failed.
func (s *session) installRecovery(t *transaction) (unguarded string, err error) {
	if t.Unit != "" {
		return fmt.Sprintf("%s makes the new ones at its start", t.Unit), nil
	}
	if s.Program == "" {
		return "", nil
	}
	if info, err := s.Root.Stat(systemdRuns); err != nil || !info.IsDir() {
		return "without a recovery unit: no systemd runs on this node", nil
	}
	err = s.writeRecoveryUnit(t)
	if errors.Is(err, unix.EROFS) {
		return fmt.Sprintf("without a recovery unit: %v", err), s.removeRecovery()
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("install recovery unit: %w", err), s.removeRecovery())
	}
	return "", nil
}

// keepProgram writes the copy of this program that the recovery unit runs, unless it is there.
// Staging does it as well, since the durable write of some 30 MB takes a while and nothing is
// interrupted yet.
func (s *session) keepProgram() error {
	program, err := os.ReadFile(s.Program)
	if err != nil {
		return err
	}
	local, err := s.Root.LocalNoFollow(keptProgram)
	if err != nil {
		return err
	}
	if err := statedir.MkdirAll(filepath.Dir(local)); err != nil {
		return err
	}
	if there, err := os.ReadFile(local); err != nil || !bytes.Equal(there, program) {
		if err := store.WriteFile(local, program, 0o700); err != nil {
			return err
		}
	}
	s.labelProgram(local)
	return nil
}

// writeRecoveryUnit writes the program first and the link last: an enabled unit is complete.
func (s *session) writeRecoveryUnit(t *transaction) error {
	if err := s.keepProgram(); err != nil {
		return err
	}
	local, err := s.Root.LocalNoFollow(unitFile)
	if err != nil {
		return err
	}
	if err := store.WriteFile(local, recoveryUnit(t), 0o644); err != nil {
		return err
	}
	if local, err = s.Root.LocalNoFollow(unitLink); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Dir(local), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as systemd makes it
		return err
	}
	if err := os.Symlink(unitFile, local); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := statedir.SyncDir(filepath.Dir(local)); err != nil {
		return err
	}
	return statedir.SyncDir(filepath.Dir(filepath.Dir(local)))
}

// labelProgram lets systemd run the program where SELinux forbids programs in data directories.
// Best effort: without the label, the unit fails there.
func (s *session) labelProgram(local string) {
	model, err := s.Root.LocalPath(modelProgram)
	if err != nil {
		return
	}
	label := make([]byte, 256)
	if n, err := unix.Lgetxattr(model, selinuxLabel, label); err == nil {
		_ = unix.Lsetxattr(local, selinuxLabel, label[:n], 0)
	}
}

// keepProgramEarly saves time, best effort: the commit tries again and reports the error.
func (s *session) keepProgramEarly() {
	if info, err := s.Root.Stat(systemdRuns); s.Program != "" && err == nil && info.IsDir() {
		_ = s.keepProgram()
	}
}

// removeRecovery removes the recovery unit, in the reverse order.
func (s *session) removeRecovery() error {
	for _, file := range []string{unitLink, unitFile, keptProgram} {
		local, err := s.Root.LocalNoFollow(file)
		if err != nil {
			return err
		}
		if err := store.RemoveFile(local); err != nil {
			return fmt.Errorf("recovery unit: %w", err)
		}
	}
	return nil
}

// plainPath matches paths that need no quoting in a unit file.
var plainPath = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^/[A-Za-z0-9/._+-]*$`)
})

// recoveryUnit is the unit's text. It runs before the kubelet and before every unit that uses
// the certificates which a commit replaces. The kubelet starts everything else.
func recoveryUnit(t *transaction) []byte {
	before := []string{kubeletUnit}
	for _, c := range t.Node.Components {
		if (c.Runtime == inventory.Systemd || c.Runtime == inventory.Docker) && c.Unit != "" {
			before = append(before, c.Unit)
		}
	}
	dirs := []string{statedir.HostPath}
	for _, i := range t.Items {
		dirs = append(dirs, path.Dir(i.Certificate.Store.Cert))
		dirs = append(dirs, i.Certificate.Store.Directories...)
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return !plainPath().MatchString(dir) })
	slices.Sort(before)
	slices.Sort(dirs)
	return fmt.Appendf(nil, `# Certificates of this node are being replaced since %[4]s. If that is
# interrupted, this puts the old ones back, except over what was changed or has expired
# since. It is removed when the replacement is done.
[Unit]
Description=Undo an interrupted rotation of Kubernetes certificates
ConditionPathExists=%[1]s
RequiresMountsFor=%[2]s
Before=%[3]s

[Service]
Type=oneshot
ExecStart=%[1]s recover --boot
TimeoutStartSec=2min

[Install]
WantedBy=multi-user.target
`, keptProgram, strings.Join(slices.Compact(dirs), " "), strings.Join(slices.Compact(before), " "), t.Began.UTC().Format(time.RFC3339))
}
