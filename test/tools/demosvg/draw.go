package main

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// The sizes of the drawing, in pixels at its natural size.
const (
	fontSize    = 14
	columnWidth = 8.4 // of a character in a fixed-width font of that size
	lineHeight  = 20
	margin      = 16
)

// style has the colours of GitHub's own code blocks, light first.
const style = `
    text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; fill: #1f2328; white-space: pre; }
    .command { font-weight: bold; }
    rect { fill: #f6f8fa; stroke: #d1d9e0; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      rect { fill: #151b23; stroke: #3d444d; }
    }
`

// drawLines is an SVG of lines of text. Each line is stretched to the width that its
// characters have in the grid, so that columns stay columns in whatever font is there.
func drawLines(lines []string) string {
	columns := 0
	for _, line := range lines {
		columns = max(columns, utf8.RuneCountInString(line))
	}
	width := int(float64(columns)*columnWidth) + 2*margin
	height := len(lines)*lineHeight + 2*margin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString("What a terminal shows: "+strings.TrimPrefix(firstLine(lines), prompt)))
	fmt.Fprintf(&out, "  <style>%s  </style>\n", style)
	fmt.Fprintf(&out, `  <rect x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`+"\n", width-1, height-1)
	for i, line := range lines {
		if line == "" {
			continue
		}
		class := ""
		if strings.HasPrefix(line, prompt) {
			class = ` class="command"`
		}
		fmt.Fprintf(&out, `  <text%s x="%d" y="%d" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`+"\n",
			class, margin, margin+i*lineHeight+fontSize, float64(utf8.RuneCountInString(line))*columnWidth, html.EscapeString(line))
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func firstLine(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}
