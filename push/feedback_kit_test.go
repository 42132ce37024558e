package push_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

var errDown = errors.New("down")

// roster is a push.Devices.
type roster struct {
	mu     sync.Mutex
	rows   []*mdm.Enrollment
	passes int
	err    error
}

// enroll adds a device whose token is its name.
func (r *roster) enroll(tenant, device string, updated time.Time) *mdm.Enrollment {
	id := mdm.EnrollmentID{Tenant: tenant, Device: device}
	e := &mdm.Enrollment{ID: id, State: mdm.Enrolled, Topic: topic, PushToken: []byte(device), TokenUpdatedAt: updated}
	at, _ := slices.BinarySearchFunc(r.rows, id, func(e *mdm.Enrollment, id mdm.EnrollmentID) int { return compare(e.ID, id) })
	r.rows = slices.Insert(r.rows, at, e)
	return e
}

func compare(a, b mdm.EnrollmentID) int {
	return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.User, b.User))
}

func (r *roster) Enrollments(_ context.Context, f mdm.Filter) iter.Seq2[*mdm.Enrollment, error] {
	return func(yield func(*mdm.Enrollment, error) bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.passes++
		n := 0
		for _, e := range r.rows {
			if !f.Matches(e) || f.After != (mdm.EnrollmentID{}) && compare(e.ID, f.After) <= 0 {
				continue
			}
			if n++; n > f.Limit || !yield(e, nil) {
				return
			}
		}
		if r.err != nil {
			yield(nil, r.err)
		}
	}
}

// told is a push.FeedbackSource that tells what is put into it, once.
type told struct {
	tokens []push.InvalidToken
	err    error
	asked  int
}

func (s *told) InvalidTokens(context.Context) iter.Seq2[push.InvalidToken, error] {
	return func(yield func(push.InvalidToken, error) bool) {
		s.asked++
		tokens := s.tokens
		s.tokens = nil
		for i, t := range tokens {
			if !yield(t, nil) {
				s.tokens = tokens[i+1:]
				return
			}
		}
		if s.err != nil {
			yield(push.InvalidToken{}, s.err)
		}
	}
}

// provider is a Feedback Service of the binary interface: it sends a stream to each client that has a certificate.
type provider struct {
	addr  string
	roots *x509.CertPool
	pair  tls.Certificate // of the topic
}

func newProvider(t *testing.T, answer func(net.Conn)) *provider {
	t.Helper()
	serverKey, clientKey := ecKey(t), ecKey(t)
	serverPEM := issue(t, serverKey, func(c *x509.Certificate) {
		c.IPAddresses, c.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.IsCA, c.BasicConstraintsValid = true, true
	})
	server, err := tls.X509KeyPair(serverPEM, pkcs8(t, serverKey))
	require.NoError(t, err)
	p := &provider{roots: x509.NewCertPool()}
	p.roots.AppendCertsFromPEM(serverPEM)
	p.pair, err = tls.X509KeyPair(issue(t, clientKey, nil, topic), pkcs8(t, clientKey))
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert})
	require.NoError(t, err)
	p.addr = l.Addr().String()
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				if conn.(*tls.Conn).Handshake() == nil {
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	return p
}

func (p *provider) service() *push.FeedbackService {
	return &push.FeedbackService{Addr: p.addr, Topic: topic, TLS: &tls.Config{RootCAs: p.roots},
		Certificates: push.Fixed(push.Certificate{Topic: topic, TLS: p.pair})}
}

// all reads a source to its end.
func all(ctx context.Context, s push.FeedbackSource) (tokens []push.InvalidToken, err error) {
	for t, e := range s.InvalidTokens(ctx) {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		tokens = append(tokens, t)
	}
	return tokens, err
}

// provided is a service that tells stream.
func provided(t *testing.T, stream []byte) *push.FeedbackService {
	t.Helper()
	return newProvider(t, func(conn net.Conn) { _, _ = conn.Write(stream) }).service()
}
