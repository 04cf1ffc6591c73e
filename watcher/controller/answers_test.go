package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// permitKubelet is a decider whose policy permits requests for the kubelet.
func (w *world) permitKubelet() *Decider {
	d := w.decider()
	policy := renewal.Default()
	policy.FleetServices = []certs.Service{certs.Kubelet}
	d.UsePolicy(&policy)
	return d
}

// answered are the answers in the summary now.
func (w *world) answered(d *Decider) []v1alpha1.SummaryAnswer {
	w.t.Helper()
	rotations := w.rotations()
	for i := range rotations {
		if rotations[i].CreationTimestamp.IsZero() { // the API server sets it
			rotations[i].CreationTimestamp = metav1.NewTime(w.clock.now())
		}
	}
	return d.AnswersFor(rotations)
}

func TestRefusalIsInTheSummaryWithItsReason(t *testing.T) {
	frozen := func(p *renewal.Policy) { p.Freeze.On = true }
	notifyOnly := func(p *renewal.Policy) { *p = p.NotifyOnly() }
	for name, tc := range map[string]struct {
		change  func(*renewal.Policy)
		service certs.Service
		says    string
	}{
		"the policy takes no requests":     {func(p *renewal.Policy) { p.FleetServices = nil }, certs.Kubelet, "(fleetRequests.services)"},
		"the policy names another service": {nil, certs.Etcd, "does not permit other clusters to ask for etcd"},
		"a freeze":                         {frozen, certs.Kubelet, "renewals are frozen"},
		"notify-only":                      {notifyOnly, certs.Kubelet, "the policy is notify-only"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.decider()
			policy := renewal.Default()
			policy.FleetServices = []certs.Service{certs.Kubelet}
			if tc.change != nil {
				tc.change(&policy)
			}
			d.UsePolicy(&policy)
			require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(tc.service), "one"))
			answers := w.answered(d)
			require.Len(t, answers, 1)
			assert.Equal(t, event.AskedName("staging", "one"), answers[0].Request)
			assert.Contains(t, answers[0].Refused, tc.says)
			assert.Equal(t, noon, answers[0].At)
			assert.Empty(t, answers[0].State)
		})
	}
}

func TestSummaryHasRotationsAndRefusals(t *testing.T) {
	w := newWorld(t)
	d := w.permitKubelet()
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "two"))
	answers := w.answered(d)
	require.Len(t, answers, 2)
	assert.Equal(t, v1alpha1.SummaryAnswer{Request: event.AskedName("staging", "one"), At: noon}, answers[0])
	assert.Equal(t, "a rotation that was asked for has not ended", answers[1].Refused)

	rotation := w.rotations()[0]
	rotation.CreationTimestamp = metav1.NewTime(noon)
	rotation.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Reason: string(v1alpha1.StateRolledBack)}}
	assert.Equal(t, v1alpha1.StateRolledBack, d.AnswersFor([]v1alpha1.CertificateRotation{rotation})[0].State)
	w.clock.pass(v1alpha1.AnswersKept + time.Second)
	assert.Empty(t, d.AnswersFor([]v1alpha1.CertificateRotation{rotation}), "the day is over")
}

// TestFirstAnswerStands: the same id of the same cluster is the same request, also where the policy
// has changed since. The same id of another cluster is another one.
func TestFirstAnswerStands(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	policy := renewal.Default()
	policy.FleetServices = []certs.Service{certs.Kubelet}
	d.UsePolicy(&policy)
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	d.GiveUpAsked(t.Context(), asksFor(certs.Kubelet), "one", "too old")
	assert.Empty(t, w.rotations())
	require.Len(t, w.answered(d), 1)
	assert.Contains(t, w.answered(d)[0].Refused, "fleetRequests.services")
	assert.Len(t, w.events.published, 1)

	other := asksFor(certs.Kubelet)
	other.Cluster = "test"
	require.NoError(t, d.ReceiveAsked(t.Context(), other, "one"))
	require.Len(t, w.rotations(), 1)
	assert.Equal(t, event.AskedName("test", "one"), w.rotations()[0].Name)
	d.GiveUpAsked(t.Context(), other, "one", "not handled in 5 deliveries")
	answers := w.answered(d)
	require.Len(t, answers, 2, "a request that has led to a rotation is not refused")
	assert.Empty(t, answers[0].Refused)
}

