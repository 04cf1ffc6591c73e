package watcher

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

const days = 24 * time.Hour

// policyOf is a RotationPolicy with a threshold; one that is no duration makes it invalid.
func policyOf(generation int64, threshold v1alpha1.DurationText) *v1alpha1.RotationPolicy {
	p := &v1alpha1.RotationPolicy{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RotationPolicyName, UID: "1", Generation: generation}}
	p.Spec.Defaults.Threshold.Duration = threshold
	return p
}

func following(notifyOnly bool) *policy {
	return newPolicy(notifyOnly, slog.New(slog.DiscardHandler), func() time.Time { return noon })
}

// threshold is what a policy in force asks for.
func threshold(p *renewal.Policy) time.Duration { return p.Default.Threshold.Duration }

// TestAPolicyTakesEffectWithoutARestart; one that became invalid changes nothing, and is
// reported for as long as it is.
func TestAPolicyTakesEffectWithoutARestart(t *testing.T) {
	p := following(false)
	p.setLifetime(90 * days)
	var used []*renewal.Policy
	p.use = func(policy *renewal.Policy) { used = append(used, policy) }
	informer := informerHandler(p.handleObject, nil)

	informer.OnAdd(policyOf(1, "11d"), true)
	assert.Equal(t, 11*days, threshold(p.currentPolicy()))
	informer.OnUpdate(policyOf(1, "11d"), policyOf(2, "soon"))
	assert.ErrorContains(t, p.validationError(), `RotationPolicy "default" is invalid: spec.defaults.threshold.duration: duration "soon"`)
	assert.Contains(t, hint.TextOf(p.validationError()), "\nhint: kubectl rotate-certs policy check")
	assert.Equal(t, 11*days, threshold(p.currentPolicy()), "the last valid one stays in force")

	informer.OnUpdate(policyOf(2, "soon"), policyOf(3, "13d"))
	require.NoError(t, p.validationError())
	assert.Equal(t, 13*days, threshold(p.currentPolicy()))
	assert.Equal(t, 90*days, p.currentPolicy().Lifetime, "what the cluster says is kept")
	require.Len(t, used, 2)
	assert.Same(t, p.currentPolicy(), used[1])

	informer.OnUpdate(policyOf(3, "13d"), policyOf(3, "13d"))
	assert.Len(t, used, 2, "its status changed, and nothing else")

	other := policyOf(1, "99d")
	other.Name = "other"
	informer.OnAdd(other, false)
	assert.Equal(t, 13*days, threshold(p.currentPolicy()), "there is one that counts")

	informer.OnDelete(policyOf(3, "13d"))
	assert.Equal(t, 30*days, threshold(p.currentPolicy()), "without one the defaults hold")
	require.NoError(t, p.validationError())
	informer.OnAdd(policyOf(1, "11d"), false)
	assert.Equal(t, 11*days, threshold(p.currentPolicy()))
}

// TestAnInvalidPolicyAtTheStart: the watcher runs, and starts no rotation until it is valid.
func TestAnInvalidPolicyAtTheStart(t *testing.T) {
	p := following(false)
	p.handleObject(v1alpha1.RotationPolicyName, policyOf(1, "soon"))
	p.applyDefaults()
	assert.Equal(t, renewal.NotifyOnly, p.currentPolicy().Default.Mode)
	require.ErrorContains(t, p.validationError(), "spec.defaults.threshold.duration")

	p.handleObject(v1alpha1.RotationPolicyName, policyOf(2, "13d"))
	require.NoError(t, p.validationError())
	assert.Equal(t, renewal.Automatic, p.currentPolicy().Default.Mode)
}

// TestNoRotationStartsBeforeThePolicyIsKnown: there may be one that forbids it.
func TestNoRotationStartsBeforeThePolicyIsKnown(t *testing.T) {
	p := following(false)
	assert.Equal(t, renewal.NotifyOnly, p.currentPolicy().Default.Mode)
	require.NoError(t, p.validationError())
	p.applyDefaults()
	assert.Equal(t, renewal.Default(), *p.currentPolicy(), "there is none: the defaults hold")
	p.handleObject(v1alpha1.RotationPolicyName, policyOf(1, "11d"))
	p.applyDefaults()
	assert.Equal(t, 11*days, threshold(p.currentPolicy()))
}

