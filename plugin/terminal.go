package plugin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/term"
)

// terminal describes the standard streams.
type terminal struct {
	in     bool       // a question can be asked: standard input and standard error are terminals
	colour bool       // standard output may be coloured
	width  func() int // columns of standard error, when it can be animated; else nil
}

// findTerminal reads the streams' kind, NO_COLOR and TERM.
func findTerminal(in io.Reader, out, errOut io.Writer, getenv func(string) string) terminal {
	// The old Windows console prints escape sequences as text; Windows Terminal sets WT_SESSION.
	escapes := getenv("TERM") != "dumb" && (runtime.GOOS != "windows" || getenv("WT_SESSION") != "")
	t := terminal{in: isTerminal(in) && isTerminal(errOut), colour: escapes && getenv("NO_COLOR") == "" && isTerminal(out)}
	if f, ok := errOut.(*os.File); ok && escapes && isTerminal(errOut) {
		t.width = func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			if err != nil || columns <= 0 {
				return 80
			}
			return columns
		}
	}
	return t
}

// askConfirmation asks a question that only "y" or "yes" answers with yes. Ctrl-C is a no.
func (a *app) askConfirmation(ctx context.Context, question string) bool {
	fmt.Fprint(a.ErrOut, question+" [y/N] ")
	answers := make(chan string, 1)
	go func() {
		answer, _ := bufio.NewReader(a.In).ReadString('\n') // no answer is a no
		answers <- answer
	}()
	select {
	case answer := <-answers:
		return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer)))
	case <-ctx.Done():
		return false
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colours of the status at the end of a line of `check`.
var colours = map[string]string{
	"EXPIRED": "31", "INVALID": "31", "NOT YET VALID": "31", "EXPIRING": "33", "NOT SERVED": "33",
}

// paintStatus colours the status at the end of each line of a table.
func paintStatus(table string) string {
	lines := strings.Split(table, "\n")
	words := slices.Sorted(maps.Keys(colours))
	for i, l := range lines {
		for _, w := range words {
			if strings.HasSuffix(l, "  "+w) {
				lines[i] = strings.TrimSuffix(l, w) + "\x1b[" + colours[w] + "m" + w + "\x1b[0m"
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}
