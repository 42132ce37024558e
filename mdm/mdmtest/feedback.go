package mdmtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// FeedbackService is a simulated Feedback Service of Apple's binary interface, which was retired in 2021: over TLS on a
// loopback port it sends whoever connects the tokens of the certificate's topic that are dead, and closes. What a client
// was sent is forgotten. It is safe for concurrent use.
//
// Source: Apple, "Binary Provider API", "The Feedback Service".
type FeedbackService struct {
	roots    *x509.CertPool
	listener *net.TCPListener
	tls      *tls.Config
	closing  sync.Once
	serving  sync.WaitGroup

	mu      sync.Mutex
	dead    map[string][]byte // tuples by topic
	cut     int               // bytes after which the next connection is cut off; negative: none
	conns   map[net.Conn]struct{}
	served  int
	stopped bool
}

// NewFeedbackService starts a FeedbackService. It panics if there is no loopback port to be had.
func NewFeedbackService() *FeedbackService {
	pair, roots, listener := apnsListen()
	s := &FeedbackService{roots: roots, listener: listener, dead: map[string][]byte{}, cut: -1, conns: map[net.Conn]struct{}{}}
	s.tls = &tls.Config{
		Certificates:     []tls.Certificate{pair},
		MinVersion:       tls.VersionTLS12,
		ClientAuth:       tls.RequireAnyClientCert, // push certificates of tests have no common CA
		VerifyConnection: feedbackVerify,
	}
	s.serving.Go(s.accept)
	return s
}

// feedbackVerify lets in who has a push certificate that has not expired.
func feedbackVerify(state tls.ConnectionState) error {
	switch {
	case apnsPeerTopic(&state) == "":
		return errors.New("mdmtest: not a push certificate")
	case time.Now().After(state.PeerCertificates[0].NotAfter):
		return errors.New("mdmtest: expired certificate")
	}
	return nil
}

// Add tells that token is dead since then, in whole seconds. It panics if the token has more than 65,535 bytes.
func (s *FeedbackService) Add(topic string, token []byte, since time.Time) {
	if len(token) > math.MaxUint16 {
		panic(fmt.Sprintf("mdmtest: a token of %d bytes", len(token)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tuples := binary.BigEndian.AppendUint32(s.dead[topic], uint32(since.Unix()))
	tuples = binary.BigEndian.AppendUint16(tuples, uint16(len(token)))
	s.dead[topic] = append(tuples, token...)
}

// Truncate cuts off the next connection after n bytes, as a lost connection does. That client has not read the list, so
// it is kept for the next.
func (s *FeedbackService) Truncate(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = max(n, 0)
}

// Served returns how many clients were sent a list, be it empty or cut off.
func (s *FeedbackService) Served() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// Addr returns where the service is, as host:port.
func (s *FeedbackService) Addr() string { return s.listener.Addr().String() }

// RootCAs returns whom clients must trust.
func (s *FeedbackService) RootCAs() *x509.CertPool { return s.roots.Clone() }

// Close stops listening and ends all connections.
func (s *FeedbackService) Close() {
	s.closing.Do(func() {
		_ = s.listener.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopped = true
		for conn := range s.conns {
			_ = conn.Close()
		}
	})
	s.serving.Wait()
}

func (s *FeedbackService) accept() {
	for {
		conn, err := s.listener.AcceptTCP()
		switch {
		case err == nil:
			s.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(10 * time.Millisecond) // a lack of file descriptors, as a rule
		}
	}
}

func (s *FeedbackService) admit(conn *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = conn.Close()
		return
	}
	s.conns[conn] = struct{}{}
	s.serving.Go(func() { s.serve(conn) })
}

func (s *FeedbackService) serve(conn *net.TCPConn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), apnsHandshake)
	defer cancel()
	secure := tls.Server(conn, s.tls)
	if secure.HandshakeContext(ctx) == nil {
		state := secure.ConnectionState()
		list, cut := s.take(apnsPeerTopic(&state))
		if _, err := secure.Write(list); err == nil && !cut {
			_ = secure.CloseWrite()
		}
	}
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(apnsLinger))
	_, _ = io.Copy(io.Discard, conn) // else the client might lose what it was sent
}

// take returns what the next client of topic gets, and whether the connection breaks off after it.
func (s *FeedbackService) take(topic string) (list []byte, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	list = s.dead[topic]
	if s.cut >= 0 {
		n := min(s.cut, len(list))
		s.cut = -1
		return list[:n:n], true
	}
	delete(s.dead, topic)
	return list, false
}
