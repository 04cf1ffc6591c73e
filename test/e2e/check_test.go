//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificateList is the documented form of check's result.
type certificateList struct {
	APIVersion, Kind string
	Items            []struct {
		Node, Service, Name, Path, Subject, Issuer, SerialNumber, FingerprintSHA256, Status, Reason string
		NotBefore, NotAfter                                                                         string
		Served                                                                                      *struct{ Address, FingerprintSHA256 string }
	}
	NotInspected []struct{ Node, Service, Path, Reason string }
}

func (l *lab) check(t *testing.T, args ...string) (certificateList, outcome) {
	t.Helper()
	o := l.kubectl(t, append([]string{"rotate-certs", "check", "-o", "json"}, args...)...)
	var list certificateList
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &list), "%s", o)
	require.Equal(t, "CertificateList", list.Kind)
	return list, o
}

func TestCheckSeesEveryCertificate(t *testing.T) {
	list, o := the.check(t)
	assert.Zero(t, o.exit, "%s", o)
	assert.Empty(t, list.NotInspected)
	t.Logf("check of %d nodes took %s", len(the.nodes), o.took)
	seen := map[string]string{}
	for _, i := range list.Items {
		seen[i.Node+" "+i.Path] = i.FingerprintSHA256
		assert.Equal(t, "OK", i.Status, "%s %s: %s", i.Node, i.Name, i.Reason)
		if i.Served != nil {
			assert.Equal(t, i.FingerprintSHA256, i.Served.FingerprintSHA256)
		}
	}
	count := 0
	for _, n := range the.nodes {
		files := the.snapshot(t, n.Name)
		for _, service := range services {
			for _, s := range the.certificates(t, service, n, files) {
				count++
				assert.Equal(t, fingerprint(files.identity(t, s.cert, s.key).leaf), seen[n.Name+" "+s.cert], "%s %s", n.Name, s.cert)
			}
		}
	}
	assert.Equal(t, count, len(list.Items), "every certificate once, and no other")
}

func TestCheckWithinASharperLimit(t *testing.T) {
	list, o := the.check(t, "--within", "100000h")
	assert.Equal(t, 1, o.exit, "everything ends within eleven years")
	for _, i := range list.Items {
		assert.Equal(t, "Expiring", i.Status)
	}
}

func TestCheckChangesNothing(t *testing.T) {
	before, ran := the.snapshots(t), the.running(t)
	the.check(t)
	for _, n := range the.nodes {
		assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
	}
	assert.Empty(t, ran.restarted(the.running(t)))
}
