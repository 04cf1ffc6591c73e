package bus

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// nackObject is a Stream or Consumer of NACK, as far as the document needs it.
type nackObject struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Spec       nackSpec          `json:"spec"`
}

type nackSpec struct {
	Name            string   `json:"name,omitempty"`
	Subjects        []string `json:"subjects,omitempty"`
	Storage         string   `json:"storage,omitempty"`
	Retention       string   `json:"retention,omitempty"`
	Discard         string   `json:"discard,omitempty"`
	MaxAge          string   `json:"maxAge,omitempty"`
	MaxMsgs         int64    `json:"maxMsgs,omitempty"`
	MaxBytes        int64    `json:"maxBytes,omitempty"`
	MaxMsgSize      int32    `json:"maxMsgSize,omitempty"`
	DuplicateWindow string   `json:"duplicateWindow,omitempty"`
	AllowDirect     bool     `json:"allowDirect,omitempty"`
	DenyDelete      bool     `json:"denyDelete,omitempty"`
	DenyPurge       bool     `json:"denyPurge,omitempty"`
	PerSubject      int64    `json:"maxMsgsPerSubject,omitempty"`
	Replicas        int      `json:"replicas,omitempty"`

	StreamName    string `json:"streamName,omitempty"`
	DurableName   string `json:"durableName,omitempty"`
	DeliverPolicy string `json:"deliverPolicy,omitempty"`
	AckPolicy     string `json:"ackPolicy,omitempty"`
	AckWait       string `json:"ackWait,omitempty"`
	MaxDeliver    int    `json:"maxDeliver,omitempty"`
	FilterSubject string `json:"filterSubject,omitempty"`
}

// nackObjects are the declared streams and consumers as objects of NACK.
func nackObjects(t *testing.T, cluster string) string {
	t.Helper()
	var out []string
	add := func(kind, name string, spec nackSpec) {
		text, err := yaml.Marshal(nackObject{"jetstream.nats.io/v1beta2", kind, map[string]string{"name": name}, spec})
		require.NoError(t, err)
		out = append(out, string(text))
	}
	for _, s := range append(declaredStreams(cluster, 1), askedStream(cluster, 1)) {
		spec := nackSpec{
			Name: s.Name, Subjects: s.Subjects, Storage: "file", Retention: "limits", Discard: "old", MaxAge: s.MaxAge.String(),
			MaxMsgs: s.MaxMsgs, MaxBytes: s.MaxBytes, MaxMsgSize: s.MaxMsgSize, DuplicateWindow: s.Duplicates.String(), AllowDirect: true, Replicas: 1,
		}
		if s.Retention == jetstream.WorkQueuePolicy {
			spec.Retention, spec.Discard = "workqueue", "new"
		}
		add("Stream", s.Name, spec)
	}
	for _, c := range append(declaredConsumers(cluster, ackWait), askedConsumer(cluster, ackWait)) {
		spec := nackSpec{
			StreamName: c.stream, DurableName: c.Durable, DeliverPolicy: "all", AckPolicy: "explicit", AckWait: c.AckWait.String(), MaxDeliver: -1, FilterSubject: c.FilterSubject,
		}
		if c.DeliverPolicy != jetstream.DeliverAllPolicy {
			spec.DeliverPolicy = "new" // it knows no time before now
		}
		add("Consumer", c.stream+"-"+c.Durable, spec)
	}
	bucket := declaredBucket(1)
	add("Stream", "rotate-certs-clusters", nackSpec{
		Name: bucket.Name, Subjects: bucket.Subjects, Storage: "file", Retention: "limits", Discard: "new", MaxAge: bucket.MaxAge.String(), MaxMsgs: -1, PerSubject: 1,
		MaxBytes: bucket.MaxBytes, MaxMsgSize: bucket.MaxMsgSize, AllowDirect: true, DenyDelete: true, DenyPurge: true, Replicas: 1,
	})
	return strings.Join(out, "---\n")
}

// TestDocumentedNACKObjectsFit makes the streams and consumers that the document's objects ask
// for; a watcher that may create and change none of them uses them.
func TestDocumentedNACKObjectsFit(t *testing.T) {
	s := newSite(t)
	limited := *s
	limited.config = regexp.MustCompile(`(?m)^.*STREAM\.CREATE.*\n`).ReplaceAllString(s.config, "")
	s.start()
	js, err := jetstream.New(s.dialServer(roleRotator))
	require.NoError(t, err)
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- nack -->\n```yaml\n(.*?)```\n<!-- end -->").FindStringSubmatch(string(text))
	require.NotNil(t, block)
	kinds := map[string]int{}
	for _, part := range strings.Split(block[1], "---\n") {
		var o nackObject
		require.NoError(t, yaml.UnmarshalStrict([]byte(part), &o))
		kinds[o.Kind]++
		if o.Kind == "Stream" {
			_, err = js.CreateStream(t.Context(), o.Spec.stream(t))
		} else {
			_, err = js.CreateConsumer(t.Context(), o.Spec.StreamName, o.Spec.consumer(t))
		}
		require.NoError(t, err, part)
	}
	require.Equal(t, map[string]int{"Stream": 4, "Consumer": 3}, kinds)
	s.stop()

	limited.start()
	b := openReady(t, limited.busConfig())
	require.NoError(t, b.PutSummary(t.Context(), []byte(`{}`)))
	for _, want := range declaredStreams("prod", 1) {
		have, err := b.rotator.jetStream().Stream(t.Context(), want.Name)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(want.MaxAge, want.MaxMsgs, want.MaxBytes, want.MaxMsgSize, want.Duplicates), func(c jetstream.StreamConfig) string {
			return fmt.Sprint(c.MaxAge, c.MaxMsgs, c.MaxBytes, c.MaxMsgSize, c.Duplicates)
		}(have.CachedInfo().Config))
	}
}

func (s nackSpec) stream(t *testing.T) jetstream.StreamConfig {
	t.Helper()
	c := jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxMsgs: s.MaxMsgs, MaxBytes: s.MaxBytes, MaxMsgSize: s.MaxMsgSize, AllowDirect: s.AllowDirect, Replicas: s.Replicas,
		MaxAge: duration(t, s.MaxAge), DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge, MaxMsgsPerSubject: s.PerSubject,
	}
	if s.DuplicateWindow != "" {
		c.Duplicates = duration(t, s.DuplicateWindow)
	}
	require.NoError(t, c.Retention.UnmarshalJSON([]byte(`"`+s.Retention+`"`)))
	require.NoError(t, c.Discard.UnmarshalJSON([]byte(`"`+s.Discard+`"`)))
	require.NoError(t, c.Storage.UnmarshalJSON([]byte(`"`+s.Storage+`"`)))
	return c
}

func (s nackSpec) consumer(t *testing.T) jetstream.ConsumerConfig {
	t.Helper()
	c := jetstream.ConsumerConfig{Durable: s.DurableName, AckWait: duration(t, s.AckWait), MaxDeliver: s.MaxDeliver, FilterSubject: s.FilterSubject}
	require.NoError(t, c.AckPolicy.UnmarshalJSON([]byte(`"`+s.AckPolicy+`"`)))
	require.NoError(t, c.DeliverPolicy.UnmarshalJSON([]byte(`"`+s.DeliverPolicy+`"`)))
	return c
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}
