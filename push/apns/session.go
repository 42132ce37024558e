package apns

import (
	"net/http"
	"sync"
	"time"
)

// session is a connection. Its fields are guarded by the mutex of its link.
type session struct {
	conn    *http.ClientConn
	born    time.Time
	users   int  // streams that are taken
	open    bool // to more than the first push
	limit   int  // streams that it had room for, taken or not, when it was last asked
	proven  bool // APNs has answered on it
	retired bool
}

func newSession(conn *http.ClientConn, born time.Time) *session {
	return &session{conn: conn, born: born, limit: 1}
}

// reserve takes a stream if there is one. Until the session is open there is one only: APNs allows but few before it has
// answered on a connection, and a certificate that it refuses should be refused once.
func (s *session) reserve() bool {
	if !s.open && s.users > 0 {
		return false
	}
	if s.conn.Reserve() != nil {
		return false
	}
	available := s.conn.Available() // asked first: a stream that ends in between makes the limit too small, not too big
	s.limit = available + s.conn.InFlight()
	s.users++
	return true
}

// usable reports whether s has room or will have. A connection that got GOAWAY is open while its streams are answered,
// so its error does not tell; but it has no room although there was some.
func (s *session) usable() bool {
	if s.conn.Err() != nil {
		return false
	}
	inFlight := s.conn.InFlight() // asked first: nobody takes a stream in between, but one may end
	return s.conn.Available() > 0 || inFlight >= s.limit
}

// signal wakes all who wait for a change. The zero signal is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns what the next wake closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// wake may be called with the link's mutex held: net/http calls the state hook from Reserve.
func (s *signal) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
