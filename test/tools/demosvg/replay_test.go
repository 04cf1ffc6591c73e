package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// record is a recording of outputs, a second after each other.
func record(texts ...string) recording {
	r := recording{command: "rotate", columns: 30, rows: 6}
	for i, text := range texts {
		r.outputs = append(r.outputs, output{at: time.Duration(i) * time.Second, text: text})
	}
	return r
}

func TestReplay(t *testing.T) {
	cases := map[string]struct {
		texts []string
		want  []string // the last screen below the command
	}{
		"live lines are replaced":         {[]string{"cp1  staging\r\ncp2  staging\r\n", "\x1b[2A\r\x1b[Jcp1  staged\r\n"}, []string{"cp1  staged"}},
		"a line is written again":         {[]string{"scanning 1 node", "\r\x1b[Kdone"}, []string{"done"}},
		"long lines continue below":       {[]string{strings.Repeat("x", 31)}, []string{strings.Repeat("x", 30), "x"}},
		"columns of a table stay":         {[]string{"NODE   RENEWS\r\ncp1    etcd-peer, etcd-server\r\n"}, []string{"NODE   RENEWS", "cp1    etcd-peer, etcd-server"}},
		"a full screen scrolls":           {[]string{"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n"}, []string{"2", "3", "4", "5", "6"}},
		"an escape sequence in two parts": {[]string{"cp1\r\n\x1b[1", "A\x1b[Jcp2"}, []string{"cp2"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			screens, _ := record(c.texts...).replayScreens()
			got := textsOf(screens[len(screens)-1])
			got = slices.DeleteFunc(got, func(line string) bool { return line == "$ rotate" })
			if !slices.Equal(got, c.want) {
				t.Errorf("the last screen is %q, want %q", got, c.want)
			}
		})
	}
}

func TestBoldDimAndColoursAreKept(t *testing.T) {
	screens, _ := record("\x1b[1mbold\x1b[0m plain \x1b[2mdim\x1b[0m \x1b[31mEXPIRED\x1b[0m \x1b[1;92mOK").replayScreens()
	want := row{{0, "bold", "bold"}, {5, "plain", ""}, {11, "dim", "dim"}, {15, "EXPIRED", "c1"}, {23, "OK", "bold c2"}}
	if got := screens[1].rows[1]; !slices.Equal(got, want) {
		t.Errorf("spans %+v, want %+v", got, want)
	}
}

func TestLongWaitsAreShortened(t *testing.T) {
	r := record("a", "b")
	r.outputs[1].at = 90 * time.Second
	r.outputs = append(r.outputs, output{at: 90*time.Second + 100*time.Millisecond, text: "c"})
	screens, end := r.replayScreens()
	var from []time.Duration
	for _, s := range screens {
		from = append(from, s.from)
	}
	want := []time.Duration{0, firstHold, firstHold + longestGap, firstHold + longestGap + 100*time.Millisecond}
	if !slices.Equal(from, want) || end != want[3]+lastHold {
		t.Errorf("screens at %v until %v, want %v", from, end, want)
	}
	if got := r.captionText(); !strings.Contains(got, "took 1m30s") || !strings.Contains(got, "shortens waits") {
		t.Errorf("the caption is %q", got)
	}
}

func TestOutputsThatFollowAtOnceAreOneScreen(t *testing.T) {
	r := record("cp1  staging\r\n", "\x1b[1A\r\x1b[J", "cp1  staged\r\n")
	r.outputs[2].at = r.outputs[1].at + time.Millisecond
	screens, _ := r.replayScreens()
	if len(screens) != 3 || !slices.Contains(textsOf(screens[2]), "cp1  staged") {
		t.Errorf("%d screens, the last %q", len(screens), textsOf(screens[len(screens)-1]))
	}
}
