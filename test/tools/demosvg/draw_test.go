package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// drawExample draws a recording of a program that prints as the plugin does.
func drawExample(t *testing.T) string {
	t.Helper()
	in, err := os.Open("testdata/rotation.cast")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	if err := runCommand(t.Context(), []string{"draw"}, in, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheStillIsTheLastScreen(t *testing.T) {
	var still []string
	for _, g := range drawnRows(t, drawExample(t)) {
		if !strings.Contains(g.class, "passing") {
			still = append(still, g.text)
		}
	}
	if still[len(still)-1] != "Done in 41s: 9 certificates renewed & verified. Next: kubectl rotate-certs check" {
		t.Errorf("the last row is %q", still[len(still)-1])
	}
	for _, row := range still {
		if strings.Contains(row, "restarting etcd") || strings.Contains(row, "Scanning") {
			t.Errorf("the still shows %q, which the last screen does not", row)
		}
	}
	if !slices.ContainsFunc(still, func(row string) bool { return strings.HasPrefix(row, "staged") }) {
		t.Errorf("the still lacks a step of the rotation: %q", still)
	}
}

func TestEveryAnimationIsDefinedAndUsed(t *testing.T) {
	drawing := drawExample(t)
	used := map[string]bool{}
	for _, g := range drawnRows(t, drawing) {
		for _, class := range strings.Fields(g.class) {
			used[class] = true
		}
	}
	for class := range used {
		if class != "passing" && !strings.Contains(drawing, "@keyframes "+class+" {") {
			t.Errorf("no animation %q", class)
		}
	}
	if defined := strings.Count(drawing, "@keyframes"); defined != len(used)-1 || defined < 20 {
		t.Errorf("%d animations are defined, %d used", defined, len(used)-1)
	}
}

func TestTheDrawingNeedsNothingElse(t *testing.T) {
	drawing := drawExample(t)
	for _, refused := range []string{"<script", "@font-face", "@import", "url(", "href", "\x1b"} {
		if strings.Contains(drawing, refused) {
			t.Errorf("the drawing holds %q: GitHub shows it as an image, without scripts and other files", refused)
		}
	}
	if !strings.Contains(drawing, "prefers-reduced-motion: reduce") {
		t.Error("a reader who wants no motion gets it")
	}
}

func TestRowsAreShownForTheirTime(t *testing.T) {
	end := 10 * time.Second
	cases := map[string]struct {
		shown shown
		want  string
	}{
		"from the begin": {shown{until: 4 * time.Second}, "0.000% { visibility: visible; } 40.000%, 100% { visibility: hidden; }"},
		"in between":     {shown{from: time.Second, until: 4 * time.Second}, "0% { visibility: hidden; } 10.000% { visibility: visible; } 40.000%, 100% { visibility: hidden; }"},
		"to the end":     {shown{from: time.Second, until: end}, "0% { visibility: hidden; } 10.000% { visibility: visible; } 100% { visibility: visible; }"},
	}
	for name, c := range cases {
		if got := c.shown.keyFrames(end); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestADrawingThatIsTooLargeIsAnError(t *testing.T) {
	var texts []string
	for i := range 500 {
		texts = append(texts, "\x1b[H"+strings.Repeat(string(rune('a'+i%26))+"\r\n", 25))
	}
	r := record(texts...)
	r.rows = 30
	if _, err := r.drawSVG(); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoRecordingIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"other version":   `{"version":3,"width":100,"height":30}`,
		"without a size":  `{"version":2}`,
		"a broken output": `{"version":2,"width":100,"height":30}` + "\n[1,",
		"no text":         `{"version":2,"width":100,"height":30}` + "\n[\"1\",\"o\",\"a\"]",
	} {
		if _, err := decodeAsciicast(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type drawnRow struct{ class, text string }

// drawnRows are the rows of a drawing in their order, each with its texts joined. It fails where
// the drawing is not well-formed.
func drawnRows(t *testing.T, drawing string) []drawnRow {
	t.Helper()
	var out []drawnRow
	inRow := false
	for decoder := xml.NewDecoder(strings.NewReader(drawing)); ; {
		token, err := decoder.Token()
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "g" {
				inRow = true
				out = append(out, drawnRow{class: classOf(token)})
			}
		case xml.CharData:
			if inRow {
				out[len(out)-1].text += string(token)
			}
		case xml.EndElement:
			inRow = inRow && token.Name.Local != "g"
		}
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("read drawing: %v", err)
		}
	}
}

func classOf(element xml.StartElement) string {
	for _, a := range element.Attr {
		if a.Name.Local == "class" {
			return a.Value
		}
	}
	return ""
}
