package statedir

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func TestEverySignatureIsRecorded(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(root+"/var/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := OpenDir(hostfs.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	r, err := dir.OpenRotation("7f3c2a")
	if err != nil {
		t.Fatal(err)
	}
	record := func(node string) {
		t.Helper()
		if err := r.RecordSignature(nodeapi.Signature{Node: node}); err != nil {
			t.Fatal(err)
		}
	}
	record("w1")
	// A crash has cut the line of w2.
	data, err := os.ReadFile(r.signedPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.signedPath(), append(data, `{"time":"20`...), 0o600); err != nil {
		t.Fatal(err)
	}
	record("w3")
	data, err = os.ReadFile(r.signedPath())
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	for line := range bytes.Lines(data) {
		var s nodeapi.Signature
		if json.Unmarshal(line, &s) == nil {
			nodes = append(nodes, s.Node)
		}
	}
	if got := strings.Join(nodes, " "); got != "w1 w3" {
		t.Errorf("recorded %q:\n%s", got, data)
	}
	if records, err := r.ReadRecords(); err != nil || len(records) > 0 {
		t.Errorf("the journal has %v, %v", records, err)
	}
}
