package pages

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// summaryOf is the summary that a cluster has stored, with a change.
func summaryOf(t *testing.T, name string, change func(*v1alpha1.ClusterSummary)) bus.StoredSummary {
	t.Helper()
	summary := v1alpha1.ClusterSummary{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.ClusterSummaryKind, Cluster: name, State: v1alpha1.ClusterOK, WatcherVersion: "v0.9.0",
		EarliestExpiry: map[certs.Service]time.Time{certs.Etcd: noon.Add(90 * day), certs.Kubelet: noon.Add(80 * day)},
	}
	if change != nil {
		change(&summary)
	}
	value, err := json.Marshal(summary)
	require.NoError(t, err)
	return bus.StoredSummary{Token: bus.NameToken(name), Value: value, Written: noon.Add(-time.Minute)}
}

// sharing is the bus, as far as clusters know each other by it.
type sharing struct {
	read   func(context.Context) ([]bus.StoredSummary, error)
	stored []bus.StoredSummary
	ask    func(cluster string, asked event.RotationAsked) (string, error)
}

func (s sharing) ReadSummaries(ctx context.Context) ([]bus.StoredSummary, error) {
	if s.read != nil {
		return s.read(ctx)
	}
	return s.stored, nil
}

func (s sharing) AskRotation(_ context.Context, cluster string, asked event.RotationAsked) (string, error) {
	return s.ask(cluster, asked)
}

func TestSummariesOfOthersAreNotTrusted(t *testing.T) {
	for name, tc := range map[string]struct {
		value string
		says  string
	}{
		"empty or too large":     {"", "is empty or larger than 4096 bytes"},
		"garbage":                {"\x00\xff<script>", "malformed"},
		"no object":              {`[1]`, "malformed"},
		"a date that is none":    {`{"earliestExpiry":{"etcd":"soon"}}`, "malformed"},
		"nothing":                {`{}`, "of another version"},
		"a later version":        {`{"apiVersion":"rotate-certs.io/v9","kind":"ClusterSummary","cluster":"a","state":"OK"}`, "of another version than this watcher: rotate-certs.io/v9"},
		"another kind":           {`{"apiVersion":"rotate-certs.io/v1alpha1","kind":"Secret","cluster":"a","state":"OK"}`, "of another version"},
		"of another cluster":     {`{"apiVersion":"rotate-certs.io/v1alpha1","kind":"ClusterSummary","cluster":"b","state":"OK"}`, "names another cluster"},
		"a state that is none":   {`{"apiVersion":"rotate-certs.io/v1alpha1","kind":"ClusterSummary","cluster":"a","state":"` + strings.Repeat("x", 900) + `"}`, "unknown state: xxx"},
		"deeper than it may be":  {strings.Repeat("[", 4000), "malformed"},
		"a service twice, wrong": {`{"earliestExpiry":{"etcd":"2030-01-01T00:00:00Z","etcd":7}}`, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			got := otherCluster(bus.StoredSummary{Token: "a", Value: []byte(tc.value), Written: noon})
			assert.Equal(t, "a", got.Name)
			assert.Nil(t, got.Summary)
			assert.Contains(t, got.Unreadable, tc.says)
			assert.Less(t, len(got.Unreadable), 400)
		})
	}
}

func TestSummaryOfALaterReleaseIsReadAsFarAsItIsKnown(t *testing.T) {
	stored := summaryOf(t, "a", func(s *v1alpha1.ClusterSummary) {
		s.EarliestExpiry["later-service"] = noon
		s.Rotation = &v1alpha1.SummaryRotation{Name: strings.Repeat("r", 900)}
	})
	stored.Value = append([]byte(`{"later":1,`), stored.Value[1:]...)
	got := otherCluster(stored)
	require.Empty(t, got.Unreadable)
	assert.Len(t, got.Summary.EarliestExpiry, 2)
	assert.Len(t, got.Summary.Rotation.Name, shownText)
}

func TestSummariesAreReadOnceForAllUsers(t *testing.T) {
	now := noon
	reads := 0
	failure := errors.New("NATS is unavailable")
	others := NewOtherClusters("prod", sharing{read: func(ctx context.Context) ([]bus.StoredSummary, error) {
		reads++
		_, limited := ctx.Deadline()
		assert.True(t, limited)
		assert.NoError(t, ctx.Err(), "the first user has closed the page")
		return []bus.StoredSummary{summaryOf(t, "prod", nil), summaryOf(t, "b", nil)}, failure
	}}, func() time.Time { return now })
	closed, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		_, err := others.latest(closed)
		require.ErrorIs(t, err, failure)
	}
	assert.Equal(t, 1, reads)
	now = now.Add(10 * time.Second)
	failure = nil
	found, err := others.latest(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, reads)
	require.Len(t, found, 1, "without this cluster")
	assert.Equal(t, "b", found[0].Name)
}

