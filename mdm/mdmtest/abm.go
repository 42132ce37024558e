package mdmtest

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const abmKept = 10_000 // violations that are remembered

// ABM is a simulated Apple Business Manager (or School Manager): organizations with servers and devices, and the web service
// of Automated Device Enrollment for them, HTTPS on a loopback port. What Apple documents as wrong is refused with Apple's code
// and leaves a violation; so does what two replicas must not do, to sync one server at once. What Apple takes but what is no good
// leaves one that begins with "unwise: ". What a script refuses leaves none. It is safe for concurrent use.
//
// A million devices take some 40 MB: see [ABM.AddMany]. Its administrators are the methods of the ABM itself, and so is what
// happens to the devices. How it fails, and what else Apple does now and then, is told to [ABM.Inject], [ABM.Queue]
// and [ABM.SetOddities].
//
// Source: Apple, "Device Assignment" (Device Management), and "MDM Protocol Reference" of 2018.
type ABM struct {
	url      string
	roots    *x509.CertPool
	http     http.Server
	config   ABMConfig // with its defaults
	calls    map[string]map[string]func(*abmCall) abmReply
	seal     [32]byte // key of cursors
	closing  sync.Once
	serving  sync.WaitGroup
	shutdown chan struct{}

	mu         sync.Mutex
	violations []string
	totals     ABMTotals
	orgs       map[string]*ABMOrg
	servers    []*ABMServer // by their number, less one
	profiles   []*abmProfile
	byUUID     map[string]uint32
	devices    abmDevices
	words      []string // of operations
	sessions   map[string]*abmSession
	nonces     map[string]time.Time
	said       map[string]abmSaid // what devices are answered in calls about profiles
	locks      map[string]abmLock
	odd        ABMOddities
	faults     ABMFaults
	faulty     int // calls that ABMFaults has seen
	struck     int // calls that it made fail
	queue      []abmQueued
	dice       *mathrand.Rand
	terms      bool
	rotate     int
	endRotated bool
	answered   int // calls that a session may be rotated with
	seedForIT  bool
	onCall     func(call string, n int)
}

// ABMConfig sets up an ABM. The zero value is what [NewABM] uses.
type ABMConfig struct {
	Clock func() time.Time // nil: time.Now
	// SignClock is what the timestamps in requests for a session are compared with; nil: time.Now, whatever Clock is, because those who
	// sign take the time of their computer.
	SignClock func() time.Time
	Seed      uint64 // of what is random: faults and oddities

	SessionFor time.Duration // that a session lasts; 0: an hour
	CursorFor  time.Duration // that a cursor is good; 0: 7 days, as Apple
	TokenFor   time.Duration // that a token is good; 0: 365 days
	Skew       time.Duration // that clocks may differ in a request for a session; 0: 5 minutes
	Cooldown   time.Duration // a device whose profile was changed less than this ago is THROTTLED; 0: none is

	DefaultLimit int // devices of a page if no limit is asked for; 0: 100, as Apple
	MaxLimit     int // most devices of a page, and of a call; 0: 1000, as Apple

	AssignBy string // the method of /profile/devices that assigns, "PUT" or "POST", the other gets 405; "": both
	NotFound int    // status of a profile that is not known, 404 or 400: Apple documents both; 0: 404

	// OrgVersion is "v1" for an organization of the Device Enrollment Program of before Apple Business Manager, which cannot do
	// Activation Lock and account-driven enrollment; "": "v2".
	OrgVersion string
	OrgType    string // "org", "edu", "tvprovider"; "": "org"
}

// NewABM starts an ABM. It panics if there is no loopback port to be had.
func NewABM() *ABM { return ABMConfig{}.Start() }

// Start starts an ABM with the settings of c. It panics if there is no loopback port to be had.
func (c ABMConfig) Start() *ABM {
	pair, roots, listener := apnsListen()
	c = c.withDefaults()
	a := &ABM{
		url: "https://" + listener.Addr().String(), roots: roots, config: c, shutdown: make(chan struct{}),
		totals: newABMTotals(), orgs: map[string]*ABMOrg{}, byUUID: map[string]uint32{}, sessions: map[string]*abmSession{},
		nonces: map[string]time.Time{}, said: map[string]abmSaid{}, locks: map[string]abmLock{},
		words: []string{"added", "modified", "deleted"}, dice: mathrand.New(mathrand.NewPCG(c.Seed, 1)), seedForIT: true,
	}
	_, _ = rand.Read(a.seal[:]) // never fails (crypto/rand)
	a.calls = a.routes()
	a.http = http.Server{
		Handler:           http.HandlerFunc(a.serve),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ErrorLog:          log.New(io.Discard, "", 0), // connections that clients break are no news
		ReadHeaderTimeout: time.Minute,
	}
	a.serving.Go(func() { a.listen(listener) })
	return a
}

func (c ABMConfig) withDefaults() ABMConfig {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.SessionFor, time.Hour)
	def(&c.CursorFor, 7*24*time.Hour)
	def(&c.TokenFor, 365*24*time.Hour)
	def(&c.Skew, 5*time.Minute)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.SignClock == nil {
		c.SignClock = time.Now
	}
	if c.MaxLimit <= 0 {
		c.MaxLimit = 1000
	}
	if c.DefaultLimit <= 0 {
		c.DefaultLimit = min(100, c.MaxLimit)
	}
	if c.NotFound == 0 {
		c.NotFound = http.StatusNotFound
	}
	if c.OrgVersion == "" {
		c.OrgVersion = "v2"
	}
	if c.OrgType == "" {
		c.OrgType = "org"
	}
	return c
}

func (a *ABM) listen(l net.Listener) { _ = a.http.ServeTLS(l, "", "") }

// Close breaks all connections and stops listening.
func (a *ABM) Close() {
	a.closing.Do(func() { close(a.shutdown) })
	_ = a.http.Close()
	a.serving.Wait()
}

// URL returns where the ABM is, in place of https://mdmenrollment.apple.com.
func (a *ABM) URL() string { return a.url }

// RootCAs returns whom clients must trust.
func (a *ABM) RootCAs() *x509.CertPool { return a.roots.Clone() }

// Violations tells what was wrong with requests, up to 10,000. It is empty if all was well.
func (a *ABM) Violations() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.violations)
}

// violate notes what is wrong. The caller holds a.mu.
func (a *ABM) violate(format string, args ...any) {
	if len(a.violations) < abmKept {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

// now is the time by Apple's clock, in whole seconds, as Apple tells times.
func (a *ABM) now() time.Time { return a.config.Clock().UTC().Truncate(time.Second) }

// abmRandom returns n random bytes, in hexadecimal.
func abmRandom(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return fmt.Sprintf("%x", b)
}
