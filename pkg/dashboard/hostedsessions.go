package dashboard

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Bounds of the sessions of a dashboard of several users.
const (
	// sessionTime counts from the sign-in. A user that a proxy names has it from the last request.
	sessionTime    = time.Hour
	mostSessions   = 50
	plansOfOneUser = 5
	// mostOfOneUser is how many sessions a user has. A further one replaces the oldest.
	mostOfOneUser = 5
	longestToken  = 16 << 10
)

// hostedSession is the session of one user. It has pages of its own: results that one user was
// shown are never an answer to another.
type hostedSession struct {
	key    string
	user   User
	server *Server
	pages  http.Handler
	began  time.Time
	// used is the time of the last request; zero: the results of the session are dropped.
	used  time.Time
	until time.Time
	// proxied means that each request of the proxy names the user again.
	proxied bool
	// open is the context of its requests, end ends it.
	open context.Context
	end  context.CancelFunc
}

// hostedSessions are the sessions by their key: the hash of a cookie, or the identity that a
// proxy names.
type hostedSessions struct {
	now func() time.Time

	mu     sync.Mutex
	closed bool
	byKey  map[string]*hostedSession
}

func newHostedSessions(now func() time.Time) *hostedSessions {
	return &hostedSessions{now: now, byKey: map[string]*hostedSession{}}
}

var errTooManySessions = errors.New("too many users are signed in; try again later")

// cookieKey is the key of a cookie's session. It is a hash, so that the time to find one says
// nothing about the cookies of others.
func cookieKey(cookie string) string {
	hash := sha256.Sum256([]byte(cookie))
	return "cookie " + string(hash[:])
}

// findSession returns a session that has not ended; nil: there is none.
func (s *hostedSessions) findSession(key string) *hostedSession {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(key)
}

func (s *hostedSessions) findLocked(key string) *hostedSession {
	s.dropUnused()
	found := s.byKey[key]
	switch {
	case found == nil:
		return nil
	case !s.now().Before(found.until):
		s.endLocked(found)
		return nil
	case found.proxied:
		found.until = s.now().Add(sessionTime)
	}
	found.used = s.now()
	return found
}

// dropUnused frees the certificates that sessions without a request for a minute were shown: lists
// of different ages, of a large cluster, would take too much memory. They are read again when
// needed.
func (s *hostedSessions) dropUnused() {
	for _, each := range s.byKey {
		if !each.used.IsZero() && s.now().Sub(each.used) >= time.Minute {
			each.server.states.forgetResults()
			each.server.events.forgetResults()
			each.used = time.Time{}
		}
	}
}

// addSession returns the session of a key, which another request of the user may have added since
// findSession. Where there is none, it adds one, within the bounds. build makes its pages.
func (s *hostedSessions) addSession(key string, user User, proxied bool, build func(*hostedSession)) (*hostedSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.findLocked(key); found != nil {
		return found, nil
	}
	s.endOld(user)
	if s.closed || len(s.byKey) >= mostSessions {
		return nil, errTooManySessions
	}
	now := s.now()
	added := &hostedSession{key: key, user: user, began: now, used: now, until: now.Add(sessionTime), proxied: proxied}
	if !user.Until.IsZero() && user.Until.Before(added.until) {
		added.until = user.Until
	}
	if proxied {
		added.open, added.end = context.WithCancel(context.Background())
	} else {
		added.open, added.end = context.WithTimeout(context.Background(), added.until.Sub(now))
	}
	build(added)
	s.byKey[key] = added
	return added, nil
}

// endOld ends sessions after their time, and the oldest of a user with too many.
func (s *hostedSessions) endOld(user User) {
	var oldest *hostedSession
	count := 0
	for _, other := range s.byKey {
		if !s.now().Before(other.until) {
			s.endLocked(other)
			continue
		}
		if other.user.Name != user.Name {
			continue
		}
		count++
		if oldest == nil || other.began.Before(oldest.began) {
			oldest = other
		}
	}
	if count >= mostOfOneUser {
		s.endLocked(oldest)
	}
}

// endSession signs a session out.
func (s *hostedSessions) endSession(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.byKey[key]; found != nil {
		s.endLocked(found)
	}
}

// endLocked ends a session with its open requests. The watcher continues its rotations.
func (s *hostedSessions) endLocked(ended *hostedSession) {
	delete(s.byKey, ended.key)
	ended.end()
	ended.server.endBackground()
	ended.server.work.interruptAll()
	ended.server.open.stopCalls()
}

// closeAll ends every session, and lets none begin.
func (s *hostedSessions) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, each := range s.byKey {
		s.endLocked(each)
	}
}

// newCookie is the value of a cookie that cannot be guessed.
func newCookie() string { return rand.Text() }
