package component

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

const (
	lastLogLines  = 3
	lastLogBytes  = 16 << 10
	lastLogLength = 400 // of one line
)

// LastLog returns the last lines of a component's log, for the message about its failure; none
// if they cannot be read. Possible secrets are masked.
func (r *Runtime) LastLog(ctx context.Context, c inventory.Component) []string {
	i, err := r.CurrentInstance(ctx, c)
	if err != nil {
		return nil
	}
	if i.logPath != "" {
		if lines := logTail(r.Root, i.logPath); len(lines) > 0 || i.detail == "" {
			return lines
		}
	}
	if i.detail == "" {
		return nil
	}
	return []string{i.detail}
}

// logTail reads the end of a container's log, in the format of the CRI or of Docker's json-file.
func logTail(root hostfs.Root, path string) []string {
	local, err := root.LocalPath(path)
	if err != nil {
		return nil
	}
	f, err := os.Open(local)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	from := max(0, info.Size()-lastLogBytes)
	data, err := io.ReadAll(io.NewSectionReader(f, from, lastLogBytes))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if from > 0 {
		lines = lines[1:] // the first line is incomplete
	}
	for n, line := range lines {
		lines[n] = runtimeMessage(line)
	}
	// A secret may span lines, so it is masked before lines are dropped.
	lines = strings.Split(MaskSecrets(strings.Join(lines, "\n")), "\n")
	if errors := errorLines(lines); len(errors) > 0 {
		lines = errors
	}
	lines = lines[max(0, len(lines)-lastLogLines):]
	for n, line := range lines {
		line = plainMessage(line)
		lines[n] = line
		if len(line) > lastLogLength {
			lines[n] = line[:lastLogLength] + "…"
		}
	}
	return lines
}

// complaint matches error lines: errors and fatal errors of klog, of zap (etcd), and panics.
var complaint = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[EF]\d{4} |"level":"(?:error|fatal|panic|dpanic)"|^panic:|^Error:|^error:`)
})

// plainMessage reduces zap's JSON (etcd) to its message and error. Time and code location do
// not help here.
func plainMessage(line string) string {
	var entry struct{ Msg, Error string }
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg == "" {
		return line
	}
	if entry.Error != "" {
		return entry.Msg + ": " + entry.Error
	}
	return entry.Msg
}

func errorLines(lines []string) []string {
	var out []string
	for _, line := range lines {
		if complaint().MatchString(line) {
			out = append(out, line)
		}
	}
	return out
}

// runtimeMessage drops the additions of the container runtime to a line: time, stream, tag.
func runtimeMessage(line string) string {
	var entry struct {
		Log    string
		Stream string
	}
	if json.Unmarshal([]byte(line), &entry) == nil && entry.Stream != "" {
		return strings.TrimRight(entry.Log, "\n")
	}
	parts := strings.SplitN(line, " ", 4)
	if len(parts) == 4 && (parts[1] == "stderr" || parts[1] == "stdout") {
		return parts[3]
	}
	return line
}

// secrets matches PEM blocks (also incomplete ones), tokens, and long runs of base64.
var secrets = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?s)-----BEGIN [^-]*-----.*?(?:-----END [^-]*-----|$)` +
		`|[A-Za-z0-9+/=\s]*-----END [^-]*-----` +
		`|eyJ[A-Za-z0-9_.-]{10,}` +
		`|[A-Za-z0-9+/_-]{64,}={0,2}`)
})

// MaskSecrets replaces everything that could be a key, a token or a certificate.
func MaskSecrets(text string) string { return secrets().ReplaceAllString(text, "[masked]") }
