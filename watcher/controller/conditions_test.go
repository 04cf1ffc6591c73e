package controller

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

func (w *world) conditions() *Conditions {
	return NewConditions(&Conditions{Client: w.client, Log: slog.New(slog.DiscardHandler), Now: w.clock.now})
}

func (w *world) dueAssessments(node string) *metav1.Condition {
	w.t.Helper()
	var r v1alpha1.NodeCertificateReport
	require.NoError(w.t, w.client.Get(w.t.Context(), client.ObjectKey{Name: node}, &r))
	return meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionCertificatesDue)
}

// TestDueCertificatesAreACondition of the node's report, with what it waits for; and none any more
// when nothing is, also where a predecessor wrote it.
func TestDueCertificatesAreACondition(t *testing.T) {
	report := func(name string) *v1alpha1.NodeCertificateReport {
		return &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	w := newWorld(t, report("cp1"), report("cp2"))
	refs := []renewal.Ref{{Node: "cp1", Name: "etcd-server"}, {Node: "cp1", Name: "etcd-peer"}, {Node: "deleted", Name: "etcd-server"}}
	c := w.conditions()
	require.NoError(t, c.writeAll(t.Context()), "before the first decision")
	assert.Nil(t, w.dueAssessments("cp1"))

	c.SetDecision(renewal.Decision{Waiting: []renewal.Waiting{{Reason: renewal.ReasonCAExpiresSoon, Text: "a successor would end with its CA", Certificates: refs}}})
	require.NoError(t, c.writeAll(t.Context()), "a deleted node is no error")
	due := w.dueAssessments("cp1")
	require.NotNil(t, due)
	assert.Equal(t, metav1.ConditionTrue, due.Status)
	assert.Equal(t, "CAExpiresSoon", due.Reason)
	assert.Equal(t, "etcd-server, etcd-peer: a successor would end with its CA", due.Message)
	assert.Nil(t, w.dueAssessments("cp2"))

	c.SetDecision(renewal.Decision{Start: []renewal.Proposal{{Name: "auto-1", Certificates: refs[:1]}}})
	require.NoError(t, c.writeAll(t.Context()))
	assert.Equal(t, "Requested", w.dueAssessments("cp1").Reason)

	successor := w.conditions()
	successor.SetDecision(renewal.Decision{})
	require.NoError(t, successor.writeAll(t.Context()))
	assert.Equal(t, metav1.ConditionFalse, w.dueAssessments("cp1").Status)
	assert.Nil(t, w.dueAssessments("cp2"), "what never was due is not written to")
}

// TestOneRefusedReportDelaysNoOther: a policy engine may refuse a write to one of them.
func TestOneRefusedReportDelaysNoOther(t *testing.T) {
	w := newWorld(t,
		&v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp1"}},
		&v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp2"}})
	c := w.conditions()
	c.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(ctx context.Context, of client.Client, sub string, o client.Object, p client.Patch, options ...client.SubResourcePatchOption) error {
			if o.GetName() == "cp1" {
				return apierrors.NewForbidden(schema.GroupResource{}, o.GetName(), errors.New("no"))
			}
			return of.SubResource(sub).Patch(ctx, o, p, options...)
		},
	})
	long := strings.Repeat("x", 2*maxMessage)
	c.SetDecision(renewal.Decision{Waiting: []renewal.Waiting{{Reason: renewal.ReasonCAExpiresSoon, Text: long,
		Certificates: []renewal.Ref{{Node: "cp1", Name: "etcd-server"}, {Node: "cp2", Name: "etcd-server"}}}}})
	require.ErrorContains(t, c.writeAll(t.Context()), `report of node "cp1"`)
	require.NotNil(t, w.dueAssessments("cp2"))
	assert.Nil(t, w.dueAssessments("cp1"), "and is tried again")

	// Also one who reads what was written, clipped as it is, finds nothing to write.
	successor := w.conditions()
	successor.want = map[string]standing{"cp2": c.want["cp2"]}
	successor.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errors.New("written again")
		},
	})
	require.NoError(t, successor.writeAll(t.Context()))
}

// TestConditionsChangeOnlyWithTheirStatus: who waits for one reads its last transition, and
// another controller may have conditions of its own.
func TestConditionsChangeOnlyWithTheirStatus(t *testing.T) {
	foreign := metav1.Condition{Type: "Scanned", Status: metav1.ConditionTrue, Reason: "Clean", LastTransitionTime: metav1.NewTime(noon)}
	w := newWorld(t, &v1alpha1.NodeCertificateReport{ObjectMeta: metav1.ObjectMeta{Name: "cp1", Generation: 7},
		Status: v1alpha1.NodeCertificateReportStatus{Conditions: []metav1.Condition{foreign}}})
	c := w.conditions()
	waits := func(text string) {
		t.Helper()
		c.SetDecision(renewal.Decision{Waiting: []renewal.Waiting{{Reason: renewal.ReasonWindow, Text: text, Certificates: []renewal.Ref{{Node: "cp1", Name: "etcd-server"}}}}})
		require.NoError(t, c.writeAll(t.Context()))
	}
	waits("until Saturday")
	assert.EqualValues(t, 7, w.dueAssessments("cp1").ObservedGeneration)
	w.clock.pass(time.Hour)
	waits("until Sunday")
	assert.True(t, noon.Equal(w.dueAssessments("cp1").LastTransitionTime.Time), "only the message has changed")
	c.SetDecision(renewal.Decision{})
	require.NoError(t, c.writeAll(t.Context()))
	assert.True(t, noon.Add(time.Hour).Equal(w.dueAssessments("cp1").LastTransitionTime.Time))
	var r v1alpha1.NodeCertificateReport
	require.NoError(t, w.client.Get(t.Context(), client.ObjectKey{Name: "cp1"}, &r))
	assert.NotNil(t, meta.FindStatusCondition(r.Status.Conditions, "Scanned"))
}
