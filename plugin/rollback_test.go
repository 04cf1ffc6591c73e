package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// etcdRotated is a cluster on which rotation abcdef has renewed etcd's certificates.
func etcdRotated() *fake {
	f := healthy()
	for i := range f.scanned {
		n := &f.scanned[i]
		n.Time = noon
		r := inventory.NodeRotation{ID: "abcdef", Scope: etcdScope, State: inventory.Finished, StartTime: noon.Add(-day), LastTime: noon.Add(-day), Backup: true}
		for k := range n.Certificates {
			c := &n.Certificates[k]
			if c.Service != certs.Etcd {
				continue
			}
			old := c.Facts
			old.FingerprintSHA256 = "earlier-" + c.Name
			old.NotAfter = noon.Add(30 * day)
			r.Renewed = append(r.Renewed, inventory.Renewal{ID: c.ID(), Old: old, New: c.Facts})
		}
		if len(r.Renewed) > 0 {
			n.Rotations = []inventory.NodeRotation{r}
		}
	}
	return f
}

func TestRollbackPrintsPlanAndReport(t *testing.T) {
	f := etcdRotated()
	code, stdout, stderr := f.run(t, "rollback", "abcdef", "--dry-run=server")
	require.Zero(t, code, stderr)
	golden(t, "rollback-plan.txt", stdout)
	assert.False(t, f.did("Commit"), "%v", f.log)
	code, stdout, _ = f.run(t, "rollback", "abcdef", "--dry-run", "-o", "yaml", "--node", "cp1")
	require.Zero(t, code)
	golden(t, "rollback-plan.yaml", stdout)

	code, stdout, stderr = f.run(t, "rollback", "abcdef", "--yes")
	require.Zero(t, code, stderr)
	golden(t, "rollback.txt", stdout)
	assert.Contains(t, stderr, "new: rollback of abcdef. The CA stays")
	assert.True(t, strings.HasSuffix(stderr, ": 3 certificates put back and verified. Next: kubectl rotate-certs check\n"), stderr)
}

func TestExitCodesOfRollback(t *testing.T) {
	expired := func(f *fake) { f.scanned[0].Rotations[0].Renewed[0].Old.NotAfter = noon }
	for name, tt := range map[string]struct {
		change func(*fake)
		args   string
		code   int
		says   string
		begun  bool
	}{
		"verified":             {func(*fake) {}, "abcdef --yes", 0, "3 certificates put back and verified", true},
		"one node":             {func(*fake) {}, "abcdef --yes --node cp2", 0, "1 certificate put back and verified", true},
		"not confirmed":        {func(*fake) {}, "abcdef", 130, "Continue? [y/N]", false},
		"rolled back":          {func(f *fake) { f.ends["cp2"] = nodeapi.RolledBack }, "abcdef --yes", 2, "cp2 runs on its present certificates again", true},
		"state unknown":        {func(f *fake) { f.ends["cp2"] = nodeapi.Unknown }, "abcdef --yes", 5, "cp2: state unknown", true},
		"cannot be staged":     {func(f *fake) { f.unsigned = "cp2" }, "abcdef --yes", 1, "its earlier certificates cannot be put back", false},
		"expired":              {expired, "abcdef --yes", 4, "2 certificates put back and verified, but 1 certificate was left out: see above", true},
		"expired, require":     {expired, "abcdef --yes --require-all", 1, "a certificate in scope cannot be put back, so nothing was changed:\n  cp1: etcd-peer", false},
		"expired, alone":       {expired, "abcdef --yes --node cp1", 1, "\nhint: issue new certificates instead", false},
		"unknown":              {func(*fake) {}, "ffffff --yes", 1, "roll back rotation \"ffffff\": no node in scope has it in its journal; nothing was changed\nhint: kubectl rotate-certs history lists", false},
		"compromised":          {func(f *fake) { f.scanned[0].Rotations[0].Scope = "services=etcd;compromised" }, "abcdef --yes", 1, "it replaced compromised keys", false},
		"no id":                {func(*fake) {}, "--yes", 1, "want the id of one rotation\nhint: kubectl rotate-certs history lists them", false},
		"no valid id":          {func(*fake) {}, "a/b", 1, "an id is letters, digits and dashes", false},
		"dry run from reports": {func(*fake) {}, "abcdef --dry-run=client", 1, "--dry-run=client cannot judge a rollback", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := etcdRotated()
			tt.change(f)
			code, _, stderr := f.run(t, append([]string{"rollback"}, strings.Fields(tt.args)...)...)
			assert.Equal(t, tt.code, code, stderr)
			assert.Contains(t, stderr, tt.says)
			assert.Equal(t, tt.begun, f.did("Commit"), "%v", f.log)
		})
	}
}

func TestHistoryNamesARollback(t *testing.T) {
	f := etcdRotated()
	req := plan.Request{RollbackOf: "abcdef"}
	for i := range f.scanned[:3] {
		remembering(&f.scanned[i], "cccccc", req.ScopeText(), 0, inventory.Finished, 1)
		f.scanned[i].Rotations[0].Services = []certs.Service{certs.Etcd}
	}
	code, stdout, stderr := f.run(t, "history")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "etcd, rollback of abcdef")
	code, stdout, stderr = f.run(t, "history", "-o", "json")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, `"rollbackOf": "abcdef"`)
}
