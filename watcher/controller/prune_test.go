package controller

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// TestOldRotationsAreDeleted: automatic rotations that ended more than 30 days ago, but never
// the last twenty, nor what decisions are still made of.
func TestOldRotationsAreDeleted(t *testing.T) {
	past := func(name string, age time.Duration) *v1alpha1.CertificateRotation {
		c := asked(name)
		c.Spec.Trigger.Fingerprints = []string{name}
		c.CreationTimestamp = metav1.NewTime(noon.Add(-age - time.Hour))
		at := metav1.NewTime(noon.Add(-age))
		setState(c, v1alpha1.StateSucceeded, "", at.Time)
		c.Status.CompletionTime = &at
		return c
	}
	w := newWorld(t)
	old := past("old", 40*day)
	kept := []*v1alpha1.CertificateRotation{past("young", 29*day), past("failed-and-still-there", 50*day), past("on-a-silent-node", 50*day), past("by-hand", 60*day), past("running", 60*day)}
	kept[1].Spec.Trigger.Fingerprints = []string{oldPrint}
	kept[2].Spec.Nodes = []string{"w1"}
	kept[3].Spec.Trigger = nil
	setState(kept[4], v1alpha1.StateRunning, "", noon)
	kept[4].Status.CompletionTime = nil
	for i := range keepLast {
		kept = append(kept, past(fmt.Sprint("last-", i), time.Duration(i)*time.Hour))
	}
	for _, c := range append(kept, old) {
		require.NoError(t, w.client.Create(t.Context(), c))
	}
	w.node("cp1", true)
	w.report("cp1", oldPrint, day)
	w.node("w1", false) // whose agent has not reported
	p := &Pruner{Client: w.client, Picture: w.picture, Log: slog.New(slog.DiscardHandler), Now: w.clock.now}
	p.deleteOld(t.Context())

	var list v1alpha1.CertificateRotationList
	require.NoError(t, w.client.List(t.Context(), &list))
	var left, want []string
	for _, c := range list.Items {
		left = append(left, c.Name)
	}
	for _, c := range kept {
		want = append(want, c.Name)
	}
	assert.ElementsMatch(t, want, left)
}

func TestTheLastTwentyStayForEver(t *testing.T) {
	var all []v1alpha1.CertificateRotation
	for i := range keepLast + 2 {
		c := asked(fmt.Sprint("auto-", i))
		at := metav1.NewTime(noon.Add(-time.Duration(i+100) * day))
		setState(c, v1alpha1.StateFailed, "", at.Time)
		c.Status.CompletionTime = &at
		all = append(all, *c)
	}
	old := oldRotations(all, noon)
	require.Len(t, old, 2)
	assert.Equal(t, "auto-20", old[0].Name)
}

// TestTTLSecondsAfterFinished counts from the end, for objects of users and of the watcher.
func TestTTLSecondsAfterFinished(t *testing.T) {
	ended := func(name string, ago time.Duration, ttl *int32) *v1alpha1.CertificateRotation {
		c := asked(name)
		at := metav1.NewTime(noon.Add(-ago))
		c.Spec.Trigger, c.Spec.TTLSecondsAfterFinished = nil, ttl
		setState(c, v1alpha1.StateSucceeded, "", at.Time)
		c.Status.CompletionTime = &at
		return c
	}
	running := ended("running", time.Hour, new(int32(60)))
	setState(running, v1alpha1.StateRunning, "", noon)
	running.Status.CompletionTime = nil
	w := newWorld(t, ended("over", time.Hour, new(int32(3600))), ended("at-once", 0, new(int32(0))), ended("not-yet", time.Hour, new(int32(3601))),
		ended("without", 100*day, nil), running)
	p := &Pruner{Client: w.client, Picture: w.picture, Log: slog.New(slog.DiscardHandler), Now: w.clock.now}
	p.deleteExpired(t.Context())
	var left []string
	for _, c := range w.rotations() {
		left = append(left, c.Name)
	}
	assert.ElementsMatch(t, []string{"not-yet", "without", "running"}, left)
}
