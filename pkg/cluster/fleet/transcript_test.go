package fleet_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// TestTranscripts runs the scripts in testdata/transcripts. A script says what the cluster
// is like, and below the line stands what the rotation requested of it, in order, and how
// it ended ("health": the gate requested the health of all control-plane nodes). To write the second part anew: UPDATE=1 go test -run TestTranscripts
//
//	nodes CONTROL-PLANES WORKERS
//	NODE stage|commit KIND      its answer to that order
//	NODE unhealthy              its API server is not ready
//	NODE interrupted            it was interrupted between old and new, in this rotation
//	NODE leader                 it is the leader of etcd
//	NODE without-key            the key of the CA of its first certificate is on all other control planes
//	NODE refuses                it signs nothing for other nodes
//	NODE requests               its own identity requests a certificate when it stages
//	pods N                      N pods of a killed run are there
//	rolls back ID               every node has done its part of that rotation, which is rolled back
//	lock lost                   another rotation has the lock after the start
func TestTranscripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/transcripts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			script, want, _ := strings.Cut(string(text), "----\n")
			got := play(t, script)
			if os.Getenv("UPDATE") != "" {
				require.NoError(t, os.WriteFile(path, []byte(script+"----\n"+got), 0o600))
				return
			}
			assert.Equal(t, want, got)
		})
	}
}

// play sets a cluster up and rotates everything on it.
func play(t *testing.T, script string) string {
	t.Helper()
	var c *cluster
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if words[0] == "nodes" {
			var controlPlanes, workers int
			_, err := fmt.Sscan(strings.Join(words[1:], " "), &controlPlanes, &workers)
			require.NoError(t, err)
			c = newCluster(controlPlanes, workers)
			continue
		}
		require.NotNil(t, c, "the first line says how many nodes there are")
		if len(words) == 2 && words[1] == "without-key" {
			c.withoutKey(t, words[0])
			continue
		}
		require.NoError(t, c.set(words), "line %q", line)
	}
	c.showsHealth = true
	now := time.Now()
	report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Now = func() time.Time { return now } })
	var out strings.Builder
	for _, entry := range inOrder(c.log) {
		fmt.Fprintln(&out, entry)
	}
	var nodes []string
	for _, item := range report.Items {
		if line := fmt.Sprintf("= %s %s", item.Node, item.Result); !slices.Contains(nodes, line) {
			nodes = append(nodes, line)
		}
	}
	slices.Sort(nodes)
	fmt.Fprintln(&out, strings.Join(nodes, "\n"))
	var stop *fleet.StopError
	switch {
	case errors.As(err, &stop) && stop.Changed:
		fmt.Fprintf(&out, "= error after a node was changed: %v\n", err)
	case err != nil:
		fmt.Fprintf(&out, "= error: %v\n", err)
	}
	return out.String()
}

// haveRotated makes every certificate that of a finished rotation, which is to be rolled back.
func (c *cluster) haveRotated(id string) {
	c.rollbackOf = id
	for _, n := range c.nodes {
		past := inventory.NodeRotation{ID: id, State: inventory.Finished, Backup: true}
		for i := range n.inventory.Certificates {
			now := &n.inventory.Certificates[i]
			old := now.Facts
			now.FingerprintSHA256 = strings.Replace(old.FingerprintSHA256, "old-", "new-", 1)
			past.Renewed = append(past.Renewed, inventory.Renewal{ID: now.ID(), Old: old, New: now.Facts})
		}
		n.inventory.Rotations = append(n.inventory.Rotations, past)
	}
}

// set carries out one line of a script.
func (c *cluster) set(words []string) error {
	switch strings.Join(words, " ") {
	case "lock lost":
		c.lost = true
		return nil
	case words[0] + " leader":
		c.leader = words[0]
		return nil
	}
	if strings.HasPrefix(strings.Join(words, " "), "rolls back ") && len(words) == 3 {
		c.haveRotated(words[2])
		return nil
	}
	if words[0] == "pods" && len(words) == 2 {
		_, err := fmt.Sscan(words[1], &c.orphans)
		return err
	}
	n := c.nodes[words[0]]
	if n == nil || len(words) < 2 {
		return errors.New("unknown")
	}
	switch {
	case words[1] == "unhealthy":
		n.unhealthy = "[-]etcd failed"
	case words[1] == "interrupted":
		n.inventory.Rotations = []inventory.NodeRotation{{ID: "7f3c2a", State: inventory.Committing}}
	case words[1] == "refuses":
		n.refuses = "refuse to sign"
	case words[1] == "requests":
		n.csr = &nodeapi.Record{Kind: nodeapi.CSRPosted, CSR: &nodeapi.CSR{Name: "csr-" + words[0]}}
	case words[1] == "stage" && len(words) == 3:
		n.stage = nodeapi.Kind(words[2])
	case words[1] == "commit" && len(words) == 3:
		n.commit = nodeapi.Kind(words[2])
	default:
		return errors.New("unknown")
	}
	return nil
}

// atTheSameTime says whether an entry may happen at the same time as the one before it:
// nodes of one kind are opened, staged or checked together.
func atTheSameTime(before, entry string) bool {
	checking := func(e string) bool { return verb(e) == "health" || verb(e) == "ready" }
	staging := func(e string) bool {
		return slices.Contains([]string{"Stage", "approve", "sign", "Issued"}, verb(e)) || isWorkerOpened(e)
	}
	return verb(before) == verb(entry) && verb(entry) != "Commit" || staging(before) && staging(entry) || checking(before) && checking(entry)
}

// inOrder sorts entries of the same time, whose order differs from run to run, and lists
// once what is repeated. Workers that are opened early stand with the control plane, whatever
// that is asked meanwhile, and processes that are let go, which end while the next nodes are
// opened, at the end.
func inOrder(log []string) []string {
	var out, early, abandoned []string
	committing := false
	for _, entry := range log {
		committing = committing || verb(entry) == "Commit"
		switch {
		case verb(entry) == "Abandon":
			abandoned = append(abandoned, entry)
		case !committing && isWorkerOpened(entry):
			early = append(early, entry)
		default:
			out = append(out, entry)
		}
	}
	if first := slices.IndexFunc(out, func(e string) bool { return verb(e) == "open" }); first >= 0 {
		out = slices.Insert(out, first, early...)
	}
	for start := 0; start < len(out); {
		end := start + 1
		for end < len(out) && atTheSameTime(out[end-1], out[end]) {
			end++
		}
		order := []string{"open", "Stage", "approve", "sign", "Issued", "ready", "health"}
		slices.SortFunc(out[start:end], func(a, b string) int {
			if verb(a) != verb(b) {
				return slices.Index(order, verb(a)) - slices.Index(order, verb(b))
			}
			return strings.Compare(a, b)
		})
		start = end
	}
	slices.Sort(abandoned)
	return append(slices.Compact(out), abandoned...)
}

func isWorkerOpened(entry string) bool { return strings.HasPrefix(entry, "open w") }

func verb(entry string) string { return strings.Fields(entry)[0] }