func TestNotifyOnlyOverridesThePolicy(t *testing.T) {
	p := following(true)
	automatic := policyOf(1, "11d")
	automatic.Spec.Defaults.Mode = "Automatic"
	automatic.Spec.Rules = []v1alpha1.RotationPolicyRule{{Name: "etcd", Match: v1alpha1.RotationPolicyMatch{Issuers: []string{"etcd-ca"}}}}
	p.handleObject(v1alpha1.RotationPolicyName, automatic)
	assert.Equal(t, renewal.NotifyOnly, p.currentPolicy().Default.Mode)
	assert.Equal(t, renewal.NotifyOnly, p.currentPolicy().Rules[0].Mode)
	object := p.withStatus()
	assert.Contains(t, condition(object, v1alpha1.ConditionInForce), "True NotifyOnly notify-only: the watcher was installed with --notify-only")
}

// condition is one of an object in a line; empty: it has none of that type.
func condition(p *v1alpha1.RotationPolicy, kind string) string {
	c := meta.FindStatusCondition(p.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return strings.Join([]string{string(c.Status), c.Reason, c.Message}, " ")
}

// stored is a client of an API server that has one object.
func stored(t *testing.T, object *v1alpha1.RotationPolicy, funcs interceptor.Funcs) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, v1alpha1.AddToScheme(scheme))
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(object).WithStatusSubresource(object).WithInterceptorFuncs(funcs).Build()
}

// change has a follower see a spec, writes the status, and returns what is stored.
func change(t *testing.T, p *policy, c client.Client, generation int64, spec func(*v1alpha1.RotationPolicySpec)) *v1alpha1.RotationPolicy {
	t.Helper()
	key := types.NamespacedName{Name: v1alpha1.RotationPolicyName}
	var object v1alpha1.RotationPolicy
	require.NoError(t, c.Get(t.Context(), key, &object))
	object.Generation = generation
	spec(&object.Spec)
	require.NoError(t, c.Update(t.Context(), &object))
	cached := object.DeepCopy()
	p.handleObject(object.Name, cached)
	require.NoError(t, (&policyStatus{policy: p, client: c, log: slog.New(slog.DiscardHandler)}).writeStatus(t.Context()))
	assert.Equal(t, object.Status, cached.Status, "what the cache has is not changed")
	require.NoError(t, c.Get(t.Context(), key, &object))
	p.handleObject(object.Name, object.DeepCopy())
	assert.Nil(t, p.withStatus(), "what is written is not written again")
	return &object
}

