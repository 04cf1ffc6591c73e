//go:build linux

package crash

import (
	"bufio"
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

// TestSignalsDoNotCutACommit closes the terminal, or the reader of the program's output, in the
// middle of a commit. The output's pipe holds so little that the program waits for its reader
// before it has ended the commit.
func TestSignalsDoNotCutACommit(t *testing.T) {
	receivesHangUp(t)
	f := newFixture(t, scenes[0], buildPrograms(t).node)
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
			argv := append(f.rotateArgs(root), "-o", "json")
			cmd := exec.Command(argv[0], argv[1:]...)
			out, in, err := os.Pipe()
			checkError(t, err)
			_, err = unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
			checkError(t, err)
			cmd.Stdout = in
			checkError(t, cmd.Start())
			checkError(t, in.Close())
			// One byte at a time: a larger buffer would empty the pipe.
			reader := bufio.NewReaderSize(out, 16)
			for line := ""; !strings.Contains(line, `"kind":"Committing"`); {
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

// TestHangUpBeforeTheCommit ends the work in good order while nothing is changed yet. The
// output's pipe is full from the start, so that the program waits for its reader with its
// first record, before the commit.
func TestHangUpBeforeTheCommit(t *testing.T) {
	receivesHangUp(t)
	f := newFixture(t, scenes[0], buildPrograms(t).node)
	root := filepath.Join(t.TempDir(), "node")
	checkError(t, f.copyTo(root))
	argv := append(f.rotateArgs(root), "-o", "json")
	cmd := exec.Command(argv[0], argv[1:]...)
	out, in, err := os.Pipe()
	checkError(t, err)
	size, err := unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
	checkError(t, err)
	_, err = in.WriteString(strings.Repeat(" ", size-1) + "\n")
	checkError(t, err)
	cmd.Stdout = in
	checkError(t, cmd.Start())
	checkError(t, in.Close())
	waitFor(t, "a write to the full pipe", func() bool { return threadStates(cmd.Process.Pid).writesOutput })
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
	if !strings.Contains(line, `"kind":"Staging"`) {
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
	writesOutput bool // a thread is in write(2) to standard output
	asleep       bool // all threads are
	pending      bool // a signal waits to be delivered
}

func threadStates(pid int) state {
	s := state{asleep: true}
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, dir := range dirs {
		call, _ := os.ReadFile(filepath.Join(dir, "syscall"))
		s.writesOutput = s.writesOutput || strings.HasPrefix(string(call), fmt.Sprintf("%d 0x1 ", unix.SYS_WRITE))
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
