package rotate

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestTranscripts runs the scripts in testdata/transcripts. A script says what a kubeadm
// control-plane node is like and what is rotated on it; below the line stand the records of
// the node's journal. To write them anew: UPDATE=1 go test -run TestTranscripts
//
//	SERVICE cannot-start   it starts with nothing but its old certificates
//	SERVICE stuck          once stopped, it never starts again
//	SERVICE keeps-old      it does not read its serving certificate when it starts
//	SERVICE key-elsewhere  the key of its CA is on another node, which signs
//	rotate POLICY SERVICE… or: rotate POLICY
//	roll back              the rotation before, by hand
func TestTranscripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(text), "----\n")
			var got string
			synctest.Test(t, func(t *testing.T) { got = playScript(t, script) })
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(path, []byte(script+"----\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != want {
				t.Errorf("records:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func playScript(t *testing.T, script string) string {
	t.Helper()
	n := newFakeNode(t)
	var r *records
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || strings.HasPrefix(line, "#"):
		case words[0] == "rotate":
			var services []certs.Service
			for _, s := range words[2:] {
				services = append(services, certs.Service(s))
			}
			r = rotateAll(n, plan.RestartPolicy(words[1]), services...)
		case line == "roll back\n":
			time.Sleep(time.Minute)
			var err error
			if r, err = n.rollBackByHand(rotationID); err != nil {
				t.Log(err)
			}
		default:
			behaviour := map[string]map[certs.Service]bool{"cannot-start": n.breaks, "stuck": n.stuck, "keeps-old": n.keepsOld, "key-elsewhere": n.elsewhere}[words[1]]
			if behaviour == nil || !slices.Contains(certs.Services(), certs.Service(words[0])) {
				t.Fatalf("unknown line %q", line)
			}
			behaviour[certs.Service(words[0])] = true
		}
	}
	// The fake node lists its certificates in any order.
	slices.SortStableFunc(r.all, func(a, b nodeapi.Record) int {
		if a.Kind == nodeapi.Verified && b.Kind == nodeapi.Verified && a.Service == b.Service && a.Evidence.TargetID != "" && b.Evidence.TargetID != "" {
			return strings.Compare(a.Evidence.TargetID, b.Evidence.TargetID)
		}
		return int(a.Seq - b.Seq)
	})
	var out strings.Builder
	began := r.all[0].Time
	for _, rec := range r.all {
		fmt.Fprintln(&out, recordLine(rec, began))
	}
	return out.String()
}

// changing are parts of messages that differ from run to run.
var changing = regexp.MustCompile(`[0-9-]{10}T[0-9:]{8}Z|[0-9a-f]{8,}|/[^ ]*/backup/[0-9]+|/tmp/[^ ]*`)

// recordLine is a record, and when it was written: seconds since the first, in tens.
func recordLine(rec nodeapi.Record, began time.Time) string {
	parts := []string{fmt.Sprintf("%4.0fs", rec.Time.Sub(began).Round(10*time.Second).Seconds()), string(rec.Kind)}
	if rec.Service != "" {
		parts = append(parts, string(rec.Service))
	}
	if rec.Evidence != nil {
		name, _, _ := strings.Cut(rec.Evidence.TargetID, "@")
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s", name, rec.Evidence.Method)))
	}
	if rec.Kind == nodeapi.Committed {
		parts = append(parts, fmt.Sprintf("%d certificates", len(rec.Renewals)))
	}
	if rec.Message != "" {
		parts = append(parts, changing.ReplaceAllString(strings.ReplaceAll(rec.Message, "\n", " / "), "…"))
	}
	return strings.Join(parts, "  ")
}
