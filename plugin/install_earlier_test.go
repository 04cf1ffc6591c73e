package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestStreamsOfAnEarlierVersionAreNamed: those in a NATS of the user's own have the subjects of
// this version's, and only who may there can remove them.
func TestStreamsOfAnEarlierVersionAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		first, again string
		kept, named  bool
	}{
		"an earlier version":              {"--nats-url tls://a.test:4222", "--dry-run=server", false, true},
		"one with a name for the cluster": {"--nats-url tls://a.test:4222", "--cluster-name 4711", false, true},
		"this version":                    {"--nats-url tls://a.test:4222", "", true, false},
		"from now on the watcher's own":   {"--nats-url tls://a.test:4222", "--nats-url=", false, false},
		"which it was before":             {"", "--nats-url tls://a.test:4222", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			cluster := "4711"
			if !strings.Contains(tt.again, cluster) {
				cluster = s.objects["/api/v1/namespaces/kube-system"]["metadata"].(map[string]any)["uid"].(string)
			}
			s.install(t, tt.first)
			if !tt.kept {
				s.forgetSettings()
			}
			command := "nats stream rm -f rotate-certs-events-" + cluster + "; nats stream rm -f rotate-certs-dead-" + cluster
			said := s.install(t, tt.again)
			assert.Equal(t, tt.named, strings.Contains(said, command), said)
		})
	}
}

// TestThePolicyOfAnEarlierVersionIsNamed: it was a file in a ConfigMap, which nothing reads now.
func TestThePolicyOfAnEarlierVersionIsNamed(t *testing.T) {
	const said = "kubectl -n rotate-certs get configmap rotate-certs-policy -o yaml"
	s := newAPIServer(t)
	s.install(t, "")
	assert.NotContains(t, s.install(t, ""), said, "there is none")
	s.add(t, "/api/v1/namespaces/rotate-certs/configmaps/rotate-certs-policy", `{"data":{"policy.yaml":"limits: {rotationsPerDay: 1}\n"}}`)
	assert.NotContains(t, s.install(t, ""), said, "there is a RotationPolicy")
	s.Lock()
	delete(s.objects, policyPath)
	s.Unlock()
	assert.Contains(t, s.install(t, "--dry-run=server"), said)
	assert.Contains(t, s.install(t, ""), said)
	assert.NotContains(t, s.install(t, ""), said, "from then on there is one")
}
