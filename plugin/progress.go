package plugin

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// progress prints a rotation in progress. Without a terminal it only appends lines: results,
// and the begin of actions that may take long. On a terminal it also keeps a live line for
// each node in progress below them, with the elapsed time of its current action.
type progress struct {
	sync.Mutex
	out   io.Writer
	now   func() time.Time
	width func() int // columns of the terminal; nil: not a terminal
	// cluster is the context of the rotation, and command the command line that continues it;
	// empty: those of this command.
	cluster string
	command string
	pad     int // the longest name in the first column
	busy    map[string]*activity
	begun   map[string]fleet.Phase // without a terminal: the last announced phase of each node
	drawn   []string               // the live lines on the screen
	buf     bytes.Buffer           // the next output, in one write: no flicker on a slow line
}

// activity is the current action of a node.
type activity struct {
	text  string
	phase fleet.Phase
	since time.Time
}

func newProgress(out io.Writer, now func() time.Time, width func() int, nodes []string) *progress {
	p := &progress{out: out, now: now, width: width, pad: len(fleet.PhaseStarting), busy: map[string]*activity{}, begun: map[string]fleet.Phase{}}
	for _, n := range nodes {
		p.pad = max(p.pad, len(n))
	}
	return p
}

// showEvent receives one event of the rotation.
func (p *progress) showEvent(ev fleet.Progress) {
	p.Lock()
	defer p.Unlock()
	defer p.flushLines()
	ev.Text = printers.CleanText(ev.Text)
	if ev.Phase == fleet.PhaseWaiting && ev.Node != "" { // else it stands in the node's place
		ev.Text = "waiting: " + ev.Text
	}
	p.followNode(ev)
	switch {
	case ev.Done:
		p.keepLine(ev)
	case p.width == nil && p.announceNode(ev):
		p.keepLine(ev)
	}
	p.drawLines()
}

// followNode records which nodes are in progress.
func (p *progress) followNode(ev fleet.Progress) {
	switch {
	case ev.Node == "" && (ev.Done || ev.Text == ""):
		delete(p.busy, "")
	case ev.Phase == fleet.PhaseStaged, ev.Phase == fleet.PhaseVerified, ev.Phase == fleet.PhaseUndone, ev.Phase == fleet.PhaseFailed:
		delete(p.busy, ev.Node)
	default:
		a := p.busy[ev.Node]
		if a == nil || a.text != ev.Text {
			p.busy[ev.Node] = &activity{text: ev.Text, phase: ev.Phase, since: p.now()}
		}
	}
}

// announceNode reports whether a live line is printed without a terminal: the first one of a phase
// that may take long.
func (p *progress) announceNode(ev fleet.Progress) bool {
	before := p.begun[ev.Node]
	p.begun[ev.Node] = ev.Phase
	if before == ev.Phase {
		return false
	}
	return ev.Phase == fleet.PhaseWorking || ev.Phase == fleet.PhaseWaiting || ev.Phase == fleet.PhaseUndoing
}

// keepLine writes a line that stays.
func (p *progress) keepLine(ev fleet.Progress) {
	p.eraseLines()
	name := cmp.Or(ev.Node, string(ev.Phase))
	line := fmt.Sprintf("%-*s  %s", p.pad, name, ev.Text)
	if ev.Took > 0 {
		line += "   " + printers.ElapsedTime(ev.Took)
	}
	fmt.Fprintln(&p.buf, line)
}

// printAbove prints another line above the live ones.
func (p *progress) printAbove(line string) {
	p.Lock()
	defer p.Unlock()
	defer p.flushLines()
	p.eraseLines()
	fmt.Fprintln(&p.buf, line)
	p.drawLines()
}

// inProgress names the nodes with files or components between old and new.
func (p *progress) inProgress() []string {
	p.Lock()
	defer p.Unlock()
	var out []string
	for n, a := range p.busy {
		if n != "" && (a.phase == fleet.PhaseWorking || a.phase == fleet.PhaseUndoing) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// redrawLines refreshes the elapsed times.
func (p *progress) redrawLines() {
	p.Lock()
	defer p.Unlock()
	defer p.flushLines()
	p.drawLines()
}

// endDisplay removes the live lines.
func (p *progress) endDisplay() {
	p.Lock()
	defer p.Unlock()
	defer p.flushLines()
	p.eraseLines()
	p.busy = map[string]*activity{}
}

// maxLive bounds the live lines, so that they never fill a screen.
const maxLive = 12

// eraseLines takes the live lines off the screen.
func (p *progress) eraseLines() {
	if len(p.drawn) > 0 {
		fmt.Fprintf(&p.buf, "\x1b[%dA\r\x1b[J", len(p.drawn))
		p.drawn = nil
	}
}

// flushLines writes the buffer.
func (p *progress) flushLines() {
	if p.buf.Len() > 0 {
		_, _ = p.buf.WriteTo(p.out) // there is no other stream to report a failure on
		p.buf.Reset()
	}
}

// drawLines writes the live lines anew where they have changed, each cut to the terminal's
// width: a line that wraps could not be taken back.
func (p *progress) drawLines() {
	if p.width == nil {
		return
	}
	names := slices.Sorted(maps.Keys(p.busy))
	var lines []string
	for i, n := range names {
		if i == maxLive-1 && len(names) > maxLive {
			lines = append(lines, cutLine(fmt.Sprintf("%-*s  and %d more nodes", p.pad, "", len(names)-i), p.width()-1))
			break
		}
		a := p.busy[n]
		line := fmt.Sprintf("%-*s  %s", p.pad, n, a.text)
		if elapsed := p.now().Sub(a.since); elapsed >= time.Second {
			line += "  " + elapsed.Truncate(time.Second).String()
		}
		lines = append(lines, cutLine(line, p.width()-1))
	}
	if slices.Equal(lines, p.drawn) {
		return
	}
	p.eraseLines()
	if len(lines) > 0 {
		fmt.Fprintln(&p.buf, strings.Join(lines, "\n"))
		p.drawn = lines
	}
}

// cutLine shortens a line to a number of columns.
func cutLine(line string, width int) string {
	runes := []rune(line)
	if width < 1 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}
