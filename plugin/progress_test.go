package plugin

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// rotationProgress is a rotation of etcd on two nodes, the second of which is undone.
var rotationProgress = []fleet.Progress{
	{Node: "cp1", Phase: fleet.PhaseStarting, Text: "starting its process"},
	{Node: "cp2", Phase: fleet.PhaseStarting, Text: "starting its process"},
	{Node: "cp1", Phase: fleet.PhaseStaging, Text: "signing 3 certificates"},
	{Node: "cp1", Phase: fleet.PhaseStaged, Text: "staged"},
	{Node: "cp2", Phase: fleet.PhaseStaged, Text: "staged"},
	{Phase: fleet.PhaseStaged, Done: true, Text: "cp1 cp2: 6 certificates signed, nothing changed yet", Took: 900 * time.Millisecond},
	{Node: "cp1", Phase: fleet.PhaseWorking, Text: "replacing files"},
	{Node: "cp1", Phase: fleet.PhaseWorking, Text: "restarting etcd"},
	{Node: "cp1", Phase: fleet.PhaseVerified, Done: true, Text: "replaced · restarted etcd", Took: 3400 * time.Millisecond},
	{Node: "cp2", Phase: fleet.PhaseWaiting, Text: "etcd has no leader"},
	{Node: "cp2", Phase: fleet.PhaseWaiting, Text: "etcd has no leader"},
	{Node: "cp2", Phase: fleet.PhaseWorking, Text: "replacing files"},
	{Node: "cp2", Phase: fleet.PhaseUndoing, Done: true, Text: "etcd said\x1b[2J no; putting the old certificates back"},
	{Node: "cp2", Phase: fleet.PhaseUndone, Done: true, Text: "old certificates are back and verified"},
}

func TestProgressWithoutATerminalOnlyAppends(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return noon }, nil, []string{"cp1", "cp2"})
	for _, ev := range rotationProgress {
		p.showEvent(ev)
	}
	p.endDisplay()
	golden(t, "progress.txt", out.String())
	assert.NotContains(t, out.String(), "\x1b")
	assert.NotContains(t, out.String(), "\r")
}

// screen is what a terminal shows after these bytes, as far as progress uses one.
func screen(t *testing.T, bytes string) []string {
	t.Helper()
	lines := []string{""}
	for bytes != "" {
		switch {
		case strings.HasPrefix(bytes, "\x1b["):
			end := strings.IndexAny(bytes, "AJ")
			if bytes[end] == 'A' {
				up := 0
				for _, d := range bytes[2:end] {
					up = up*10 + int(d-'0')
				}
				assert.Less(t, up, len(lines), "the cursor must not leave what was drawn")
				lines = lines[:len(lines)-up] // all below is erased next
				lines[len(lines)-1] = ""
			}
			bytes = bytes[end+1:]
		case bytes[0] == '\n':
			lines, bytes = append(lines, ""), bytes[1:]
		case bytes[0] == '\r':
			bytes = bytes[1:]
		default:
			end := strings.IndexAny(bytes, "\n\r\x1b")
			lines[len(lines)-1] += bytes[:end]
			bytes = bytes[end:]
		}
	}
	return lines
}

func TestLiveLinesAreReplacedByResults(t *testing.T) {
	var out bytes.Buffer
	now := noon
	p := newProgress(&out, func() time.Time { return now }, func() int { return 40 }, []string{"cp1", "cp2"})
	for _, ev := range rotationProgress[:3] {
		p.showEvent(ev)
	}
	now = now.Add(5 * time.Second)
	p.redrawLines()
	assert.Equal(t, []string{"cp1       signing 3 certificates  5s", "cp2       starting its process  5s", ""}, screen(t, out.String()))
	assert.Empty(t, p.inProgress(), "nothing has changed on any node yet")

	for _, ev := range rotationProgress[3:8] {
		p.showEvent(ev)
	}
	assert.Equal(t, []string{"cp1"}, p.inProgress())
	p.printAbove("finishing or undoing cp1")
	assert.Equal(t, []string{
		"staged    cp1 cp2: 6 certificates signed, nothing changed yet   0.9s", "finishing or undoing cp1", "cp1       restarting etcd", ""}, screen(t, out.String()))

	for _, ev := range rotationProgress[8:] {
		p.showEvent(ev)
	}
	p.endDisplay()
	got := screen(t, out.String())
	assert.Equal(t, []string{
		"cp1       replaced · restarted etcd   3.4s",
		"cp2       etcd said [2J no; putting the old certificates back",
		"cp2       old certificates are back and verified", ""}, got[2:], "a node cannot write to the terminal, and no live line is left")
}

func TestLiveLinesFitTheTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return noon }, func() int { return 20 }, nil)
	for i := range 40 {
		p.showEvent(fleet.Progress{Node: "worker-" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Phase: fleet.PhaseStarting, Text: "größer als die Zeile"})
	}
	lines := screen(t, out.String())
	assert.Len(t, lines, maxLive+1)
	for _, l := range lines {
		assert.Less(t, len([]rune(l)), 20, l)
	}
}
