package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestRecoverDoesNotCallUnknownCertificatesValid(t *testing.T) {
	without := func(reasons ...inventory.NotInspected) inventory.Node {
		return inventory.Node{Name: "w1", NotInspected: reasons}
	}
	for name, tt := range map[string]struct {
		worker inventory.Node
		code   int
		words  string
	}{
		"certificates that are valid": {worker("w1"), 0, "No certificate of these hosts has expired; nothing was changed."},
		"none, and no reason": {without(), 1, "no certificate was found on w1, so nothing is known of its expiry there; nothing was changed\n" +
			"hint: name control-plane nodes, workers and hosts of etcd only"},
		"by design": {without(inventory.NotInspected{Reason: "MicroK8s runs every component in one process", Informational: true}), 1,
			"nothing was changed\n  w1: MicroK8s runs every component in one process"},
		"a stopped distribution": {without(inventory.NotInspected{Reason: "k3s.service of K3s runs no component"}), 1, "w1: k3s.service of K3s runs no component"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSSHHosts(t, controlPlane("cp1"), tt.worker)
			code, stderr := s.recover(t, newFake(controlPlane("cp1"), tt.worker), "cp1", "w1")
			assert.Equal(t, tt.code, code, stderr)
			assert.Contains(t, stderr, tt.words)
			assert.Equal(t, tt.code == 0, strings.Contains(stderr, "has expired; nothing"), stderr)
		})
	}
}

// TestRecoverDoesNotTrustAWrongClock: machines whose clocks were reset have no certificate that has
// expired by them.
func TestRecoverDoesNotTrustAWrongClock(t *testing.T) {
	s := newSSHHosts(t, controlPlane("cp1"))
	n := controlPlane("cp1")
	n.Time = time.Now().AddDate(-2, 0, 0)
	s.answer("cp1", "scan", n)
	for _, more := range [][]string{nil, {"--plan"}} {
		code, _, stderr := newFake(controlPlane("cp1")).run(t, append(append([]string{"recover", "--yes"}, s.flags("cp1")[2:]...), more...)...)
		assert.Equal(t, 1, code, stderr)
		assert.Regexp(t, `it is not known whether certificates have expired, and nothing was changed: clocks differ by 175\d\dh\S+: this machine is 175\d\dh\S+ ahead`, stderr)
		assert.NotContains(t, stderr, "No certificate of these hosts has expired")
	}
	code, _, stderr := newFake(controlPlane("cp1")).run(t, append([]string{"recover", "--yes", "--force"}, s.flags("cp1")[2:]...)...)
	assert.Zero(t, code, stderr)
}