// TestOtherClustersOnThePage: each is shown as far as it is known, as text and without a link.
func TestOtherClustersOnThePage(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": viewer, "none": nil})
	evil := `<img src=x onerror=alert(1)>`
	stored := []bus.StoredSummary{
		summaryOf(t, "prod", nil),
		summaryOf(t, "due-cluster", func(c *v1alpha1.ClusterSummary) {
			c.State = v1alpha1.ClusterDue
			c.Rotation = &v1alpha1.SummaryRotation{Name: "auto-" + evil, ID: "id7"}
		}),
		summaryOf(t, "hand-made", func(c *v1alpha1.ClusterSummary) { c.Rotation = &v1alpha1.SummaryRotation{ID: "id8"} }),
		summaryOf(t, evil, func(c *v1alpha1.ClusterSummary) { c.WatcherVersion = evil }),
		{Token: "garbage", Value: []byte("\x00"), Written: noon},
		summaryOf(t, "stopped", nil),
		summaryOf(t, "stopped-and-expired", func(c *v1alpha1.ClusterSummary) { c.EarliestExpiry[certs.Etcd] = noon.Add(-time.Hour) }),
	}
	stored[5].Written = noon.Add(-v1alpha1.FreshFor(v1alpha1.SummaryHeartbeat) - time.Second)
	stored[6].Written = stored[5].Written
	source, _ := newSource(t, s, func(source *Source) {
		source.OtherClusters = NewOtherClusters("prod", sharing{stored: stored}, source.Now)
	})
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)
	jane := newVisitor(t, server.URL)
	_, _, _ = jane.post("/sign-in", "token=token-of-jane")
	_, _, body := jane.get("/?sort=state")
	_, section, found := strings.Cut(body, "<h2>Other clusters</h2>")
	require.True(t, found)
	assert.NotContains(t, section, "<img")
	assert.NotContains(t, section, ">prod<")
	rows := map[string]string{}
	var order []string
	for _, row := range strings.Split(section, `<th scope="row">`)[1:] {
		row, _, _ = strings.Cut(row, "</tr>")
		name, _, _ := strings.Cut(row, "\n")
		name, _, _ = strings.Cut(name, " <span")
		rows[name] = row
		order = append(order, name)
		assert.NotContains(t, row, "<a ")
	}
	const escaped = "&lt;img src=x onerror=alert(1)&gt;"
	assert.Equal(t, []string{"stopped-and-expired", "due-cluster", "garbage", "stopped", escaped, "hand-made"}, order, "the worst first")
	assert.Contains(t, rows["due-cluster"], "c-expiring")
	assert.Contains(t, rows["due-cluster"], "auto-"+escaped+" <small>id7</small>")
	assert.Contains(t, rows["hand-made"], "started by hand <small>id8</small>")
	assert.NotContains(t, rows["stopped"], "started by hand")
	assert.Contains(t, rows["due-cluster"], "kubelet")
	assert.Contains(t, rows[escaped], "c-healthy")
	assert.NotContains(t, rows[escaped], "stale")
	assert.Contains(t, rows["garbage"], "its summary is malformed")
	assert.Contains(t, rows["stopped"], `<span class="tag">stale</span>`)
	assert.Contains(t, rows["stopped"], "c-unknown")
	assert.Contains(t, rows["stopped"], "last: OK")
	assert.Contains(t, rows["stopped-and-expired"], "c-expired")

	_, _, body = jane.get("/?q=DUE&state=expiring")
	_, section, _ = strings.Cut(body, "<h2>Other clusters</h2>")
	assert.Equal(t, 5, strings.Count(section, "<tr hidden>"))

	none := newVisitor(t, server.URL)
	_, _, _ = none.post("/sign-in", "token=token-of-none")
	_, _, body = none.get("/")
	assert.NotContains(t, body, "due-cluster")
	assert.Contains(t, body, "Other clusters are not shown: missing permissions: list nodecertificatereports")
}

func TestOtherClustersAreNotMentionedWithoutSharing(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": viewer})
	source, _ := newSource(t, s, nil)
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)
	jane := newVisitor(t, server.URL)
	_, _, body := jane.post("/sign-in", "token=token-of-jane")
	assert.Contains(t, body, "Clusters")
	assert.NotContains(t, body, "Other clusters")
}
