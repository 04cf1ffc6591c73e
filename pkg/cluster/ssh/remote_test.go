package ssh

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everyCharacter is a script that prints each character of ASCII and some others.
func everyCharacter() (script, printed string) {
	var b strings.Builder
	for c := byte(1); c < 0x7f; c++ {
		b.WriteByte(c)
	}
	text := b.String() + "'\\''ä!\\n%s$HOME`id`\n"
	return "printf %s " + quote(text), text
}

// TestRemoteCommand runs the line in each shell of this machine that may be a login shell.
func TestRemoteCommand(t *testing.T) {
	script, want := everyCharacter()
	ran := 0
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "ksh", "fish", "csh", "tcsh"} {
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		ran++
		var out bytes.Buffer
		process := exec.CommandContext(t.Context(), program, "-c", remoteCommand(script)) //nolint:gosec // a shell
		process.Stdout = &afterMark{to: &out}
		require.NoError(t, process.Run(), shell)
		assert.Equal(t, want, out.String(), shell)
	}
	assert.Positive(t, ran)
}

// TestRemoteCommandForOtherShells: csh reads neither line ends nor "!" between single quotes as
// they are, and fish no backslash before a quote.
func TestRemoteCommandForOtherShells(t *testing.T) {
	script, _ := everyCharacter()
	for _, script := range []string{script, probe, (&host{program: "/p", directory: "/d"}).script(install, "sum")} {
		line := remoteCommand(script)
		assert.Equal(t, 2, strings.Count(line, "'"))
		assert.NotContains(t, line, `\\`)
		assert.NotContains(t, line, `\'`)
		assert.NotContains(t, line, "!")
		assert.NotContains(t, line, "\n")
	}
}

func TestOutputAfterMark(t *testing.T) {
	const all = "Welcome\n" + outputMark + " it is not\n\n" + outputMark + "\nfirst\n" + outputMark + "\nlast"
	for size := 1; size < len(all); size++ {
		var out bytes.Buffer
		m := &afterMark{to: &out}
		for rest := []byte(all); len(rest) > 0; {
			n, err := m.Write(rest[:min(size, len(rest))])
			require.NoError(t, err)
			rest = rest[n:]
		}
		assert.Equal(t, "first\n"+outputMark+"\nlast", out.String(), size)
	}
}
