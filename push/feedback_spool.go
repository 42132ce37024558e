package push

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"
)

// feedbackSpool is what a Feedback Service has sent and nobody has read yet.
type feedbackSpool struct {
	limit int // bytes, in all

	mu      sync.Mutex
	changed sync.Cond
	data    []byte
	taken   int   // bytes, in all
	err     error // why no more comes
}

// newFeedbackSpool returns a spool for so many tokens.
func newFeedbackSpool(tokens int) *feedbackSpool {
	const tuple = 6 + maxToken
	s := &feedbackSpool{limit: min(tokens, math.MaxInt/tuple) * tuple}
	s.changed.L = &s.mu
	return s
}

// fill reads conn to its end, or until ctx ends.
func (s *feedbackSpool) fill(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if ended := ctx.Err(); err != nil && ended != nil {
			err = fmt.Errorf("%w: %v", ended, err) // why the connection was closed; io.EOF, too, may be the answer to that
		}
		if !s.put(buf[:n], err) {
			return
		}
	}
}

// put adds b, and says whether more is taken.
func (s *feedbackSpool) put(b []byte, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken += len(b); s.taken > s.limit && err == nil {
		err = ErrFeedbackLimit
	}
	s.data, s.err = append(s.data, b...), err
	s.changed.Broadcast()
	return err == nil
}

// Read implements [io.Reader]. It waits for what is still to come.
func (s *feedbackSpool) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.data) == 0 && s.err == nil {
		s.changed.Wait()
	}
	if len(s.data) == 0 {
		return 0, s.err
	}
	n := copy(b, s.data)
	if s.data = s.data[n:]; len(s.data) == 0 {
		s.data = nil
	}
	return n, nil
}
