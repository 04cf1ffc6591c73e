package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

const command = "kubectl rotate-certs --service etcd"

func recording(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/recording.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDrawing compares with a drawing that a browser can show; UPDATE=1 writes it.
func TestDrawing(t *testing.T) {
	const path = "testdata/drawing.svg"
	var got bytes.Buffer
	if err := drawRecording(strings.NewReader(recording(t)), &got, command); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got.String() != string(want) {
		t.Errorf("the drawing differs from %s (%v); UPDATE=1 go test ./test/tools/demosvg writes it", path, err)
	}
}

func TestTheDrawingShowsEveryLineOfTheCommandAndNoOther(t *testing.T) {
	var drawn bytes.Buffer
	if err := drawRecording(strings.NewReader(recording(t)), &drawn, command); err != nil {
		t.Fatal(err)
	}
	texts := textsOf(t, drawn.Bytes())
	for _, line := range []string{
		prompt + command, "Scanning 4 nodes …", "1       cp1    etcd-server, etcd-peer     etcd",
		"cp1       replaced · restarted etcd <3/3 members & healthy>   9.5s", "Done in 46s: 4 certificates renewed and verified. Next: kubectl rotate-certs check",
	} {
		if !strings.Contains(texts, "\n"+line+"\n") {
			t.Errorf("the drawing lacks the line %q", line)
		}
	}
	if strings.Contains(texts, insideLab) || strings.Contains(texts, "NODE   SERVICE") {
		t.Errorf("the drawing shows what another command printed, or how the lab runs it:\n%s", texts)
	}
}

// textsOf are the texts of an SVG, a line each. It fails where that is not well-formed.
func textsOf(t *testing.T, drawing []byte) string {
	t.Helper()
	out := "\n"
	within := false
	for decoder := xml.NewDecoder(bytes.NewReader(drawing)); ; {
		token, err := decoder.Token()
		switch token := token.(type) {
		case xml.StartElement:
			within = token.Name.Local == "text"
		case xml.CharData:
			if within {
				out += string(token) + "\n"
			}
		case xml.EndElement:
			within = false
		}
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("read drawing: %v", err)
		}
	}
}

func TestLongLinesAreContinuedBetweenWords(t *testing.T) {
	lines := wrapLine("  " + strings.Repeat("certificate ", 40) + "end")
	var words []string
	for i, line := range lines {
		if n := len([]rune(line)); n > maxColumns {
			t.Errorf("line %d has %d characters", i, n)
		}
		words = append(words, strings.Fields(line)...)
	}
	if len(lines) != 4 || len(words) != 41 || words[40] != "end" {
		t.Errorf("%d lines, %d words", len(lines), len(words))
	}
	if lines := wrapLine(strings.Repeat("x", 2*maxColumns)); len(lines) != 3 {
		t.Errorf("a word that is too long gives %d lines", len(lines))
	}
}

func TestACommandThatWasNotRecordedIsAnError(t *testing.T) {
	if _, err := outputOf("kubectl rotate-certs --all", recording(t)); err == nil {
		t.Error("no error")
	}
}
