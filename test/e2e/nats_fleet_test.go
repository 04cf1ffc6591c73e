//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// staging is the name of another cluster, as whose user "fleet" the tests connect.
const staging = "staging"

// asFleet connects as the user "fleet" of staging.
func (s *natsServer) asFleet(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := s.dial(0, s.nkey(t, "fleet"), nats.CustomInboxPrefix("_INBOX_fleet"))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}

// askRotation asks for a rotation of the scheduler's certificate, as jane of staging.
func (s *natsServer) askRotation(t *testing.T, js jetstream.JetStream, id string) {
	t.Helper()
	message := nats.NewMsg("rotate-certs-asked.v1." + s.cluster + "." + staging)
	message.Header.Set("Content-Type", "application/cloudevents+json")
	message.Data = fmt.Appendf(nil, `{"specversion": "1.0", "id": %q, "type": "io.rotate-certs.rotation.asked.v1", "source": "/clusters/%s",
		"datacontenttype": "application/json", "data": {"services": ["kube-scheduler"], "cluster": %q, "user": "jane"}}`, id, s.cluster, staging)
	_, err := js.PublishMsg(t.Context(), message, jetstream.WithMsgID(id))
	require.NoError(t, err)
}

// askedName names a request of staging, as docs/events.md says.
func askedName(id string) string {
	return fmt.Sprintf("asked-%x", sha256.Sum256(fmt.Appendf(nil, "%q %q", staging, id)))[:len("asked-")+20]
}

// answers are those in the summary of the cluster.
func (s *natsServer) answers(t *testing.T, js jetstream.JetStream) []v1alpha1.SummaryAnswer {
	t.Helper()
	bucket, err := js.KeyValue(t.Context(), "rotate-certs-clusters")
	require.NoError(t, err)
	value, err := bucket.Get(t.Context(), s.cluster)
	require.NoError(t, err)
	var summary v1alpha1.ClusterSummary
	require.NoError(t, json.Unmarshal(value.Value(), &summary))
	return summary.Answers
}

// anotherClusterAsks: it reads the summary of this one, and its request is refused until the
// RotationPolicy permits it. A repetition is no second request.
func (s *natsServer) anotherClusterAsks(t *testing.T) {
	known := len(the.rotations(t))
	js := s.asFleet(t)
	var summary v1alpha1.ClusterSummary
	last := "" // what was read last; an agent scans again a minute after a change
	defer func() { t.Logf("summary: %s", last) }()
	within(t, 2*time.Minute, "a summary of a cluster in which nothing is due", func() bool {
		bucket, err := js.KeyValue(t.Context(), "rotate-certs-clusters")
		if err != nil {
			last = err.Error()
			return false
		}
		value, err := bucket.Get(t.Context(), s.cluster)
		if err != nil {
			last = err.Error()
			return false
		}
		last = string(value.Value())
		summary = v1alpha1.ClusterSummary{} // what is absent now is not in it
		return json.Unmarshal(value.Value(), &summary) == nil && summary.State == v1alpha1.ClusterOK && summary.Rotation == nil
	})
	assert.Equal(t, s.cluster, summary.Cluster)
	assert.Equal(t, version.Version, summary.WatcherVersion)
	assert.Contains(t, the.metrics(t), "rotate_certs_summary_shared 1")

	s.askRotation(t, js, "change-1")
	within(t, time.Minute, "the refusal", func() bool {
		o := the.kubectl(t, "get", "events", "-A", "--field-selector", "reason=RequestRefused", "-o", "jsonpath={.items[*].message}")
		return strings.Contains(o.stdout, "jane of cluster staging asked for kube-scheduler: refused")
	})
	assert.Len(t, the.rotations(t), known)
	within(t, time.Minute, "the refusal in the summary, for staging", func() bool {
		return slices.ContainsFunc(s.answers(t, js), func(a v1alpha1.SummaryAnswer) bool {
			return a.Request == askedName("change-1") && strings.Contains(a.Refused, "fleetRequests.services")
		})
	})

	o := the.kubectl(t, "patch", "rotationpolicies", v1alpha1.RotationPolicyName, "--type", "merge", "-p", `{"spec": {"fleetRequests": {"services": ["kube-scheduler"]}}}`)
	require.Zero(t, o.exit, "%s", o)
	within(t, time.Minute, "the policy in force", func() bool {
		p := the.kubectl(t, "get", "rotationpolicies", v1alpha1.RotationPolicyName, "-o", "jsonpath={.metadata.generation} {.status.observedGeneration}")
		generation, observed, _ := strings.Cut(p.stdout, " ")
		return generation == observed
	})
	const conf = "/etc/kubernetes/scheduler.conf"
	node := the.controlPlanes()[0].Name
	before := the.snapshot(t, node).identity(t, conf, conf)
	for range 2 {
		s.askRotation(t, js, "change-2")
	}
	within(t, 3*time.Minute, "the end of the rotation that was asked for", func() bool {
		r := the.rotations(t)
		return len(r) == known+1 && r[known].State() == v1alpha1.StateSucceeded
	})
	assert.Equal(t, "jane of cluster staging", the.rotations(t)[known].Annotations["rotate-certs.io/requested-by"])
	within(t, time.Minute, "the rotation in the summary, for staging", func() bool {
		return slices.ContainsFunc(s.answers(t, js), func(a v1alpha1.SummaryAnswer) bool {
			return a.Request == askedName("change-2") && a.Refused == "" && a.State == v1alpha1.StateSucceeded
		})
	})
	assertRenewed(t, "scheduler.conf", before, the.snapshot(t, node).identity(t, conf, conf))
	o = the.kubectl(t, "patch", "rotationpolicies", v1alpha1.RotationPolicyName, "--type", "json", "-p", `[{"op": "remove", "path": "/spec/fleetRequests"}]`)
	require.Zero(t, o.exit, "%s", o)
}
