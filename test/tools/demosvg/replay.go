package main

import (
	"fmt"
	"image/color"
	"strings"
	"time"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// The times of the animation.
const (
	firstHold  = time.Second            // for the command alone
	longestGap = 400 * time.Millisecond // between two screens; longer ones are shortened
	lastHold   = 8 * time.Second        // for the result
	joined     = 50 * time.Millisecond  // outputs within it are one screen: nothing half drawn is shown
)

// screen is what the terminal shows from a time of the animation on.
type screen struct {
	from time.Duration
	rows []row
}

// row is a row of the terminal, without the blanks that are not seen.
type row []span

// span is text in one style.
type span struct {
	column int
	text   string
	class  string // of the SVG's style
}

// replayScreens are the screens that the recording leads to, the command alone first, and the
// time at which the animation ends.
func (r recording) replayScreens() (screens []screen, end time.Duration) {
	terminal := vt.NewEmulator(r.columns, r.rows)
	writeText(terminal, "\x1b[1m$ "+r.command+"\x1b[0m\r\n")
	screens = []screen{{rows: readRows(terminal)}}
	at := firstHold
	var last time.Duration
	for i := 0; i < len(r.outputs); {
		began := r.outputs[i].at
		if i > 0 {
			at += min(began-last, longestGap)
		}
		for ; i < len(r.outputs) && r.outputs[i].at < began+joined; i++ {
			writeText(terminal, r.outputs[i].text)
		}
		last = began
		screens = append(screens, screen{from: at, rows: readRows(terminal)})
	}
	return screens, at + lastHold
}

// writeText writes to a terminal in memory, where nothing can fail.
func writeText(terminal *vt.Emulator, text string) {
	_, _ = terminal.WriteString(text)
}

// duration is how long the recorded command wrote.
func (r recording) duration() time.Duration {
	if len(r.outputs) == 0 {
		return 0
	}
	return r.outputs[len(r.outputs)-1].at
}

func readRows(terminal *vt.Emulator) []row {
	rows := make([]row, terminal.Height())
	for y := range rows {
		rows[y] = readRow(terminal, y)
	}
	return rows
}

// readRow joins the cells of a row that look the same. Blanks between words belong to the
// words before them; two or more separate columns of a table, and end a span.
func readRow(terminal *vt.Emulator, y int) row {
	var out row
	blanks := 0
	for x := 0; x < terminal.Width(); x++ {
		cell := terminal.CellAt(x, y)
		if cell == nil || strings.TrimSpace(cell.Content) == "" {
			blanks++
			continue
		}
		class := styleClass(cell.Style)
		if last := len(out) - 1; last >= 0 && blanks < 2 && out[last].class == class {
			out[last].text += strings.Repeat(" ", blanks) + cell.Content
		} else {
			out = append(out, span{column: x, text: cell.Content, class: class})
		}
		blanks = 0
		x += max(cell.Width, 1) - 1 // a wide character has an empty cell after it
	}
	return out
}

// styleClass is bold, dim and the colour, as classes of the SVG's style.
func styleClass(style uv.Style) string {
	var classes []string
	if style.Attrs&uv.AttrBold != 0 {
		classes = append(classes, "bold")
	}
	if style.Attrs&uv.AttrFaint != 0 {
		classes = append(classes, "dim")
	}
	if style.Fg != nil {
		classes = append(classes, colourClass(style.Fg))
	}
	return strings.Join(classes, " ")
}

// colourClass is one of c0 to c7: bright colours are drawn as the others.
func colourClass(c color.Color) string {
	return fmt.Sprintf("c%d", ansi.Convert16(c)%8)
}
