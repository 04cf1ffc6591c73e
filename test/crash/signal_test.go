//go:build linux

package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestSignalsDoNotCutACommit closes the terminal, or the reader of the program's progress, in the
// middle of a commit. The pipe of the progress is so full from the start that the program waits
// for its reader with the first record of the commit after its beginning.
func TestSignalsDoNotCutACommit(t *testing.T) {
	receivesHangUp(t)
	f := newFixture(t, scenes[0], buildPrograms(t).node)
	until := f.progressUntil(t, "replacing files")
	for name, lose := range map[string]func(p *os.Process, out *os.File) error{
		"the terminal goes": func(p *os.Process, _ *os.File) error { return p.Signal(syscall.SIGHUP) },
		"the reader goes":   func(_ *os.Process, out *os.File) error { return out.Close() },
		"Ctrl-C, again and again": func(p *os.Process, _ *os.File) error {
			return errors.Join(p.Signal(os.Interrupt), p.Signal(os.Interrupt))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "node")
			checkError(t, f.copyTo(root))
			argv := f.rotateArgs(root)
			cmd := exec.Command(argv[0], argv[1:]...)
			out, in, err := os.Pipe()
			checkError(t, err)
			size, err := unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
			checkError(t, err)
			_, err = in.WriteString(strings.Repeat(" ", size-until-1) + "\n")
			checkError(t, err)
			cmd.Stderr = in
			checkError(t, cmd.Start())
			checkError(t, in.Close())
			// One byte at a time: a larger buffer would empty the pipe.
			reader := bufio.NewReaderSize(out, 16)
			for line := ""; !strings.Contains(line, "replacing files"); {
				line, err = reader.ReadString('\n')
				checkError(t, err)
			}
			checkError(t, lose(cmd.Process, out))
			for err == nil {
				_, err = reader.ReadString('\n')
			}
			checkError(t, cmd.Wait())
			ended, problems := f.verifyNode(t, root)
			if ended != inventory.Finished && ended != inventory.Committed {
				t.Errorf("it ended as %q", ended)
			}
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}

// progressUntil is the number of bytes of a rotation's progress, up to the line with a text.
func (f *fixture) progressUntil(t *testing.T, text string) int {
	t.Helper()
	root := filepath.Join(t.TempDir(), "node")
	checkError(t, f.copyTo(root))
	argv := f.rotateArgs(root)
	var progress bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = &progress
	checkError(t, cmd.Run())
	before, after, found := strings.Cut(progress.String(), text)
	rest, _, _ := strings.Cut(after, "\n")
	if !found {
		t.Fatalf("no line has %q:\n%s", text, progress.String())
	}
	return len(before) + len(text) + len(rest) + 1
}

// TestHangUpBeforeTheCommit ends the work in good order while nothing is changed yet. The
// pipe of the progress is full from the start, so that the program waits for its reader with
// its first record, before the commit.
func TestHangUpBeforeTheCommit(t *testing.T) {
	receivesHangUp(t)
	f := newFixture(t, scenes[0], buildPrograms(t).node)
	root := filepath.Join(t.TempDir(), "node")
	checkError(t, f.copyTo(root))
	argv := f.rotateArgs(root)
	cmd := exec.Command(argv[0], argv[1:]...)
	out, in, err := os.Pipe()
	checkError(t, err)
	size, err := unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
	checkError(t, err)
	_, err = in.WriteString(strings.Repeat(" ", size-1) + "\n")
	checkError(t, err)
	cmd.Stderr = in
	checkError(t, cmd.Start())
	checkError(t, in.Close())
	waitFor(t, "a write to the full pipe", func() bool { return threadStates(cmd.Process.Pid).writesProgress })
	checkError(t, cmd.Process.Signal(syscall.SIGHUP))
	waitFor(t, "the signal's being handled", func() bool {
		now := threadStates(cmd.Process.Pid)
		return now.asleep && !now.pending
	})
	reader := bufio.NewReader(out)
	_, err = reader.ReadString('\n')
	checkError(t, err)
	line, err := reader.ReadString('\n')
	checkError(t, err)
	if !strings.Contains(line, "signing certificates of") {
		t.Errorf("the first record is %s", line)
	}
	for err == nil {
		_, err = reader.ReadString('\n')
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v, want exit code 130", err)
	}
	ended, problems := f.verifyNode(t, root)
	if ended == inventory.Committed || ended == inventory.Finished {
		t.Errorf("it ended as %q", ended)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// receivesHangUp makes programs receive SIGHUP even if the tests run with the signal ignored, as
// with nohup: child processes inherit that.
func receivesHangUp(t *testing.T) {
	t.Helper()
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUps) })
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no sign of %s within a minute", what)
		}
	}
}

// state is the state of a process's threads, from /proc.
type state struct {
	writesProgress bool // a thread is in write(2) to standard error
	asleep         bool // all threads are
	pending        bool // a signal waits to be delivered
}

func threadStates(pid int) state {
	s := state{asleep: true}
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, dir := range dirs {
		call, _ := os.ReadFile(filepath.Join(dir, "syscall"))
		s.writesProgress = s.writesProgress || strings.HasPrefix(string(call), fmt.Sprintf("%d 0x2 ", unix.SYS_WRITE))
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		for line := range strings.Lines(string(status)) {
			switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); key {
			case "State":
				s.asleep = s.asleep && strings.HasPrefix(value, "S")
			case "SigPnd", "ShdPnd":
				s.pending = s.pending || strings.Trim(value, "0") != ""
			}
		}
	}
	return s
}
