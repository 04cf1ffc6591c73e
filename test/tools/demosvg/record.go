package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
)

// The size of the terminal. The result of a rotation fits into it with the steps before it; the
// plan scrolls out at the end, as it does for a user.
const (
	columns = 160
	rows    = 34
)

// recordCommand runs a command on a pseudo terminal and shows its output as it comes.
func recordCommand(ctx context.Context, as string, arguments []string, show io.Writer) (recording, error) {
	cmd := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends what it does
	cmd.Env = terminalEnvironment(os.Environ())
	began := time.Now()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: columns})
	if err != nil {
		return recording{}, fmt.Errorf("start %q: %w", arguments[0], err)
	}
	defer func() { _ = terminal.Close() }()
	r := recording{command: as, columns: columns, rows: rows}
	r.outputs, err = readOutputs(io.TeeReader(terminal, show), func() time.Duration { return time.Since(began) })
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return recording{}, fmt.Errorf("record %q: %w", as, err)
	}
	return r, nil
}

// terminalEnvironment is an environment in which programs use colours and move the cursor.
func terminalEnvironment(environment []string) []string {
	kept := slices.DeleteFunc(slices.Clone(environment), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"TERM", "NO_COLOR", "COLUMNS", "LINES"}, name)
	})
	return append(kept, "TERM=xterm-256color")
}

// readOutputs reads until the terminal has no writer left. A character that comes in two parts
// is kept as a whole.
func readOutputs(terminal io.Reader, elapsed func() time.Duration) ([]output, error) {
	var outputs []output
	var pending []byte
	buffer := make([]byte, 32<<10)
	for {
		n, err := terminal.Read(buffer)
		pending = append(pending, buffer[:n]...)
		whole := wholeCharacters(pending)
		if err != nil {
			whole = len(pending)
		}
		if whole > 0 {
			outputs = append(outputs, output{at: elapsed(), text: string(pending[:whole])})
			pending = slices.Clone(pending[whole:])
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, syscall.EIO): // how Linux reports the end of a terminal
			return outputs, nil
		case err != nil:
			return nil, fmt.Errorf("read terminal: %w", err)
		}
	}
}

// wholeCharacters is the length without a character at the end of which bytes are missing.
func wholeCharacters(text []byte) int {
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if utf8.FullRune(text[i:]) {
				return len(text)
			}
			return i
		}
	}
	return len(text)
}
