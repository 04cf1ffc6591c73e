package plugin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const etcdScope = "services=etcd"

// remembering gives a node a rotation that began some time before noon and took
// 12 s.
func remembering(n *inventory.Node, id, scope string, ago time.Duration, state inventory.RotationState, renewed int) {
	r := inventory.NodeRotation{ID: id, Scope: scope, State: state, StartTime: noon.Add(-ago), LastTime: noon.Add(12*time.Second - ago)}
	r.Renewed = make([]inventory.Renewal, renewed)
	n.Rotations = append([]inventory.NodeRotation{r}, n.Rotations...)
}

// eventful is a cluster with a past: one rotation that went well, and a later one that
// stopped at cp2.
func eventful() *fake {
	f := healthy()
	for i := range f.scanned {
		remembering(&f.scanned[i], "aaaaaa", plan.Request{Services: certs.Services()}.ScopeText(), 30*day, inventory.Finished, 5)
	}
	remembering(&f.scanned[0], "7f3c2a", etcdScope, time.Hour, inventory.Committed, 3)
	remembering(&f.scanned[1], "7f3c2a", etcdScope, time.Hour, inventory.RolledBack, 0)
	remembering(&f.scanned[2], "7f3c2a", etcdScope, time.Hour, inventory.Staged, 0)
	return f
}

func TestHistory(t *testing.T) {
	for file, args := range map[string]string{"history.txt": "", "history-wide.txt": "-o wide", "history.yaml": "-o yaml --node cp2", "history-name.txt": "-o name"} {
		f := eventful()
		code, stdout, stderr := f.run(t, append([]string{"history"}, strings.Fields(args)...)...)
		require.Zero(t, code, stderr)
		golden(t, file, stdout)
		assert.True(t, f.did("permissions for check"), "it may do no more than check")
		assert.False(t, f.did("lock"))
	}
}

func TestHistoryOfOneRotation(t *testing.T) {
	f := eventful()
	f.logs = map[string]nodeapi.Journal{}
	records := func(node string, kinds ...nodeapi.Kind) {
		log := nodeapi.Journal{Node: node, Rotation: "7f3c2a"}
		start := noon.Add(-time.Hour)
		for i, k := range kinds {
			rec := nodeapi.Record{Seq: int64(i + 1), Time: start.Add(time.Duration(i) * 1500 * time.Millisecond), Node: node, Rotation: "7f3c2a", Token: 3, Kind: k}
			switch k {
			case nodeapi.Staging:
				rec.Scope, rec.Start, rec.Services = etcdScope, &start, []certs.Service{certs.Etcd}
			case nodeapi.Restarting:
				rec.Service = certs.Etcd
			case nodeapi.Restarted:
				rec.Service, rec.UnavailableSeconds = certs.Etcd, 3.4
			case nodeapi.Verified:
				rec.Evidence = &nodeapi.Evidence{Service: certs.Etcd, Method: nodeapi.Handshake, Detail: "10.0.0.1:2379 serves 3f9a"}
			case nodeapi.Committed:
				rec.Renewals = []inventory.Renewal{{ID: "etcd/etcd-peer@/etc/kubernetes/pki/etcd/peer.crt", Old: facts("a", "etcd-ca", 7*day), New: facts("a", "etcd-ca", 365*day)}}
			case nodeapi.RollingBack:
				rec.Service, rec.Message = certs.Etcd, "etcd did not become healthy within 60s on its new certificate"
			case nodeapi.RolledBack:
				rec.Message, rec.Hint = "\"tls: private key does not match\x1b[2J public key\"", "check the disk"
			}
			log.Records = append(log.Records, rec)
		}
		f.logs[node] = log
	}
	records("cp1", nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Replaced, nodeapi.Restarting, nodeapi.Restarted, nodeapi.Verified, nodeapi.Committed)
	records("cp2", nodeapi.Staging, nodeapi.Staged, nodeapi.Committing, nodeapi.Replaced, nodeapi.Restarting, nodeapi.RollingBack, nodeapi.RolledBack)
	for file, args := range map[string]string{"history-one.txt": "", "history-one-node.txt": "--node cp2", "history-one-wide.txt": "-o wide", "history-one.yaml": "-o yaml --node cp2", "history-one-name.txt": "-o name"} {
		code, stdout, stderr := f.run(t, append([]string{"history", "7f3c2a"}, strings.Fields(args)...)...)
		require.Zero(t, code, stderr)
		assert.NotContains(t, stdout, "\x1b[", "what a node says rewrites no terminal")
		golden(t, file, stdout)
	}

	code, stdout, stderr := f.run(t, "history", "ffffff", "--context", "night-shift")
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, `no journal has rotation "ffffff"`)
	assert.Contains(t, stderr, "kubectl rotate-certs --context night-shift history lists them\n")
}

