package main

import (
	"fmt"
	"regexp"
	"strings"
)

// prompt begins the line of a command in a recording.
const prompt = "$ "

// insideLab is how the demonstration runs a command in the namespace of its cluster, which
// is nothing that a reader would type.
const insideLab = "lab run -- "

// maxColumns is how long a line may be before it is continued on the next one.
const maxColumns = 160

var (
	// escapes are the sequences by which a terminal is given colours and moved.
	escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")
	// controls are characters that XML does not allow.
	controls = regexp.MustCompile("[\x00-\x08\x0b-\x1f\x7f]")
)

// outputOf is the command's line in a recording and what it printed, up to the next command.
func outputOf(command, recorded string) ([]string, error) {
	var out []string
	for line := range strings.SplitSeq(recorded, "\n") {
		line = strings.TrimRight(controls.ReplaceAllString(escapes.ReplaceAllString(line, ""), ""), " \t")
		typed, begins := strings.CutPrefix(line, prompt)
		switch {
		case begins && len(out) > 0:
			return withoutBlankEnd(out), nil
		case begins && strings.TrimPrefix(typed, insideLab) == command:
			out = append(out, prompt+command)
		case len(out) > 0:
			out = append(out, wrapLine(line)...)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("find command %q: the recording has no line %q", command, prompt+insideLab+command)
	}
	return withoutBlankEnd(out), nil
}

func withoutBlankEnd(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// wrapLine continues a line that is too long on further lines, between words.
func wrapLine(line string) []string {
	const indent = "    "
	var out []string
	for {
		runes := []rune(line)
		if len(runes) <= maxColumns {
			return append(out, line)
		}
		end := lastBlank(runes)
		out = append(out, strings.TrimRight(string(runes[:end]), " "))
		line = indent + strings.TrimLeft(string(runes[end:]), " ")
	}
}

// lastBlank is where a line that is too long can be broken.
func lastBlank(runes []rune) int {
	for i := maxColumns; i > 0; i-- {
		if runes[i] == ' ' && strings.TrimSpace(string(runes[:i])) != "" {
			return i
		}
	}
	return maxColumns
}
