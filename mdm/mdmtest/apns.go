package mdmtest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"sync"
	"sync/atomic"
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
	Payload    []byte    // the body as it came
	Expiration time.Time // zero: none, APNs tries once
	At         time.Time
	Conn       int // number of the connection that it came on, from 1
	Status     int // of the answer, though it may be delayed; 0 if there is none
}

// APNs is a simulated Apple Push Notification service: HTTP/2 over TLS on a loopback port. It demands a certificate
// with a topic of its clients. A request that Apple documents as wrong, or that is not a push of MDM, is refused with Apple's
// reason and leaves a violation. Others are accepted, unless a script says otherwise, and wake who subscribed to the token. It
// is safe for concurrent use.
//
// Some of what Apple takes is no good for MDM: a push without an apns-expiration that lies ahead is lost if the device sleeps;
// Apple asks for apns-push-type since iOS 13; and without apns-topic it is the certificate that decides. Such a push is taken as by
// Apple: it is not kept for a token that nobody has subscribed to, and has the topic of the certificate. But it leaves a
// violation that begins with "unwise: ", so that a test which wants none fails, unless the APNs is [APNsConfig.Lenient].
//
// As Apple's does, it lets few streams onto a connection ([APNsConfig.FirstStreams]) until the first push on it has
// shown that the certificate is good, and then raises the limit. A stream beyond the limit is refused unseen; it is a
// violation if the client had acknowledged the limit.
type APNs struct {
	url      string
	roots    *x509.CertPool
	listener *net.TCPListener
	tls      *tls.Config
	config   APNsConfig // with its defaults

	closing sync.Once
	closed  chan struct{}
	serving sync.WaitGroup // who accepts, and the goroutines of connections
	jobs    chan apnsJob   // to idle workers
	idle    atomic.Int64   // workers
	latency atomic.Int64
	arrived atomic.Uint64 // pushes

	withheld atomic.Bool // windows
	count    apnsCount

	mu         sync.Mutex
	pushes     []apnsRecord // in the order of arrival
	violations []string
	queue      []PushAnswer
	script     func(Push) PushAnswer
	taken      func(Push)
	delivered  func(Push)
	kept       map[string]time.Time // tokens that a push waits for, until it expires
	subs       map[string]map[chan struct{}]struct{}
	ids        map[[16]byte]struct{} // taken; nil: not counted
	last       map[string]time.Time  // when a push to the token was accepted; nil: no TokenInterval
	purge      int                   // size of last at which it is searched for old ones
	revoked    map[mdm.Fingerprint]bool
	conns      map[*apnsConn]struct{}
	connected  int
	streams    int
	ended      bool
	down       bool
	silent     bool
}

// APNsConfig sets up an APNs. The zero value is what [NewAPNs] uses.
type APNsConfig struct {
	MaxStreams   int    // HTTP/2 streams per connection; 0: 1000, as Apple
	FirstStreams int    // the same before a push was taken on the connection, if it is less; 0: 1, as Apple
	MaxTLS       uint16 // highest version of TLS; 0: the newest

	TokenInterval time.Duration    // a push sooner after one to the same token gets 429 TooManyRequests; 0: no limit
	CountRepeats  bool             // remember every apns-id for APNsTotals.Repeated: about 40 bytes each
	Lean          bool             // for benchmarks: keep no Pushes, and nothing for tokens without a subscription
	Lenient       bool             // what Apple takes is no violation, be it unwise
	Clock         func() time.Time // nil: time.Now; also for what has expired
}

// NewAPNs starts an APNs. It panics if there is no loopback port to be had.
func NewAPNs() *APNs { return APNsConfig{}.Start() }

// Start starts an APNs with the settings of c. It panics if there is no loopback port to be had.
func (c APNsConfig) Start() *APNs {
	pair, roots, listener := apnsListen()
	c = c.withDefaults()
	a := &APNs{
		url: "https://" + listener.Addr().String(), roots: roots, listener: listener, config: c, streams: c.MaxStreams,
		closed: make(chan struct{}), jobs: make(chan apnsJob),
		kept: map[string]time.Time{}, subs: map[string]map[chan struct{}]struct{}{},
		revoked: map[mdm.Fingerprint]bool{}, conns: map[*apnsConn]struct{}{},
	}
	if c.CountRepeats {
		a.ids = map[[16]byte]struct{}{}
	}
	if c.TokenInterval > 0 {
		a.last = map[string]time.Time{}
	}
	a.tls = a.tlsConfig(pair)
	a.serving.Go(a.accept)
	return a
}

func (c APNsConfig) withDefaults() APNsConfig {
	if c.MaxStreams <= 0 {
		c.MaxStreams = 1000
	}
	if c.FirstStreams <= 0 {
		c.FirstStreams = 1
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

func (a *APNs) tlsConfig(pair tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:                []tls.Certificate{pair},
		NextProtos:                  []string{"h2"},
		MinVersion:                  tls.VersionTLS12,
		MaxVersion:                  a.config.MaxTLS,
		ClientAuth:                  tls.RequireAnyClientCert, // push certificates of tests have no common CA
		VerifyConnection:            a.verify,
		DynamicRecordSizingDisabled: true, // answers are written together
	}
}

// Close ends all connections and stops listening. Only scripts and hooks that still run are not waited for.
func (a *APNs) Close() {
	a.closing.Do(func() {
		a.mu.Lock()
		a.ended = true
		a.mu.Unlock()
		close(a.closed)
		_ = a.listener.Close()
	})
	a.Disconnect()
	a.serving.Wait()
}

// URL returns where the APNs is, to be used as Host of an apns.Client.
func (a *APNs) URL() string { return a.url }

// RootCAs returns whom clients must trust.
func (a *APNs) RootCAs() *x509.CertPool { return a.roots.Clone() }

// Pushes returns the last 10,000 requests that were well-formed, in the order of arrival, whatever the order in which scripts
// and hooks were done with them. Those that were refused unseen are not among them. There are none if the APNs is
// [APNsConfig.Lean].
func (a *APNs) Pushes() []Push {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.pushes[max(0, len(a.pushes)-apnsKept):]
	pushes := make([]Push, len(last))
	for i := range last {
		pushes[i] = last[i].Push
	}
	return pushes
}

// Violations tells what was wrong with requests, up to 10,000: the status and reason of those that were refused, breaches of
// HTTP/2, and, after "unwise: ", what Apple takes and MDM suffers from. It is empty if all was well.
func (a *APNs) Violations() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.violations)
}

// Connections returns how many connections are open and how many there were in all.
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

// OnTaken makes the APNs call f for each push that it took, accepted or not, before it is answered: those that
// [APNsTotals.Taken] counts. nil stops that.
func (a *APNs) OnTaken(f func(Push)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = f
}
