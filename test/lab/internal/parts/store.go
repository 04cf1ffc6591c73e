package parts

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// store makes a containerd directory that has the images imported already. A
// node gets a copy of it that shares the files, which takes a second instead
// of the minute that importing on every node would, and hardly any space.
func (c Cache) store(p Parts) (string, error) {
	key := keyOf("1", filepath.Base(p.Images), filepath.Base(p.Containerd))
	return c.part("store", key, func(dir string) error {
		scratch, err := os.MkdirTemp("", "rotate-certs-lab-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		return c.importImages(p, dir, scratch)
	})
}

// importImages runs containerd on the host for as long as the import takes.
// It starts no container, and everything it writes is below the two
// directories.
func (c Cache) importImages(p Parts, root, scratch string) error {
	socket := filepath.Join(scratch, "containerd.sock")
	config := filepath.Join(scratch, "config.toml")
	text := fmt.Sprintf(`version = 3
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[ttrpc]
  address = %q
`, root, filepath.Join(scratch, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	bin := filepath.Join(p.Containerd, "usr/bin")
	var log bytes.Buffer
	daemon := exec.Command(filepath.Join(bin, "containerd"), "--config", config)
	daemon.Stdout, daemon.Stderr = &log, &log
	// It must not outlive this program.
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	err := importInto(filepath.Join(bin, "ctr"), socket, filepath.Join(p.Images, "images.tar"))
	_ = daemon.Process.Signal(syscall.SIGTERM)
	_ = daemon.Wait()
	if err != nil {
		return fmt.Errorf("%w\ncontainerd says:\n%s", err, log.String())
	}
	return nil
}

func importInto(ctr, socket, archive string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, err := exec.Command(ctr, "--address", socket, "version").CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer: %w: %s", err, out)
		}
		time.Sleep(100 * time.Millisecond)
	}
	out, err := exec.Command(ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %q: %w: %s", archive, err, out)
	}
	return nil
}

// CopyStore makes dir a containerd directory with the content of store. Files
// that containerd never changes once written are shared as hard links; its
// databases are copied.
func CopyStore(store, dir string) error {
	if out, err := exec.Command("cp", "--archive", "--link", store+"/.", dir).CombinedOutput(); err != nil {
		if !strings.Contains(string(out), "cross-device") {
			return fmt.Errorf("copy image store to %q: %w: %s", dir, err, out)
		}
		out, err = exec.Command("cp", "--archive", "--force", store+"/.", dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy image store to %q: %w: %s", dir, err, out)
		}
		return nil
	}
	databases, err := filepath.Glob(filepath.Join(dir, "*", "*.db"))
	if err != nil {
		return err
	}
	for _, database := range databases {
		data, err := os.ReadFile(database)
		if err != nil {
			return fmt.Errorf("copy image store to %q: %w", dir, err)
		}
		if err := os.Remove(database); err != nil {
			return fmt.Errorf("copy image store to %q: %w", dir, err)
		}
		if err := os.WriteFile(database, data, 0o600); err != nil {
			return fmt.Errorf("copy image store to %q: %w", dir, err)
		}
	}
	return nil
}
