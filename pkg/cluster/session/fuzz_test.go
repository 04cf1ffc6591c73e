package session

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// FuzzFollow is a node that writes anything as a record.
func FuzzFollow(f *testing.F) {
	for _, rec := range []nodeapi.Record{
		{Seq: 1, Node: "w1", Rotation: "7f3c2a", Kind: nodeapi.Committed, Renewals: []inventory.Renewal{{}}},
		{Seq: 2, Node: "cp1", Rotation: "7f3c2a", Kind: nodeapi.Verified, Evidence: &nodeapi.Evidence{}},
		{Seq: 2, Node: "w1", Rotation: "other", Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{}},
	} {
		line, err := json.Marshal(rec)
		require.NoError(f, err)
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var after int64
		_ = (&Session{Node: "w1", Rotation: "7f3c2a"}).deliverRecord(line, &after, func(r nodeapi.Record) error {
			require.Equal(t, "w1/7f3c2a", r.Node+"/"+r.Rotation, "a node speaks for itself only")
			return nil
		})
	})
}