// TestAnswersSurviveARestart: rotations are objects, and refusals are published.
func TestAnswersSurviveARestart(t *testing.T) {
	w := newWorld(t)
	before := w.permitKubelet()
	require.NoError(t, before.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	require.NoError(t, before.ReceiveAsked(t.Context(), asksFor(certs.Etcd), "two"))
	before.GiveUpAsked(t.Context(), asksFor(certs.Etcd), "three", "too old")
	want := w.answered(before)
	require.Len(t, want, 3)

	after := w.decider()
	for i, data := range w.events.published {
		after.RestoreRefusal(event.New("prod", noon.Add(time.Duration(i)), data))
	}
	assert.Equal(t, want, w.answered(after))
	require.NoError(t, after.ReceiveAsked(t.Context(), asksFor(certs.Etcd), "two"), "NATS delivers it again: it was not acknowledged")
	assert.Equal(t, want, w.answered(after))
}

// TestNoRefusalWhereTheAPIServerDoesNotAnswer: the request may have led to a rotation.
func TestNoRefusalWhereTheAPIServerDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	d := w.permitKubelet()
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "one"))
	d.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("connection refused")
		}})
	d.GiveUpAsked(t.Context(), asksFor(certs.Kubelet), "one", "not handled in 5 deliveries")
	assert.Len(t, w.events.published, 1, "the answer that it led to a rotation")
	answers := w.answered(d)
	require.Len(t, answers, 1)
	assert.Empty(t, answers[0].Refused)
}

// TestAnswersAreBounded for any number of requests, and those of one cluster do not replace the
// answers to another.
func TestAnswersAreBounded(t *testing.T) {
	w := newWorld(t)
	d := w.decider()
	require.NoError(t, d.ReceiveAsked(t.Context(), asksFor(certs.Kubelet), "mine"))
	hostile := asksFor(certs.Kubelet)
	hostile.Cluster = "hostile"
	for i := range 50 {
		d.GiveUpAsked(t.Context(), hostile, strings.Repeat("\u202e<", 9000)+fmt.Sprint(i), "it belongs to cluster \x1b[31m\n\u202e\xff"+strings.Repeat("<&\"", 900))
	}
	answers := w.answered(d)
	require.Len(t, answers, 1+refusalsOfOne)
	assert.Equal(t, event.AskedName("staging", "mine"), answers[len(answers)-1].Request)
	for _, one := range answers {
		assert.LessOrEqual(t, len([]rune(one.Refused)), reasonBytes+1)
		assert.NotContains(t, one.Refused, "\u202e")
		assert.NotContains(t, one.Refused, "\x1b")
	}
	for i := range 90 {
		hostile.Cluster = fmt.Sprint("cluster-", i)
		d.GiveUpAsked(t.Context(), hostile, "id", strings.Repeat("<", 900))
	}
	assert.Len(t, d.refusals.kept, refusalsOfAll)
	assert.Len(t, w.answered(d), answersShared)
	value, err := json.Marshal(w.answered(d))
	require.NoError(t, err)
	assert.Less(t, len(value), 2000)

	var many []v1alpha1.CertificateRotation
	for i := range 90 {
		many = append(many, v1alpha1.CertificateRotation{ObjectMeta: metav1.ObjectMeta{Name: event.AskedName("staging", fmt.Sprint(i)), CreationTimestamp: metav1.NewTime(noon)}})
	}
	many[0].Name = event.AskedPrefix + strings.Repeat("x", 240) // a user's own
	all := d.AnswersFor(many)
	assert.LessOrEqual(t, len(all), answersShared)
	assert.NotEmpty(t, all[rotationsShared].Refused, "refusals have room, too")
}

// TestRequestSaysNothingOfItsAnswer: the sender cannot choose what is published as the answer.
func TestRequestSaysNothingOfItsAnswer(t *testing.T) {
	w := newWorld(t)
	d := w.permitKubelet()
	forged := asksFor(certs.Etcd)
	forged.Rotation = "asked-forged"
	forged.Request = "forged"
	require.NoError(t, d.ReceiveAsked(t.Context(), forged, "one"))
	forged.Services = []certs.Service{certs.Kubelet}
	forged.Refused = "forged"
	require.NoError(t, d.ReceiveAsked(t.Context(), forged, "two"))
	require.Len(t, w.events.published, 2)
	for i, want := range []event.RotationAsked{
		{Services: []certs.Service{certs.Etcd}, Request: "one", Refused: "the RotationPolicy does not permit other clusters to ask for etcd (fleetRequests.services)"},
		{Services: []certs.Service{certs.Kubelet}, Request: "two", Rotation: event.AskedName("staging", "two")},
	} {
		want.Cluster = forged.Cluster
		want.User = forged.User
		assert.Equal(t, want, w.events.published[i])
	}
}
