package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestCertificateInMemoryMakesTheRestartNeeded: --restart=if-needed would keep an API
// server running for years, on a loopback certificate of one.
func TestCertificateInMemoryMakesTheRestartNeeded(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	year := 365 * 24 * time.Hour
	for name, tt := range map[string]struct {
		left   time.Duration
		policy RestartPolicy
		owner  certs.Service
		want   bool
	}{
		"far from its end":        {year * 3 / 4, RestartIfNeeded, certs.KubeAPIServer, false},
		"in its second half":      {year / 3, RestartIfNeeded, certs.KubeAPIServer, true},
		"expired":                 {-time.Hour, RestartIfNeeded, certs.KubeAPIServer, true},
		"restarts are not wanted": {-time.Hour, RestartNever, certs.KubeAPIServer, false},
		"another component's":     {-time.Hour, RestartIfNeeded, certs.KubeScheduler, false},
	} {
		end := now.Add(tt.left)
		n := inventory.Node{
			Name: "cp1", Time: now,
			Components:   []inventory.Component{{Service: certs.KubeAPIServer, Runtime: inventory.StaticPod}},
			Certificates: []inventory.Certificate{{Facts: certs.Facts{FingerprintSHA256: "a"}, Service: certs.KubeAPIServer, UsedBy: []certs.Service{certs.KubeAPIServer}, Name: "apiserver", Issuer: inventory.Issuer{Kind: inventory.LocalCA}}},
			InMemory:     []inventory.InMemory{{Service: tt.owner, Facts: certs.Facts{NotBefore: end.Add(-year), NotAfter: end}}},
		}
		p, err := BuildPlan([]inventory.Node{n}, Request{Services: []certs.Service{certs.KubeAPIServer}, Restart: tt.policy}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(p.AllSteps()[0].Restarts, certs.KubeAPIServer); got != tt.want {
			t.Errorf("%s: restarted %v", name, got)
		}
	}
}
