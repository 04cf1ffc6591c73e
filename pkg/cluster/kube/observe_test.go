package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func pod(name, uid string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}}
}

// script is a source whose lists and watches are given one by one.
type script struct {
	lists   []func() ([]*corev1.Pod, error)
	watches []func() (watch.Interface, error)
	asked   int
}

func (s *script) source() source[*corev1.Pod] {
	return source[*corev1.Pod]{
		list: func(context.Context, metav1.ListOptions) ([]*corev1.Pod, string, error) {
			i := min(s.asked, len(s.lists)-1)
			s.asked++
			pods, err := s.lists[i]()
			return pods, "1", err
		},
		watch: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			if len(s.watches) == 0 {
				return watch.NewFake(), nil // never says anything
			}
			w := s.watches[0]
			s.watches = s.watches[1:]
			return w()
		},
	}
}

func listing(pods ...*corev1.Pod) func() ([]*corev1.Pod, error) {
	return func() ([]*corev1.Pod, error) { return pods, nil }
}

func failing(err error) func() ([]*corev1.Pod, error) {
	return func() ([]*corev1.Pod, error) { return nil, err }
}

// events are what observe passed on, as "name/uid", with a "-" in front of what was deleted.
func events(ctx context.Context, s source[*corev1.Pod], until string) ([]string, error) {
	var seen []string
	err := observeAll(ctx, s, func(p *corev1.Pod, deleted bool) bool {
		e := p.Name + "/" + string(p.UID)
		if deleted {
			e = "-" + e
		}
		seen = append(seen, e)
		return e == until
	})
	return seen, err
}

func TestObserve(t *testing.T) {
	broken := errors.New("connection reset")
	for name, tc := range map[string]struct {
		script script
		until  string
		want   []string
	}{
		"what is there already": {script{lists: []func() ([]*corev1.Pod, error){listing(pod("a", "1"))}}, "a/1", []string{"a/1"}},
		"an unavailable API": {script{lists: []func() ([]*corev1.Pod, error){
			failing(broken), failing(apierrors.NewServiceUnavailable("")), listing(pod("a", "1")),
		}}, "a/1", []string{"a/1"}},
		"a watch that hangs hides nothing for long": {script{lists: []func() ([]*corev1.Pod, error){
			listing(pod("a", "1")), listing(pod("a", "1"), pod("b", "2")),
		}}, "b/2", []string{"a/1", "a/1", "b/2"}},
		"deleted between two lists": {script{lists: []func() ([]*corev1.Pod, error){
			listing(pod("a", "1")), listing(),
		}}, "-a/1", []string{"a/1", "-a/1"}},
		"replaced between two lists": {script{lists: []func() ([]*corev1.Pod, error){
			listing(pod("a", "1")), listing(pod("a", "2")),
		}}, "-a/1", []string{"a/1", "a/2", "-a/1"}},
		"a permission that is there a moment after the API server is": {script{lists: []func() ([]*corev1.Pod, error){
			failing(apierrors.NewForbidden(corev1.Resource("pods"), "", broken)), listing(pod("a", "1")),
		}}, "a/1", []string{"a/1"}},
		"a watch that reports and then fails": {script{
			lists: []func() ([]*corev1.Pod, error){listing(), listing(pod("a", "1"), pod("b", "2"))},
			watches: []func() (watch.Interface, error){func() (watch.Interface, error) {
				w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 3})
				w.Add(pod("a", "1"))
				w.Error(&metav1.Status{Reason: metav1.StatusReasonExpired, Code: 410})
				return w, nil
			}},
		}, "b/2", []string{"a/1", "a/1", "b/2"}},
		"deleted while watched": {script{
			lists: []func() ([]*corev1.Pod, error){listing(pod("a", "1"))},
			watches: []func() (watch.Interface, error){func() (watch.Interface, error) {
				w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 3})
				w.Delete(pod("a", "1"))
				return w, nil
			}},
		}, "-a/1", []string{"a/1", "-a/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err := events(t.Context(), tc.script.source(), tc.until)
				require.NoError(t, err)
				assert.Equal(t, tc.want, got)
				assert.Less(t, time.Since(began), 15*time.Second)
			})
		})
	}
}

func TestObserveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unavailable := script{lists: []func() ([]*corev1.Pod, error){failing(errors.New("connection refused"))}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := events(ctx, unavailable.source(), "")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "connection refused", "the last error is included")

		forbidden := script{lists: []func() ([]*corev1.Pod, error){failing(apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no")))}}
		_, err = events(t.Context(), forbidden.source(), "")
		require.True(t, apierrors.IsForbidden(err), "%v", err)
	})
}
