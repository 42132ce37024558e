package mdmtest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

const apnsKept = 10_000 // pushes and violations that are remembered

// Push is a push as APNs got it.
type Push struct {
	ID         string
	Topic      string
	Token      []byte
	Magic      string
	Payload    []byte // the body as it came
	Expiration time.Time
	At         time.Time
	Conn       int // number of the connection that it came on, from 1
	Status     int // answered; 0 if there was no answer
}

// APNs is a simulated Apple Push Notification service: HTTP/2 over TLS on a loopback port. It demands a push
// certificate of its clients and checks every request as Apple documents it; a bad one is refused with Apple's reason
// and leaves a violation. Good ones are accepted, unless a script says otherwise, and wake who subscribed to the token.
// It is safe for concurrent use.
type APNs struct {
	url    string
	roots  *x509.CertPool
	server *http.Server

	closing sync.Once
	closed  chan struct{}

	mu         sync.Mutex
	pushes     []Push
	violations []string
	queue      []PushAnswer
	script     func(Push) PushAnswer
	delivered  func(Push)
	devices    map[string]*apnsDevice
	revoked    map[mdm.Fingerprint]bool
	conns      map[*apnsConn]struct{}
	connected  int
}

// APNsConfig sets up an APNs. The zero value is what [NewAPNs] uses.
type APNsConfig struct {
	MaxStreams int    // HTTP/2 streams per connection; 0: 1000, as Apple
	MaxTLS     uint16 // highest version of TLS; 0: the newest
}

// NewAPNs starts an APNs. It panics if there is no loopback port to be had.
func NewAPNs() *APNs { return APNsConfig{}.Start() }

// Start starts an APNs with the settings of c. It panics if there is no loopback port to be had.
func (c APNsConfig) Start() *APNs {
	pair, roots, err := apnsServerCertificate()
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	a := &APNs{
		url: "https://" + listener.Addr().String(), roots: roots, closed: make(chan struct{}),
		devices: map[string]*apnsDevice{}, revoked: map[mdm.Fingerprint]bool{}, conns: map[*apnsConn]struct{}{},
	}
	streams := c.MaxStreams
	if streams <= 0 {
		streams = 1000
	}
	a.server = &http.Server{
		Handler:           a,
		TLSConfig:         a.tlsConfig(pair, c.MaxTLS),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       apnsConnContext,
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
	}
	a.server.Protocols.SetHTTP2(true)
	go func() { _ = a.server.ServeTLS(apnsListener{listener, a}, "", "") }()
	return a
}

func (a *APNs) tlsConfig(pair tls.Certificate, maxTLS uint16) *tls.Config {
	return &tls.Config{
		Certificates:     []tls.Certificate{pair},
		MinVersion:       tls.VersionTLS12,
		MaxVersion:       maxTLS,
		ClientAuth:       tls.RequireAnyClientCert, // push certificates of tests have no common CA
		VerifyConnection: a.verify,
	}
}

// Close ends all connections and stops listening.
func (a *APNs) Close() {
	a.closing.Do(func() {
		close(a.closed)
		_ = a.server.Close()
	})
}

// URL returns where the APNs is, to be used as Host of an apns.Client.
func (a *APNs) URL() string { return a.url }

// RootCAs returns whom clients must trust.
func (a *APNs) RootCAs() *x509.CertPool { return a.roots.Clone() }

// Pushes returns the last 10,000 requests that were well-formed, in the order of arrival.
func (a *APNs) Pushes() []Push {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.pushes[max(0, len(a.pushes)-apnsKept):])
}

// Violations tells what was wrong with requests that Apple would refuse. It is empty if all was well.
func (a *APNs) Violations() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.violations)
}

// Connections returns how many TLS connections are open and how many there were in all.
func (a *APNs) Connections() (open, total int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns), a.connected
}

// OnDelivery makes the APNs call f for each accepted push, before it is answered. nil stops that.
func (a *APNs) OnDelivery(f func(Push)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.delivered = f
}