func TestStatus(t *testing.T) {
	held := func(until time.Duration) *kube.HeldError {
		return &kube.HeldError{Holder: "jane@laptop (rotation 7f3c2a)", Since: noon.Add(-5 * time.Minute), Until: noon.Add(until)}
	}
	done := func() *fake {
		f := eventful()
		for i := range f.scanned {
			f.scanned[i].Rotations = f.scanned[i].Rotations[len(f.scanned[i].Rotations)-1:]
		}
		return f
	}
	var all strings.Builder
	for _, tt := range []struct {
		name string
		f    func() *fake
	}{
		{"nothing ever ran", healthy},
		{"the last one went well", done},
		{"one stopped", eventful},
		{"one was interrupted", func() *fake {
			f := done()
			remembering(&f.scanned[0], "7f3c2a", etcdScope+";nodes=cp1", time.Hour, inventory.Committing, 0)
			return f
		}},
		{"one was interrupted days ago", func() *fake {
			f := done()
			remembering(&f.scanned[0], "7f3c2a", etcdScope, 2*day, inventory.Staged, 0)
			return f
		}},
		{"manual intervention is required", func() *fake {
			f := done()
			remembering(&f.scanned[0], "7f3c2a", etcdScope, 2*day, inventory.Unknown, 0)
			return f
		}},
		{"one is in progress", func() *fake { f := eventful(); f.holder = held(30 * time.Second); return f }},
		{"the lock has expired", func() *fake { f := eventful(); f.holder = held(-time.Minute); return f }},
		{"a node's journals are damaged", func() *fake {
			f := done()
			f.scanned[0].NotInspected = []inventory.NotInspected{{Reason: inventory.UnreadJournals + "journal is damaged in line 3"}, {Reason: "something else"}}
			return f
		}},
	} {
		f := tt.f()
		code, stdout, stderr := f.run(t, "status")
		require.Zero(t, code, stderr)
		all.WriteString("# " + tt.name + "\n" + stdout + "\n")
		assert.True(t, f.did("permissions for status"))
	}
	golden(t, "status.txt", all.String())

	f := eventful()
	f.holder = held(30 * time.Second)
	_, stdout, _ := f.run(t, "status", "-o", "json")
	var status v1alpha1.RotationStatus
	require.NoError(t, json.Unmarshal([]byte(stdout), &status))
	assert.Equal(t, "jane@laptop (rotation 7f3c2a)", status.Running.Holder)
	assert.Equal(t, "7f3c2a", status.Last.ID)
	require.Len(t, status.Unfinished, 1)
	assert.Equal(t, "kubectl rotate-certs --service etcd", status.Unfinished[0].Continue)
	assert.NotContains(t, stdout, "null")
}

// TestHistoryCommandOfAFailureShowsItsCause: the command that an error names exists, and
// asks that node for that rotation.
func TestHistoryCommandOfAFailureShowsItsCause(t *testing.T) {
	f := healthy()
	f.ends["cp2"] = nodeapi.RolledBack
	_, _, stderr := f.run(t, "--service", "etcd")
	_, hint, found := strings.Cut(stderr, "next: kubectl rotate-certs ")
	require.True(t, found, stderr)
	hint, _, _ = strings.Cut(hint, "\n")
	words := strings.Fields(hint)
	require.Len(t, words, 4, hint)
	f.run(t, words...)
	assert.True(t, f.did("journals of "+words[1]+" on cp2"), "%v", f.log)
}

func TestUnverifiedNodesAreReportedUntilVerified(t *testing.T) {
	for _, unverified := range []bool{true, false} {
		f := eventful()
		f.scanned[1].Rotations[0].Unverified = unverified
		f.logs = map[string]nodeapi.Journal{"cp2": {Node: "cp2", Rotation: "7f3c2a", Records: []nodeapi.Record{
			{Seq: 1, Time: noon, Node: "cp2", Rotation: "7f3c2a", Kind: nodeapi.Staging, Scope: etcdScope},
			{Seq: 2, Time: noon, Node: "cp2", Rotation: "7f3c2a", Kind: nodeapi.RolledBack, Unverified: unverified},
		}}}
		for _, command := range []string{"status", "history 7f3c2a"} {
			_, stdout, _ := f.run(t, strings.Fields(command)...)
			assert.Equal(t, unverified, strings.Contains(stdout, "cp2: rolled back, NOT VERIFIED YET"), "%s: %s", command, stdout)
			assert.Equal(t, !unverified, strings.Contains(stdout, "cp2: rolled back, verified"), "%s: %s", command, stdout)
		}
	}
}
