package dashboard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bounds of the reviews of tokens: guessing has no use, but each guess is a request to the API server.
const (
	mostFailures     = 20   // of one address, within a minute
	mostAddresses    = 1000 // of failures that are counted; those of all others are counted together
	reviewsAtOnce    = 4
	reviewsOfAddress = reviewsAtOnce / 2 // the others are for other addresses
)

// errTooManyFailures means that no token of an address is reviewed at present.
var errTooManyFailures = errors.New("too many sign-ins from your address have failed; try again in a minute")

// errOthersReviewed means that a token was not reviewed, since others were.
var errOthersReviewed = errors.New("other sign-ins are in progress; try again")

// signInLimits bound the reviews of tokens, those of one address more than those of all, so that one
// user, or an attacker, does not keep others from signing in.
type signInLimits struct {
	now     func() time.Time
	reviews chan struct{} // holds one element for each review in progress

	mu        sync.Mutex
	addresses map[string]*signIns
}

// signIns are those of one address.
type signIns struct {
	failures  []time.Time // oldest first
	reviewing int
}

func newSignInLimits(now func() time.Time) *signInLimits {
	return &signInLimits{now: now, reviews: make(chan struct{}, reviewsAtOnce), addresses: map[string]*signIns{}}
}

// otherAddresses is the key of all addresses beyond the first mostAddresses.
const otherAddresses = ""

// limitReview runs a review for an address within the bounds. It counts a token that is not accepted.
func (l *signInLimits) limitReview(ctx context.Context, address string, review func(context.Context) error) error {
	// The wait for other reviews is part of it.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	from, err := l.beginReview(address)
	if err != nil {
		return err
	}
	err = l.reviewInTurn(ctx, review)
	l.mu.Lock()
	defer l.mu.Unlock()
	from.reviewing--
	if errors.Is(err, ErrNotAccepted) {
		from.failures = append(from.failures, l.now())
	}
	return err
}

// reviewInTurn waits until there are few enough other reviews.
func (l *signInLimits) reviewInTurn(ctx context.Context, review func(context.Context) error) error {
	select {
	case l.reviews <- struct{}{}:
	case <-ctx.Done():
		return errOthersReviewed
	}
	defer func() { <-l.reviews }()
	return review(ctx)
}

func (l *signInLimits) beginReview(address string) (*signIns, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetOld()
	from := l.addresses[address]
	if from == nil && len(l.addresses) >= mostAddresses {
		address = otherAddresses
		from = l.addresses[address]
	}
	if from == nil {
		from = &signIns{}
		l.addresses[address] = from
	}
	switch {
	case len(from.failures) >= mostFailures:
		return nil, errTooManyFailures
	case from.reviewing >= reviewsOfAddress:
		return nil, errOthersReviewed
	}
	from.reviewing++
	return from, nil
}

// forgetOld forgets failures that are no longer counted, a minute old ones, and addresses without any.
func (l *signInLimits) forgetOld() {
	for address, from := range l.addresses {
		for len(from.failures) > 0 && l.now().Sub(from.failures[0]) >= time.Minute {
			from.failures = from.failures[1:]
		}
		if len(from.failures) == 0 && from.reviewing == 0 {
			delete(l.addresses, address)
		}
	}
}

// addressOf is where a request comes from, for bounds only: the other end of the connection. Without
// TLS that is an ingress, which adds the address of its client at the end of X-Forwarded-For.
func addressOf(r *http.Request) string {
	address := r.RemoteAddr
	forwarded := r.Header.Values("X-Forwarded-For")
	if r.TLS == nil && len(forwarded) > 0 {
		all := strings.Split(forwarded[len(forwarded)-1], ",")
		address = strings.TrimSpace(all[len(all)-1])
	}
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return address
	case ip.Unmap().Is4():
		return ip.Unmap().String()
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String() // one client has all addresses of such a network
}
