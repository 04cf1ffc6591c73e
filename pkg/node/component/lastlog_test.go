package component

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

func writeLog(t *testing.T, lines ...string) hostfs.Root {
	t.Helper()
	root := t.TempDir()
	var text strings.Builder
	for _, l := range lines {
		text.WriteString("2026-11-24T06:46:34.029028000Z stderr F " + l + "\n")
	}
	if err := os.MkdirAll(filepath.Join(root, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "var/log/0.log"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return hostfs.Root(root)
}

func TestLastLogPrefersErrorLines(t *testing.T) {
	for _, test := range []struct {
		name       string
		said, want []string
	}{
		{"klog", []string{"I1124 06:46:34.03 1 server.go:151] Version: v1.37.2", `E1124 06:46:34.03 1 run.go:72] "command failed" err="tls: no PEM"`, "I1124 bye"},
			[]string{`E1124 06:46:34.03 1 run.go:72] "command failed" err="tls: no PEM"`}},
		{"etcd", []string{`{"level":"info","msg":"starting"}`, `{"level":"error","msg":"no server","error":"no PEM","stacktrace":"a\nb"}`, `{"level":"fatal","msg":"discovery failed"}`},
			[]string{"no server: no PEM", "discovery failed"}},
		{"no complaint", []string{"1", "2", "3", "4"}, []string{"2", "3", "4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := logTail(writeLog(t, test.said...), "/var/log/0.log"); !slices.Equal(got, test.want) {
				t.Errorf("last log lines %q, want %q", got, test.want)
			}
		})
	}
}

func TestALongLogIsReadFromItsEnd(t *testing.T) {
	var lines []string
	for n := range 20000 {
		lines = append(lines, fmt.Sprintf("line %d", n))
	}
	got := logTail(writeLog(t, lines...), "/var/log/0.log")
	if len(got) != lastLogLines || got[len(got)-1] != "line 19999" {
		t.Errorf("last log lines %q", got)
	}
	if got := logTail(writeLog(t, strings.Repeat("ä ", 1000)), "/var/log/0.log"); len(got) != 1 || len(got[0]) > lastLogLength+10 {
		t.Errorf("a long line has %d bytes", len(got[0]))
	}
}

func TestNoLogIsNoLines(t *testing.T) {
	root := hostfs.Root(t.TempDir())
	if got := logTail(root, "/var/log/0.log"); got != nil {
		t.Errorf("last log lines %q", got)
	}
	if got := logTail(root, "/"); got != nil {
		t.Errorf("last log lines of a directory %q", got)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	p := certstest.NewCA(t, "ca").Leaf(t)
	key := string(p.KeyPEM(t))
	// Lines of base64 of a key, with any text around them, or incomplete.
	body := strings.Split(strings.TrimSpace(key), "\n")
	for name, text := range map[string]string{
		"whole":               "loaded " + key + " from file",
		"in one line":         strings.ReplaceAll(key, "\n", ""),
		"without its begin":   strings.Join(body[1:], "\n"),
		"without its end":     strings.Join(body[:len(body)-1], "\n"),
		"a single line of it": body[1],
		"a token":             "Authorization: Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl",
	} {
		masked := MaskSecrets(text)
		for _, secret := range append(body[1:len(body)-1], "eyJhbGci", "eyJpc3Mi") {
			if strings.Contains(masked, secret) {
				t.Errorf("%s: %q shows in %q", name, secret, masked)
			}
		}
	}
	const harmless = `E1124 run.go:72] "command failed" err="open /etc/kubernetes/pki/apiserver.crt: permission denied"`
	if got := MaskSecrets(harmless); got != harmless {
		t.Errorf("masked %q", got)
	}
}
