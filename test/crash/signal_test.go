//go:build linux

package crash

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestSignalsDoNotCutACommit loses the terminal, or what reads the program's output, in
// the middle of a commit. The output's pipe holds so little that the program waits for its
// reader before it has ended the commit.
func TestSignalsDoNotCutACommit(t *testing.T) {
	f := newFixture(t, scenes[0], build(t).node)
	for name, lose := range map[string]func(p *os.Process, out *os.File) error{
		"the terminal goes": func(p *os.Process, _ *os.File) error { return p.Signal(syscall.SIGHUP) },
		"the reader goes":   func(_ *os.Process, out *os.File) error { return out.Close() },
		"Ctrl-C, again and again": func(p *os.Process, _ *os.File) error {
			return errors.Join(p.Signal(os.Interrupt), p.Signal(os.Interrupt))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "node")
			check(t, f.copyTo(root))
			argv := append(f.rotate(root), "-o", "json")
			cmd := exec.Command(argv[0], argv[1:]...)
			out, in, err := os.Pipe()
			check(t, err)
			_, err = unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
			check(t, err)
			cmd.Stdout = in
			check(t, cmd.Start())
			check(t, in.Close())
			// One byte at a time: a larger buffer would empty the pipe.
			reader := bufio.NewReaderSize(out, 16)
			for line := ""; !strings.Contains(line, `"kind":"Committing"`); {
				line, err = reader.ReadString('\n')
				check(t, err)
			}
			check(t, lose(cmd.Process, out))
			for err == nil {
				_, err = reader.ReadString('\n')
			}
			check(t, cmd.Wait())
			state, problems := f.verify(t, root)
			if state != inventory.Finished && state != inventory.Committed {
				t.Errorf("it ended as %q", state)
			}
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}

// TestHangUpBeforeTheCommit ends the work in good order while nothing is changed yet.
func TestHangUpBeforeTheCommit(t *testing.T) {
	f := newFixture(t, scenes[0], build(t).node)
	root := filepath.Join(t.TempDir(), "node")
	check(t, f.copyTo(root))
	argv := append(f.rotate(root), "-o", "json")
	cmd := exec.Command(argv[0], argv[1:]...)
	out, in, err := os.Pipe()
	check(t, err)
	_, err = unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
	check(t, err)
	cmd.Stdout = in
	check(t, cmd.Start())
	check(t, in.Close())
	reader := bufio.NewReaderSize(out, 16)
	line, err := reader.ReadString('\n')
	check(t, err)
	if !strings.Contains(line, `"kind":"Staging"`) {
		t.Fatalf("the first record is %s", line)
	}
	check(t, cmd.Process.Signal(syscall.SIGHUP))
	for err == nil {
		_, err = reader.ReadString('\n')
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1", err)
	}
	state, problems := f.verify(t, root)
	if state == inventory.Committed || state == inventory.Finished {
		t.Errorf("it ended as %q", state)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}
