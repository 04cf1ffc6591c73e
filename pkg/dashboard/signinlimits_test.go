package dashboard

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signInFrom sends a token through an ingress, from an address.
func (v *visitor) signInFrom(address, token string) answer {
	v.t.Helper()
	return v.send(http.MethodPost, "/sign-in", "token="+token, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.99, "+address) })
}

// TestHostedFailuresOfOneAddressStopNoOther: an attacker at full speed does not keep others from signing in.
func TestHostedFailuresOfOneAddressStopNoOther(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	attacking, stop := context.WithCancel(t.Context())
	refused := make(chan struct{})
	var attackers sync.WaitGroup
	var once sync.Once
	for range 8 {
		v := hs.newVisitor()
		attackers.Go(func() {
			for attacking.Err() == nil {
				if v.signInFrom("192.0.2.1", "guess").status == http.StatusTooManyRequests {
					once.Do(func() { close(refused) })
				}
			}
		})
	}
	<-refused
	for n := range 10 {
		a := hs.newVisitor().signInFrom(fmt.Sprintf("192.0.2.%d", n+2), "token-of-jane")
		assert.Equal(t, http.StatusSeeOther, a.status, a.body)
	}
	stop()
	attackers.Wait()
	hs.users.mu.Lock()
	defer hs.users.mu.Unlock()
	assert.LessOrEqual(t, hs.users.reviewed, mostFailures+reviewsOfAddress+10, "guesses are not reviewed any more")
}

// TestSlowReviewsOfOneAddressStopNoOther: those of one address never take all places.
func TestSlowReviewsOfOneAddressStopNoOther(t *testing.T) {
	limits := newSignInLimits(time.Now)
	begun := make(chan struct{})
	proceed := make(chan struct{})
	var slow sync.WaitGroup
	for range reviewsOfAddress {
		slow.Go(func() {
			assert.NoError(t, limits.limitReview(t.Context(), "192.0.2.1", func(context.Context) error {
				begun <- struct{}{}
				<-proceed
				return nil
			}))
		})
		<-begun
	}
	accept := func(context.Context) error { return nil }
	require.ErrorIs(t, limits.limitReview(t.Context(), "192.0.2.1", accept), errOthersReviewed)
	require.NoError(t, limits.limitReview(t.Context(), "192.0.2.2", accept))
	close(proceed)
	slow.Wait()
	require.NoError(t, limits.limitReview(t.Context(), "192.0.2.1", accept))
	assert.Len(t, limits.addresses, 1, "those without failures are forgotten")
}

func TestReviewsWaitForOthers(t *testing.T) {
	limits := newSignInLimits(time.Now)
	for range reviewsAtOnce {
		limits.reviews <- struct{}{}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	unexpected := func(context.Context) error { t.Error("reviewed"); return nil }
	require.ErrorIs(t, limits.limitReview(ended, "192.0.2.1", unexpected), errOthersReviewed)
	<-limits.reviews
	require.NoError(t, limits.limitReview(t.Context(), "192.0.2.1", func(context.Context) error { return nil }))
}

// TestFailuresOfManyAddressesAreBounded: what is counted takes little memory.
func TestFailuresOfManyAddressesAreBounded(t *testing.T) {
	limits := newSignInLimits(func() time.Time { return testNow })
	refuse := func(context.Context) error { return ErrNotAccepted }
	for n := range mostAddresses + mostFailures {
		require.ErrorIs(t, limits.limitReview(t.Context(), fmt.Sprint(n), refuse), ErrNotAccepted)
	}
	assert.Len(t, limits.addresses, mostAddresses+1)
	require.ErrorIs(t, limits.limitReview(t.Context(), "another", refuse), errTooManyFailures)
	require.ErrorIs(t, limits.limitReview(t.Context(), "0", refuse), ErrNotAccepted)
	limits.now = func() time.Time { return testNow.Add(time.Minute) }
	require.ErrorIs(t, limits.limitReview(t.Context(), "another", refuse), ErrNotAccepted)
	assert.Len(t, limits.addresses, 1)
}

func TestAddressOfASignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		remote    string
		forwarded []string
		secured   bool
		want      string
	}{
		"a peer":                          {"192.0.2.1:4000", nil, false, "192.0.2.1"},
		"behind an ingress":               {"10.0.0.1:4000", []string{"192.0.2.1"}, false, "192.0.2.1"},
		"what a client adds has no use":   {"10.0.0.1:4000", []string{"192.0.2.9", "192.0.2.9, 192.0.2.1"}, false, "192.0.2.1"},
		"with a port":                     {"10.0.0.1:4000", []string{"192.0.2.1:5000"}, false, "192.0.2.1"},
		"with TLS there is no ingress":    {"192.0.2.1:4000", []string{"192.0.2.9"}, true, "192.0.2.1"},
		"a network of IPv6":               {"[2001:db8:0:1:2:3:4:5]:4000", nil, true, "2001:db8:0:1::/64"},
		"an IPv4 address written as IPv6": {"[::ffff:192.0.2.1]:4000", nil, true, "192.0.2.1"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/sign-in", nil)
		r.RemoteAddr = tt.remote
		r.Header["X-Forwarded-For"] = tt.forwarded
		if tt.secured {
			r.TLS = &tls.ConnectionState{}
		}
		assert.Equal(t, tt.want, addressOf(r), name)
	}
}
