package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The sizes of the drawing, in pixels at its natural size.
const (
	fontSize    = 14
	columnWidth = 8.4 // of a character in a fixed-width font of that size
	lineHeight  = 20
	margin      = 16
)

// maxBytes bounds the drawing: a reader of the README loads it.
const maxBytes = 200_000

// style has the colours of GitHub's own code blocks, light first. What the last screen does not
// show is hidden unless the animation shows it: a still, and a reader who wants no motion, get
// the last screen.
const style = `
    text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; fill: #1f2328; white-space: pre; }
    rect { fill: #f6f8fa; stroke: #d1d9e0; }
    .bold { font-weight: bold; } .dim { fill: #59636e; } .caption { fill: #59636e; font-size: 12px; }
    .c1 { fill: #d1242f; } .c2 { fill: #1a7f37; } .c3 { fill: #9a6700; } .c4 { fill: #0969da; } .c5 { fill: #8250df; } .c6 { fill: #1b7c83; } .c7 { fill: #59636e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      rect { fill: #151b23; stroke: #3d444d; }
      .dim, .caption, .c0 { fill: #9198a1; }
      .c1 { fill: #ff7b72; } .c2 { fill: #3fb950; } .c3 { fill: #d29922; } .c4 { fill: #58a6ff; } .c5 { fill: #bc8cff; } .c6 { fill: #39c5cf; } .c7 { fill: #b1bac4; }
    }
    .passing { visibility: hidden; }
    @media (prefers-reduced-motion: reduce) { g { animation-name: none !important; } }
`

// shown is a row and the time for which it stands in its place.
type shown struct {
	y     int
	row   row
	from  time.Duration
	until time.Duration
}

// drawSVG draws the recording. Each row that some screen shows is one element, and an animation
// shows it for its time.
func (r recording) drawSVG() (string, error) {
	screens, end := r.replayScreens()
	times := rowTimes(screens, end)
	lines := 0
	for _, s := range times {
		lines = max(lines, s.y+1)
	}
	width := int(float64(r.columns)*columnWidth) + 2*margin
	height := (lines+2)*lineHeight + 2*margin // and the caption after a blank line
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString("What a terminal shows of "+r.command))
	fmt.Fprintf(&out, "  <style>%s%s  </style>\n", style, animationStyle(times, end))
	fmt.Fprintf(&out, `  <rect x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`+"\n", width-1, height-1)
	for _, s := range times {
		out.WriteString(s.drawRow(end))
	}
	fmt.Fprintf(&out, `  <text class="caption" x="%d" y="%d">%s</text>`+"\n</svg>\n", margin, height-margin, html.EscapeString(r.captionText()))
	if out.Len() > maxBytes {
		return "", fmt.Errorf("draw %q: the drawing has %d bytes, at most %d are wanted", r.command, out.Len(), maxBytes)
	}
	return out.String(), nil
}

// captionText says how long it took, so that the animation misleads no reader.
func (r recording) captionText() string {
	return fmt.Sprintf("Recorded on a real cluster. It took %s; the animation shortens waits.", r.duration().Round(time.Second))
}

// rowTimes finds for each row of the terminal what stands there and for how long, from the top
// to the bottom.
func rowTimes(screens []screen, end time.Duration) []shown {
	var out []shown
	for y := range screens[0].rows {
		begin := 0
		for i := 1; i <= len(screens); i++ {
			if i < len(screens) && slices.Equal(screens[i].rows[y], screens[begin].rows[y]) {
				continue
			}
			until := end
			if i < len(screens) {
				until = screens[i].from
			}
			if found := screens[begin].rows[y]; len(found) > 0 {
				out = append(out, shown{y: y, row: found, from: screens[begin].from, until: until})
			}
			begin = i
		}
	}
	return out
}

// always reports whether the row needs no animation.
func (s shown) always(end time.Duration) bool { return s.from == 0 && s.until == end }

// animationName is the same for rows that are shown for the same time.
func (s shown) animationName() string {
	return fmt.Sprintf("t%d-%d", s.from.Milliseconds(), s.until.Milliseconds())
}

// animationStyle has the animations, each once.
func animationStyle(times []shown, end time.Duration) string {
	var out strings.Builder
	fmt.Fprintf(&out, "    g { animation: %.2fs step-end infinite; }\n", end.Seconds())
	var names []string
	for _, s := range times {
		name := s.animationName()
		if s.always(end) || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		fmt.Fprintf(&out, "    .%s { animation-name: %s; } @keyframes %s { %s }\n", name, name, name, s.keyFrames(end))
	}
	return out.String()
}

// keyFrames hold until the next one.
func (s shown) keyFrames(end time.Duration) string {
	percent := func(at time.Duration) string {
		return fmt.Sprintf("%.3f%%", 100*at.Seconds()/end.Seconds())
	}
	var out []string
	if s.from > 0 {
		out = append(out, "0% { visibility: hidden; }")
	}
	out = append(out, percent(s.from)+" { visibility: visible; }")
	if s.until < end {
		out = append(out, percent(s.until)+", 100% { visibility: hidden; }")
	} else {
		out = append(out, "100% { visibility: visible; }")
	}
	return strings.Join(out, " ")
}

// drawRow stretches each text to the width that its characters have in the grid, so that
// columns stay columns in whatever font is there.
func (s shown) drawRow(end time.Duration) string {
	var classes []string
	if !s.always(end) {
		classes = append(classes, s.animationName())
	}
	if s.until < end {
		classes = append(classes, "passing")
	}
	var out strings.Builder
	out.WriteString("  <g" + classAttribute(strings.Join(classes, " ")) + ">")
	for _, t := range s.row {
		fmt.Fprintf(&out, `<text%s x="%.1f" y="%d" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`,
			classAttribute(t.class), margin+float64(t.column)*columnWidth, margin+s.y*lineHeight+fontSize,
			float64(utf8.RuneCountInString(t.text))*columnWidth, html.EscapeString(t.text))
	}
	out.WriteString("</g>\n")
	return out.String()
}

func classAttribute(class string) string {
	if class == "" {
		return ""
	}
	return ` class="` + class + `"`
}