// TestPolicyStatusReportsPolicyInForceAndErrors.
func TestPolicyStatusReportsPolicyInForceAndErrors(t *testing.T) {
	first := policyOf(1, "11d")
	c := stored(t, first, interceptor.Funcs{})
	now := noon
	p := newPolicy(false, slog.New(slog.DiscardHandler), func() time.Time { return now })
	p.applyDefaults()

	object := change(t, p, c, 1, func(s *v1alpha1.RotationPolicySpec) {
		s.Rules = []v1alpha1.RotationPolicyRule{{Name: "by hand", Match: v1alpha1.RotationPolicyMatch{Issuers: []string{"etcd-ca"}}}}
		s.Freeze = v1alpha1.RotationPolicyFreeze{Enabled: true, Until: "2031-01-03T07:00:00+01:00"}
	})
	assert.Equal(t, int64(1), object.Status.ObservedGeneration)
	assert.Equal(t, "True Valid ", condition(object, v1alpha1.ConditionValid))
	assert.Equal(t, `True InForce defaults, rules "by hand"; frozen until 2031-01-03T06:00:00Z`, condition(object, v1alpha1.ConditionInForce))
	assert.Empty(t, condition(object, v1alpha1.ConditionStalled))
	assert.True(t, object.Status.InForceSince.Time.Equal(noon))

	// Another watcher takes over: since then it is in force, and not since that started.
	now = noon.Add(time.Hour)
	p = newPolicy(false, slog.New(slog.DiscardHandler), func() time.Time { return now })
	object = change(t, p, c, 1, func(*v1alpha1.RotationPolicySpec) {})
	assert.True(t, object.Status.InForceSince.Time.Equal(noon))

	now = noon.Add(2 * time.Hour)
	object = change(t, p, c, 2, func(s *v1alpha1.RotationPolicySpec) {
		s.Defaults.Windows = []v1alpha1.RotationPolicyWindow{{Schedule: "61 * * * *", Duration: "1h"}, {Schedule: "* * * * *", Duration: "1h", TimeZone: "Berlin"}}
	})
	assert.Equal(t, int64(2), object.Status.ObservedGeneration)
	for _, kind := range []string{v1alpha1.ConditionValid, v1alpha1.ConditionStalled} {
		assert.Contains(t, condition(object, kind), "Invalid 2 errors\n  spec.defaults.windows[0].schedule: ")
		assert.Contains(t, condition(object, kind), "\n  spec.defaults.windows[1].timeZone: ")
		assert.NotContains(t, condition(object, kind), "hint")
	}
	assert.Equal(t, `False Invalid the policy before this change (generation 1) remains in force: defaults, rules "by hand"; frozen until 2031-01-03T06:00:00Z`,
		condition(object, v1alpha1.ConditionInForce))
	assert.True(t, object.Status.InForceSince.Time.Equal(noon))

	object = change(t, p, c, 3, func(s *v1alpha1.RotationPolicySpec) { *s = v1alpha1.RotationPolicySpec{} })
	assert.Equal(t, "True InForce defaults", condition(object, v1alpha1.ConditionInForce))
	assert.Empty(t, condition(object, v1alpha1.ConditionStalled))
	assert.True(t, object.Status.InForceSince.Time.Equal(now))
}

func TestTheStatusOfAPolicyThatWasNeverValid(t *testing.T) {
	p := following(false)
	p.handleObject(v1alpha1.RotationPolicyName, policyOf(1, "soon"))
	assert.Equal(t, "False Invalid no policy is in force: the watcher is notify-only until this one is valid", condition(p.withStatus(), v1alpha1.ConditionInForce))
	assert.Nil(t, p.withStatus().Status.InForceSince)

	p = following(false)
	p.applyDefaults()
	p.handleObject(v1alpha1.RotationPolicyName, policyOf(1, "soon"))
	assert.Equal(t, "False Invalid the defaults remain in force, as before there was a RotationPolicy", condition(p.withStatus(), v1alpha1.ConditionInForce))

	p = following(false)
	p.applyDefaults()
	assert.Nil(t, p.withStatus(), "there is none")
}

// TestAStatusThatCouldNotBeWritten is written when the object changes next.
func TestAStatusThatCouldNotBeWritten(t *testing.T) {
	refused := errors.New("the API server does not answer")
	object := policyOf(1, "11d")
	c := stored(t, object, interceptor.Funcs{SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, options ...client.SubResourceUpdateOption) error {
		if refused != nil {
			return refused
		}
		return c.SubResource(sub).Update(ctx, o, options...)
	}})
	require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), object))
	p := following(false)
	p.handleObject(object.Name, object)
	s := &policyStatus{policy: p, client: c, log: slog.New(slog.DiscardHandler)}
	require.ErrorIs(t, s.writeStatus(t.Context()), refused)

	refused = nil
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	require.Eventually(t, func() bool {
		var now v1alpha1.RotationPolicy
		return c.Get(t.Context(), client.ObjectKeyFromObject(object), &now) == nil && condition(&now, v1alpha1.ConditionInForce) != ""
	}, time.Minute, time.Millisecond)
	stop()
	require.NoError(t, <-ended)
}
