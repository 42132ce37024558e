package mdmtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gomdm/applemdm/profile"
)

// Mode is how a device's certificate reaches the server.
type Mode uint8

// The modes. The MDM payload's SignMessage adds the signature whatever the mode.
const (
	ModeTLS       Mode = iota // client certificate of the TLS connection
	ModeSignature             // Mdm-Signature only, as behind a proxy that ends TLS
	ModeProxy                 // the Client-Cert header of RFC 9440, as a proxy in front of the server would set it
)

// Config describes a device. Empty fields are filled in with something plausible.
type Config struct {
	UDID         string
	EnrollmentID string // instead of UDID: a User Enrollment; the device then tells neither UDID nor serial number
	SerialNumber string
	Name         string
	ProductName  string // as "iPhone15,2"
	OSVersion    string

	RootCAs *x509.CertPool // trusted for TLS and for profile signatures; a trust profile adds to it
	Mode    Mode
	APNs    *APNs                               // whose pushes wake the device; nil: nothing does
	Clock   func() time.Time                    // nil: time.Now; another one is a device whose clock is wrong
	Respond func(context.Context, Order) Answer // the script; nil: Acknowledge
	// NewKey makes the key of an identity by SCEP, which takes most of the time of an enrollment: many devices may be given
	// keys that were made before. Nil: each makes its own, as real ones do.
	NewKey func(bits int) (*rsa.PrivateKey, error)
	Header http.Header // added to every request, as a proxy's shared secret
	// AwaitConfiguration makes the device wait for DeviceConfigured after each enrollment, as in Setup Assistant.
	AwaitConfiguration bool
	// FailReplacement makes the device fail when it is told to install a new MDM profile, and go on with the old one.
	FailReplacement bool

	// BuiltIn signs the certificate that the device is made with, which it shows when it enrolls over the air. Nil: nobody
	// that is known, as of a virtual machine.
	BuiltIn *BuiltInCA
	Digest  crypto.Hash // of what it signs with that; 0: SHA-256; older systems have SHA-1 and send no chain
}

// Device is a simulated device. Its methods are safe for concurrent use; what talks to the server goes one at a time.
type Device struct {
	cfg Config

	talk sync.Mutex // one conversation at a time

	mu       sync.Mutex // guards what follows
	roots    *x509.CertPool
	current  *management // nil: not managed
	profiles map[string]*profile.Profile
	setup    bool // waiting for DeviceConfigured
	unlock   []byte
	users    []*User
	log      []Done
	builtIn  tls.Certificate // zero until it is needed
	delivery *delivery       // nil: nothing came over the air
	assigned *Assignment     // nil: not enrolled by Setup Assistant
	state    state
	declared map[string]*declared // by user channel; "": the device
}

// management is what an MDM profile brings: everything that a backup holds and a wipe loses.
type management struct {
	profile *profile.Profile
	mdm     *profile.MDM
	cert    *x509.Certificate
	key     crypto.Signer
	token   []byte
	magic   string
	client  *http.Client
}

// NewDevice returns a device that is not managed yet.
func NewDevice(cfg Config) *Device {
	if cfg.UDID == "" && cfg.EnrollmentID == "" {
		cfg.UDID = fmt.Sprintf("00008030-%s", strings.ToUpper(randomHex(8)))
	}
	cfg.SerialNumber = or(cfg.SerialNumber, "SIM"+strings.ToUpper(randomHex(5)))
	cfg.ProductName = or(cfg.ProductName, "iPhone15,2")
	cfg.OSVersion = or(cfg.OSVersion, "18.2")
	cfg.Name = or(cfg.Name, "Simulated "+cfg.SerialNumber)
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	roots := cfg.RootCAs
	if roots == nil {
		roots = x509.NewCertPool()
	}
	return &Device{cfg: cfg, roots: roots.Clone(), profiles: map[string]*profile.Profile{}}
}

// ID returns the UDID, or the EnrollmentID of a User Enrollment.
func (d *Device) ID() string { return or(d.cfg.UDID, d.cfg.EnrollmentID) }

// SerialNumber returns the hardware serial number.
func (d *Device) SerialNumber() string { return d.cfg.SerialNumber }

// Managed reports whether an MDM profile is installed.
func (d *Device) Managed() bool { return d.managed() != nil }

// Certificate returns the identity that the device uses now, nil if it is not managed.
func (d *Device) Certificate() *x509.Certificate {
	if m := d.managed(); m != nil {
		return m.cert
	}
	return nil
}

// Profiles returns the identifiers of the installed profiles but the MDM profile, in no order.
func (d *Device) Profiles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id := range d.profiles {
		ids = append(ids, id)
	}
	return ids
}

// InSetup reports whether the device waits for DeviceConfigured.
func (d *Device) InSetup() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.setup
}

// Done is a command that the device answered.
type Done struct {
	Order  Order
	Answer Answer
}

// History returns what the device has answered, in order.
func (d *Device) History() []Done {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Done(nil), d.log...)
}

func (d *Device) managed() *management {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

func (d *Device) install(m *management) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = m
}

// identifiers returns the keys by which every message says from whom it comes.
func (d *Device) identifiers() map[string]any {
	if d.cfg.EnrollmentID != "" {
		return map[string]any{"EnrollmentID": d.cfg.EnrollmentID}
	}
	return map[string]any{"UDID": d.cfg.UDID}
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }
