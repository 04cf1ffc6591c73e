package kube

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

func readLease(t *testing.T, c *fake.Clientset) *coordinationv1.Lease {
	t.Helper()
	lease, err := c.CoordinationV1().Leases("kube-system").Get(t.Context(), "rotate-certs", metav1.GetOptions{})
	require.NoError(t, err)
	return lease
}

func changeLease(t *testing.T, c *fake.Clientset, change func(*coordinationv1.LeaseSpec)) {
	t.Helper()
	lease := readLease(t, c)
	change(&lease.Spec)
	_, err := c.CoordinationV1().Leases("kube-system").Update(t.Context(), lease, metav1.UpdateOptions{})
	require.NoError(t, err)
}

func acquire(t *testing.T, l *Locker, rotation string, minToken int64) *Lock {
	t.Helper()
	lock, err := l.Acquire(t.Context(), rotation, minToken)
	require.NoError(t, err)
	k := lock.(*Lock)
	t.Cleanup(func() { k.stop(); <-k.ended })
	return k
}

func TestLockIsExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		free, err := Holder(t.Context(), c)
		require.NoError(t, err)
		assert.Nil(t, free, "there is no Lease yet")
		require.NoError(t, (&Locker{Client: c}).Held(t.Context()))
		alice := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "7f3c2a", 0)
		assert.Equal(t, int64(1), alice.Token())

		_, err = (&Locker{Client: c, Holder: "bob@b"}).Acquire(t.Context(), "111111", 0)
		var held *HeldError
		require.ErrorAs(t, err, &held)
		assert.Equal(t, "alice@a (rotation 7f3c2a)", held.Holder)
		who, rotation := held.SplitHolder()
		assert.Equal(t, []string{"alice@a", "7f3c2a"}, []string{who, rotation})
		who, rotation = (&HeldError{Holder: "another"}).SplitHolder()
		assert.Equal(t, []string{"another", ""}, []string{who, rotation})
		assert.Equal(t, time.Minute, held.Until.Sub(held.Since))
		seen, err := Holder(t.Context(), c)
		require.NoError(t, err)
		assert.Equal(t, held, seen, "status reports the same holder")
		require.ErrorAs(t, (&Locker{Client: c, Holder: "bob@b"}).Held(t.Context()), &held)

		require.NoError(t, alice.Release(t.Context()))
		seen, err = Holder(t.Context(), c)
		require.NoError(t, err)
		assert.Nil(t, seen)
		bob := acquire(t, &Locker{Client: c, Holder: "bob@b"}, "111111", 0)
		assert.Equal(t, int64(2), bob.Token(), "a later lock has a higher token")
	})
}

func TestTokenIsHigherThanAnyKnownOne(t *testing.T) {
	for name, tc := range map[string]struct {
		transitions *int32
		minToken    int64
		want        int64
		fails       bool
	}{
		"first of all":               {nil, 0, 1, false},
		"the lease knows more":       {new(int32(7)), 3, 8, false},
		"a node's journal does":      {new(int32(7)), 41, 42, false},
		"the lease was deleted":      {nil, 41, 42, false},
		"a journal that lies":        {nil, math.MaxInt64, 0, true},
		"no room in the lease":       {new(int32(math.MaxInt32)), 0, 0, true},
		"a negative number is no id": {new(int32(-5)), -9, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var objects []runtime.Object
				if tc.transitions != nil {
					objects = append(objects, &coordinationv1.Lease{
						ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "rotate-certs", ResourceVersion: "1"},
						Spec:       coordinationv1.LeaseSpec{LeaseTransitions: tc.transitions},
					})
				}
				c := newCluster(t, objects...)
				lock, err := (&Locker{Client: c, Holder: "alice@a"}).Acquire(t.Context(), "1", tc.minToken)
				if tc.fails {
					require.ErrorContains(t, err, "tampered")
					return
				}
				require.NoError(t, err)
				assert.Equal(t, tc.want, lock.Token())
				assert.Equal(t, tc.want, int64(*readLease(t, c).Spec.LeaseTransitions))
				require.NoError(t, lock.Release(t.Context()))
			})
		})
	}
}

func TestLockIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
		time.Sleep(10 * time.Minute) //nolint:forbidigo // the bubble's clock
		assert.Less(t, time.Since(readLease(t, c).Spec.RenewTime.Time), renewEvery+time.Second)
	})
}

// killedHolder takes the lock and never renews or releases it.
func killedHolder(t *testing.T, c *fake.Clientset) {
	t.Helper()
	lock := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
	lock.stop()
	<-lock.ended
}

func TestExpiredLeaseIsTakenAfterItWasObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		killedHolder(t, c)
		time.Sleep(leaseDuration + time.Second) //nolint:forbidigo // the bubble's clock
		require.NoError(t, (&Locker{Client: c}).Held(t.Context()), "it has expired: Acquire observes it")
		began, reported := time.Now(), false
		bob := acquire(t, &Locker{Client: c, Holder: "bob@b", Waiting: func(*HeldError, time.Duration) { reported = true }}, "2", 0)
		assert.Equal(t, int64(2), bob.Token())
		assert.GreaterOrEqual(t, time.Since(began), 2*renewEvery)
		assert.Less(t, time.Since(began), leaseDuration)
		assert.True(t, reported)
	})
}

func TestTakeOverTakesALockThatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		alice := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
		var displaced []string
		bob := &Locker{Client: c, Holder: "bob@b", TakeOver: true, Displaced: func(held *HeldError) { displaced = append(displaced, held.Holder) }}
		require.NoError(t, bob.Held(t.Context()))
		began := time.Now()
		lock := acquire(t, bob, "1", 0)
		assert.Equal(t, int64(2), lock.Token(), "nodes refuse later orders of the first")
		assert.Equal(t, []string{"alice@a (rotation 1)"}, displaced)
		assert.Less(t, time.Since(began), time.Second)
		require.ErrorIs(t, alice.Confirm(t.Context()), fleet.ErrLockLost, "the first starts no further node")
		require.NoError(t, lock.Confirm(t.Context()))

		require.NoError(t, lock.Release(t.Context()))
		bob.TakeOver = false
		acquire(t, bob, "2", 0)
		assert.Len(t, displaced, 1, "a lock that was released is taken from no holder")
	})
}

func TestHeldErrorNamesTakeOver(t *testing.T) {
	held := &HeldError{Holder: "alice@a"}
	assert.NotContains(t, held.Error(), "\n")
	assert.Contains(t, held.Hint(), "--take-over")
	assert.Contains(t, held.Hint(), "new holder")
}

// TestSuccessorOfTheSameInstanceDoesNotWait: there is never more than one process of an
// instance, so a holder of the same name has ended. Any other one waits.
func TestSuccessorOfTheSameInstanceDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		first := acquire(t, &Locker{Client: c, Holder: "watcher", Instance: "watcher/pod-1"}, "1", 0)
		first.stop()
		<-first.ended
		var held *HeldError
		for _, other := range []string{"", "watcher/pod-2"} {
			_, err := (&Locker{Client: c, Holder: "watcher", Instance: other}).Acquire(t.Context(), "1", 0)
			require.ErrorAs(t, err, &held, "%q", other)
			require.ErrorAs(t, (&Locker{Client: c, Instance: other}).Held(t.Context()), &held, "%q", other)
		}
		require.NoError(t, (&Locker{Client: c, Instance: "watcher/pod-1"}).Held(t.Context()))
		began := time.Now()
		next := acquire(t, &Locker{Client: c, Holder: "watcher", Instance: "watcher/pod-1"}, "1", 0)
		assert.Equal(t, int64(2), next.Token(), "nodes refuse later orders of the first")
		assert.Less(t, time.Since(began), time.Second)
	})
}

func TestRunningHolderWithASlowClockKeepsTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		slow := &Locker{Client: c, Holder: "alice@a", Now: func() time.Time { return time.Now().Add(-time.Hour) }}
		alice := acquire(t, slow, "1", 0)
		_, err := (&Locker{Client: c, Holder: "bob@b"}).Acquire(t.Context(), "2", 0)
		var held *HeldError
		require.ErrorAs(t, err, &held, "it renews, although its clock is an hour behind")
		require.NoError(t, alice.Confirm(t.Context()))
	})
}

func TestFailedReadsDoNotCountAsObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		slow := &Locker{Client: c, Holder: "alice@a", Now: func() time.Time { return time.Now().Add(-time.Hour) }}
		gets := 0
		c.PrependReactor("get", "leases", func(ktesting.Action) (bool, runtime.Object, error) {
			// After the first read, all reads fail for longer than an expired Lease is observed.
			gets++
			return gets > 2 && gets < 41, nil, apierrors.NewServiceUnavailable("restarting")
		})
		acquire(t, slow, "1", 0)
		_, err := (&Locker{Client: c, Holder: "bob@b"}).Acquire(t.Context(), "2", 0)
		var held *HeldError
		assert.ErrorAs(t, err, &held)
	})
}

func TestConfirmAfterTheAPIWasUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var unavailable atomic.Bool
		c.PrependReactor("*", "leases", func(ktesting.Action) (bool, runtime.Object, error) {
			return unavailable.Load(), nil, errors.New("connection refused")
		})
		lock := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
		unavailable.Store(true)
		time.Sleep(3 * time.Minute) //nolint:forbidigo // the bubble's clock
		assert.ErrorContains(t, lock.Err(), "connection refused", "a failed renewal is remembered and stops nothing")

		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := lock.Confirm(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "connection refused")
		require.NotErrorIs(t, err, fleet.ErrLockLost)

		time.AfterFunc(10*time.Second, func() { unavailable.Store(false) })
		require.NoError(t, lock.Confirm(t.Context()), "expired, but no other process took it: still held")
		require.NoError(t, lock.Err())
	})
}

func TestLostLock(t *testing.T) {
	for name, tc := range map[string]struct {
		lose func(t *testing.T, c *fake.Clientset)
		want string
	}{
		"taken over by another": {func(t *testing.T, c *fake.Clientset) {
			changeLease(t, c, func(s *coordinationv1.LeaseSpec) {
				s.HolderIdentity, s.LeaseTransitions = new("bob@b (rotation 2)"), new(int32(2))
			})
		}, "bob@b (rotation 2) holds it"},
		"taken over by the same user for the same rotation": {func(t *testing.T, c *fake.Clientset) {
			changeLease(t, c, func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = new(int32(2)) })
		}, "alice@a (rotation 1) holds it"},
		"deleted": {func(t *testing.T, c *fake.Clientset) {
			require.NoError(t, c.CoordinationV1().Leases("kube-system").Delete(t.Context(), "rotate-certs", metav1.DeleteOptions{}))
		}, "was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				lock := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
				tc.lose(t, c)
				err := lock.Confirm(t.Context())
				require.ErrorIs(t, err, fleet.ErrLockLost)
				require.ErrorContains(t, err, tc.want)
				require.NoError(t, lock.Release(t.Context()), "a lost lock is no error")
				if name != "deleted" {
					assert.NotEmpty(t, *readLease(t, c).Spec.HolderIdentity, "the new holder's lock was released")
				}
			})
		})
	}
}

func TestOneOfTwoConcurrentAcquisitionsWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		raced := false
		c.PrependReactor("create", "leases", func(ktesting.Action) (bool, runtime.Object, error) {
			if raced {
				return false, nil, nil
			}
			raced = true
			// Another process creates it between the read and the write.
			now := metav1.NowMicro()
			require.NoError(t, c.Tracker().Add(&coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "rotate-certs", ResourceVersion: "1"},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: new("bob@b (rotation 2)"), LeaseTransitions: new(int32(1)),
					AcquireTime: &now, RenewTime: &now, LeaseDurationSeconds: new(int32(60))},
			}))
			return false, nil, nil
		})
		_, err := (&Locker{Client: c, Holder: "alice@a"}).Acquire(t.Context(), "1", 0)
		var held *HeldError
		require.ErrorAs(t, err, &held)
		assert.Equal(t, "bob@b (rotation 2)", held.Holder)
	})
}

func TestLostResponseToAcquireIsRecognized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		lose := true
		c.PrependReactor("create", "leases", func(a ktesting.Action) (bool, runtime.Object, error) {
			if !lose {
				return false, nil, nil
			}
			lose = false
			lease := a.(ktesting.CreateAction).GetObject().DeepCopyObject().(*coordinationv1.Lease)
			lease.ResourceVersion = "1"
			require.NoError(t, c.Tracker().Add(lease))
			return true, nil, errors.New("connection reset by peer")
		})
		lock := acquire(t, &Locker{Client: c, Holder: "alice@a"}, "1", 0)
		assert.Equal(t, int64(1), lock.Token())
		require.NoError(t, lock.Confirm(t.Context()))
	})
}
