package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Where Apple had its Feedback Service (Apple: Local and Remote Notification Programming Guide, Binary Provider API). It was
// shut down with that interface on 31 March 2021.
const (
	FeedbackAddr        = "feedback.push.apple.com:2196"
	FeedbackSandboxAddr = "feedback.sandbox.push.apple.com:2196"
)

// Limits of a FeedbackService.
const (
	defaultFeedbackTimeout = time.Minute
	defaultFeedbackMax     = 1_000_000
)

// ErrFeedbackLimit is what a [FeedbackService] yields last when the other side sends more than Max.
var ErrFeedbackLimit = errors.New("push: the feedback service sends more tokens than are taken")

// FeedbackService is the [FeedbackSource] that the Feedback Service of APNs' binary interface was: it sends its list as soon as
// a TLS client is there with the push certificate of a topic, clears it, and closes. Apple's own no longer exists, see
// [FeedbackAddr]; this is for providers that offer one still, and for simulators. With Apple, [Answers] or a [Dispatcher] learn
// the same from the answers to pushes.
type FeedbackService struct {
	Addr         string // required, as "feedback.example.org:2196"
	Topic        string // required
	Certificates Certificates

	// Timeout is how long connecting and reading may take, all together; what the caller does with the tokens does not count.
	// 0: 1 min.
	Timeout time.Duration
	Max     int         // how many tokens are taken, of 100 bytes on average; 0: 1 000 000
	TLS     *tls.Config // as for a CA of its own; the certificate is filled in. Nil: the system's CAs
	// Dial makes the connection, as through a proxy. Nil: a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// InvalidTokens implements [FeedbackSource]: each range over it is a connection. The Since of what it yields are whole seconds.
// If the connection breaks, what came whole is yielded before the error. What the service sends is read while the caller works,
// and kept in memory: the service has cleared its list, and need not wait for a slow caller.
func (s *FeedbackService) InvalidTokens(ctx context.Context) iter.Seq2[InvalidToken, error] {
	return func(yield func(InvalidToken, error) bool) {
		ctx, stop := context.WithTimeout(ctx, orDefault(s.Timeout, defaultFeedbackTimeout))
		defer stop()
		conn, err := s.connect(ctx)
		if err != nil {
			yield(InvalidToken{}, fmt.Errorf("push: feedback service %s: %w", s.Addr, err))
			return
		}
		limit := orDefault(s.Max, defaultFeedbackMax)
		spool := newFeedbackSpool(limit)
		done := make(chan struct{})
		go func() {
			defer close(done)
			spool.fill(ctx, conn)
		}()
		defer func() {
			_ = conn.Close()
			<-done
		}()
		n := 0
		for t, err := range ReadFeedback(spool) {
			if n++; n > limit {
				yield(InvalidToken{}, ErrFeedbackLimit)
				return
			}
			t.Topic = s.Topic
			if !yield(t, err) {
				return
			}
		}
	}
}

func (s *FeedbackService) connect(ctx context.Context) (net.Conn, error) {
	pair, err := s.Certificates.PushCertificate(ctx, s.Topic)
	if err != nil {
		return nil, err
	}
	if pair == nil {
		return nil, mdm.Errorf(mdm.NotFound, "push.FeedbackService", "there is no push certificate for topic %q", s.Topic)
	}
	cfg := s.TLS.Clone() // of nil it is nil
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.Certificates = []tls.Certificate{*pair}
	if cfg.ServerName == "" {
		if cfg.ServerName, _, err = net.SplitHostPort(s.Addr); err != nil {
			return nil, err
		}
	}
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	raw, err := dial(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}
