// Package ota enrolls devices over the air, by Apple's Profile Service:
//
//  1. A user logs in and gets a profile that says where to go on, with a challenge. [Service.Start] answers this.
//  2. The device sends its attributes and the challenge, signed with the certificate that Apple built into it. It is told to
//     get an identity of ours by SCEP. [Service.Continue] answers this, and
//  3. the device asks again, signed with that identity, and gets the last profile, encrypted to it: usually the enrollment
//     profile, with com.apple.mdm.
//
// So the user, a genuine Apple device and the key that the last profile is encrypted to are proven to belong together. All
// state is in the [enroll.Sessions] and the ledger of SCEP: any replica can answer the next request, also after a restart.
//
// # What is refused
//
// A session belongs to the first device that shows its challenge. Who steals the profile of step 1 needs a device of Apple's
// to use it, within Service.Lifetime, before the user does; then it is the user who is refused, and notices. Admit can
// compare serial numbers with an inventory. An identity of step 2 is worth nothing in MDM: it was issued for the delivery of
// profiles. What a device signs holds nothing fresh of ours but the challenge, so who can read its requests in spite of TLS can
// repeat them, a few times, while the session is open.
//
// Devices are reported to go through steps 2 and 3 twice. The same device may do so, up to Service.MaxRuns times while the
// session is open. Everybody else is answered 403 and changes nothing. No answer is 401 but that of Login.
//
// # Updates
//
// If the last profile has an ExpirationDate, the device may come again from then on, by step 2 with the old challenge or
// by step 3 with its identity, if that is still valid. Admit and Final are asked again; Final must keep the profile's
// identifier.
package ota

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// Kind is the Kind of this package's sessions.
const Kind = "ota"

// The defaults of a Service.
const (
	DefaultLifetime  = 15 * time.Minute
	DefaultMaxRuns   = 5
	DefaultUpdateFor = 365 * 24 * time.Hour
)

// Service is a Profile Service. Set it up before its handlers are used; they are safe for concurrent use.
//
// The hooks run outside of any transaction and may be asked more often than anything comes of it. An error of theirs that is
// Forbidden turns the device away, with 403; one that is Unavailable is 503; any other is our own fault, 500. They must not
// change the session that they are given.
type Service struct {
	Sessions enroll.Sessions // required
	Ledger   scep.Store      // required: that of the scep.Server at SCEP.URL
	// Validator passes the certificates of that server, as [identity.IssuedBy] does. Required.
	Validator identity.Validator
	Signer    profile.Signer // of all profiles; required

	// URL is where Continue is served: https, required. The ID of the session is added to its query.
	URL string
	// SCEP is the payload of step 2. Its URL is required. The challenge and what concerns the key are filled in.
	SCEP profile.SCEPContent

	Identifier   string // PayloadIdentifier of the profiles of steps 1 and 2, as "com.example.enroll"; required
	DisplayName  string
	Description  string
	Organization string
	// Attributes are the names of what the device tells of itself: UDID, VERSION, PRODUCT, SERIAL, IMEI, ICCID, MEID,
	// MAC_ADDRESS_EN0, DEVICE_NAME (Apple: Over-the-Air Profile Delivery). Nil: the first four. What a device says beyond
	// them is dropped; some may be missing.
	Attributes []string

	// Login tells who asks for a profile, in your words; it ends in Session.User. If it returns false it has answered the
	// request itself, as with 401 or a redirect. Required. Each time that it returns true a session is stored.
	Login func(w http.ResponseWriter, r *http.Request) (user string, ok bool)
	// Admit is your policy for devices, asked in steps 2 and 3 each time, with what the session is going to be. Device is
	// what the device says, BuiltIn its certificate. Nil: every device of Apple's.
	Admit func(context.Context, enroll.Session) error
	// Final makes the last profile. DeliveredAt is set if there was a delivery before; whether that arrived is not known.
	// Required.
	Final func(context.Context, enroll.Session) (*profile.Profile, error)
	// Stranger is asked about a device whose certificate is neither built in nor ours, as that of a virtual machine.
	// Nothing is known about signer but that it signed. If it returns nil the device is treated as one with a built-in
	// certificate. Nil: refused.
	Stranger func(ctx context.Context, signer *x509.Certificate) error

	Devices enroll.DeviceCA // who signs built-in certificates; zero: Apple
	// Unencrypted delivers the last profile readable. It comes over TLS all the same.
	Unencrypted bool
	// Restart is where a device is redirected that had its profile and may not come again, so that it begins anew: the URL
	// of Start, or of a page about it. Empty: 403.
	Restart string

	Tenant    func(*http.Request) string // nil: one tenant, ""
	Lifetime  time.Duration              // how long a session is open, from its begin and from step 2; 0: DefaultLifetime
	MaxRuns   int                        // how often a device may go through it meanwhile; 0: DefaultMaxRuns
	UpdateFor time.Duration              // how long after a profile's ExpirationDate it can be updated; 0: DefaultUpdateFor
	Clock     func() time.Time           // nil: time.Now
	Logger    *slog.Logger               // a record for each request; nil: nothing is logged
}

// Start answers step 1: GET, by a user's browser.
func (s *Service) Start() http.Handler { return s.handler("start", http.MethodGet, s.start) }

// Continue answers steps 2 and 3: POST to URL.
func (s *Service) Continue() http.Handler { return s.handler("continue", http.MethodPost, s.proceed) }

// check returns an Internal error that names what is missing.
func (s *Service) check() error {
	const op = "ota.Service"
	u, err := url.Parse(s.URL)
	for _, c := range []struct {
		missing bool
		name    string
	}{
		{s.Sessions == nil, "Sessions"}, {s.Ledger == nil, "Ledger"}, {s.Validator == nil, "Validator"}, {s.Signer == nil, "Signer"},
		{s.Identifier == "", "Identifier"}, {s.Login == nil, "Login"}, {s.Final == nil, "Final"}, {s.SCEP.URL == "", "SCEP.URL"},
		{err != nil || u.Scheme != "https" || u.Host == "", "URL, https,"},
	} {
		if c.missing {
			return mdm.Errorf(mdm.Internal, op, "%s is required", c.name)
		}
	}
	return nil
}

func (s *Service) rules() rules {
	r := rules{lifetime: s.Lifetime, updateFor: s.UpdateFor, maxRuns: s.MaxRuns}
	if r.lifetime <= 0 {
		r.lifetime = DefaultLifetime
	}
	if r.updateFor <= 0 {
		r.updateFor = DefaultUpdateFor
	}
	if r.maxRuns <= 0 {
		r.maxRuns = DefaultMaxRuns
	}
	return r
}

func (s *Service) attributes() []string {
	if s.Attributes == nil {
		return []string{"UDID", "VERSION", "PRODUCT", "SERIAL"}
	}
	return s.Attributes
}

func (s *Service) tenant(r *http.Request) string {
	if s.Tenant == nil {
		return ""
	}
	return s.Tenant(r)
}

func (s *Service) now() time.Time {
	if s.Clock == nil {
		return time.Now()
	}
	return s.Clock()
}
