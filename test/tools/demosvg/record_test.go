package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestTheCommandWritesToATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	t.Setenv("COLUMNS", "80")
	file := filepath.Join(t.TempDir(), "recording")
	var shown bytes.Buffer
	if err := runCommand(t.Context(), []string{"record", "-as", "a program", "-o", file, "sh", "testdata/program.sh", "0"}, nil, &shown); err != nil {
		t.Fatal(err)
	}
	written, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	r, err := decodeAsciicast(written)
	if err != nil {
		t.Fatal(err)
	}
	if r.command != "a program" || r.columns != columns || textOf(r.outputs) != shown.String() {
		t.Errorf("command %q, %d columns, outputs %q; shown was %q", r.command, r.columns, textOf(r.outputs), shown.String())
	}
	screens, _ := r.replayScreens()
	want := []string{"$ a program", "terminal: 34 160, xterm-256color", "cp1  replaced"}
	if got := textsOf(screens[len(screens)-1]); !slices.Equal(got, want) {
		t.Errorf("the last screen is %q, want %q", got, want)
	}
}

func TestACommandThatFailsIsNotKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recording")
	err := runCommand(t.Context(), []string{"record", "-as", "a program", "-o", file, "sh", "testdata/program.sh", "2"}, nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a recording was written")
	}
}

func TestARecordingWithPathsOfThisMachineIsRefused(t *testing.T) {
	directory := t.TempDir()
	t.Setenv("HOME", directory)
	shows := recording{outputs: []output{{text: "report written to " + directory[:3]}, {text: directory[3:] + "/report"}}}
	if err := shows.refuseOwnPaths(); err == nil {
		t.Error("no error, though it shows the home directory")
	}
	if err := (recording{outputs: []output{{text: "report written to /var/lib"}}}).refuseOwnPaths(); err != nil {
		t.Error(err)
	}
}

func TestCharactersAreKeptWhole(t *testing.T) {
	const text = "… größer · ok"
	elapsed := func() time.Duration { return 0 }
	outputs, err := readOutputs(iotest.OneByteReader(strings.NewReader(text)), elapsed)
	if err != nil || textOf(outputs) != text || outputs[0].text != "…" {
		t.Errorf("outputs %q, error %v", textOf(outputs), err)
	}
	outputs, err = readOutputs(strings.NewReader("ab\xe2\x80"), elapsed)
	if err != nil || textOf(outputs) != "ab\xe2\x80" {
		t.Errorf("outputs %q, error %v: the end of what was written is missing", textOf(outputs), err)
	}
}

func textOf(outputs []output) string {
	var out strings.Builder
	for _, o := range outputs {
		out.WriteString(o.text)
	}
	return out.String()
}

// textsOf are the rows of a screen without the empty ones.
func textsOf(s screen) []string {
	var out []string
	for _, r := range s.rows {
		line := ""
		for _, span := range r {
			line += strings.Repeat(" ", span.column-len([]rune(line))) + span.text
		}
		if line != "" {
			out = append(out, line)
		}
	}
	return out
}
