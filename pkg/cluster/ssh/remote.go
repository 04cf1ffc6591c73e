package ssh

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// outputMark is the line before the output of a command. What precedes it was printed by the
// files that the login shell reads at its start.
const outputMark = "output of rotate-certs"

// remoteCommand returns a line that runs a script in a POSIX shell, for any login shell: sh, bash,
// zsh, fish and csh read it in the same way. It has one pair of single quotes, between which no
// line ends, and no character that one of them takes for another.
func remoteCommand(script string) string {
	return "exec sh -c 'echo; echo " + outputMark + `; eval "$(printf "` + escapeScript(script) + `")"'`
}

// escapeScript writes a script as a format of printf without characters that a shell interprets.
func escapeScript(script string) string {
	const plain = " -_./:=,@+[]()<>|&;*{}"
	var b strings.Builder
	for _, c := range []byte(script) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, `\%03o`, c)
	}
	return b.String()
}

// afterMark passes on what follows outputMark.
type afterMark struct {
	to     io.Writer
	before []byte // the end of what precedes it
	found  bool
}

func (m *afterMark) Write(p []byte) (int, error) {
	if m.found {
		return m.to.Write(p)
	}
	const line = "\n" + outputMark + "\n"
	m.before = append(m.before, p...)
	at := bytes.Index(m.before, []byte(line))
	if at < 0 {
		m.before = m.before[max(0, len(m.before)-len(line)):]
		return len(p), nil
	}
	rest := m.before[at+len(line):]
	m.found = true
	m.before = nil
	if len(rest) > 0 {
		if _, err := m.to.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
