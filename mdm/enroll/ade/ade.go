// Package ade is the server's side of what a device does in Setup Assistant under Automated Device Enrollment: it says what it
// is, signed with the certificate that Apple built into it, and gets its enrollment profile. There are two ways.
//
//  1. [Service.Enroll] answers the POST to the url of the device's ADE profile: with the profile, with a request to log in by
//     name and password ([Service.Authenticate]), or with what the device must do first ([Service.Require]), as Platform SSO, after
//     which a Mac has a token of its user ([Service.Bearer]).
//  2. [Service.Web] answers the GET of its configuration_web_url in a web view, where your own pages log the user in, as with
//     OpenID Connect ([Service.Login]). They end in [Service.Callback] or [Service.Finish], which hand the profile over.
//
// Serve one of them: a device whose ADE profile has a configuration_web_url does not use url, so Enroll without a login beside
// Web is a way around the login. Apple asks that the profile comes from a host that shares the last two labels with that of
// configuration_web_url, or is the same: the cookie of a session makes it the same.
//
// # What is proven, and what is not
//
// That a genuine device of Apple's signed what it says of itself; not whose it is: [Service.Admit] compares serial numbers
// with an inventory. What a device signs holds nothing fresh of ours, so who can read its requests in spite of TLS can repeat
// them. On the web he gets no further than the login page, and a session of his own. In Enroll, a login by Digest has a nonce
// of ours that is good once and for this device's certificate; without one he gets a profile, whose identity is worth nothing
// but for the UDID and serial number that it was made for ([For]).
//
// A session of the web is the browser's that began it: its state, which is in URLs, is worth nothing without a cookie that
// is not, and the other way round. It ends soon, and with the delivery.
//
// All state is in the [enroll.Sessions]: any process can answer the next request, also after a restart.
//
// # How much
//
// One message of any device of Apple's can be sent again and again. Each request for a profile without a login stores a session and
// what [Service.Final] stores for its identity, and each that opens the web view a session; a request to log in by password stores nothing.
// Sessions are kept for twice the Lifetime, until the store sweeps them. How many there may be is not limited here: an inventory in
// [Service.Admit] keeps out devices that are not yours, and Admit can answer one that asks too often with Unavailable, by the
// session's BuiltIn or by what it says; a limit by address belongs before the handlers.
//
// # Answers
//
// Nothing that fails on our side is a refusal: an outage is 503, a mistake of ours 500, and both can be tried again. 401 is
// the request to log in and nothing else. A refusal is 403.
package ade

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

// Kind is the Kind of this package's sessions.
const Kind = "ade"

// DefaultLifetime is how long a user has to log in, if a Service does not say.
const DefaultLifetime = 15 * time.Minute

// MinKey is how long the Key of a Service must be, in bytes.
const MinKey = 32

// Service answers devices in Setup Assistant. Set it up before its handlers are used; they are safe for concurrent use.
//
// Hooks may be asked more often than anything comes of it. An error of theirs that is Forbidden turns the device away, with
// 403; one that is Unavailable is 503; any other is our own fault, 500. They must not change the session or the MachineInfo
// that they are given.
type Service struct {
	Sessions enroll.Sessions // required
	Signer   profile.Signer  // of the profiles; required

	// Final makes the enrollment profile, for the device and the user of the session: see [For] for its identity. Required.
	Final func(context.Context, enroll.Session) (*profile.Profile, error)
	// Admit is your policy for devices, asked before anything else of what a device wants, and again when it gets its profile
	// after a login on the web. The session's Device has what the device says under Apple's names; SERIAL is missing where
	// the device is a user's own. Nil: every device of Apple's.
	Admit func(context.Context, enroll.Session) error
	// Require says what a device must have done before it gets a profile; see [Requirement]. A PAIRING_TOKEN is yours to check
	// here. Nil: nothing.
	Require func(context.Context, *enroll.MachineInfo) (Requirement, error)

	// Authenticate says how the user of a device has to log in at Enroll; a nil Password: not at all. Nil: nobody has to.
	Authenticate func(context.Context, enroll.Session) (*Password, error)
	// Bearer says whose a token is that a Mac brings to Enroll from the Platform SSO that it was asked for ([Requirement]); its user
	// need not log in by Authenticate then. The token is what your AuthURL ended with, for the callback of Apple's: it has to be
	// good for a short time, and should be good once and for one device. ErrWrong is a refusal. Nil: tokens are not looked at.
	Bearer func(ctx context.Context, s enroll.Session, token mdm.Secret) (user string, err error)
	// Login begins the login of a user on the web, as by a redirect to an identity provider, with state as its state. Whoever
	// answers the request that ends the login asks [Service.Finish], or is [Service.Callback]. Required for Web.
	Login func(w http.ResponseWriter, r *http.Request, state string)
	// Page writes what the user of a web view sees, with the status, where there is nothing to hand over: a refusal, or that it
	// does not work just now. Nil: a line of text.
	Page func(w http.ResponseWriter, r *http.Request, status int)
	// Key is a random secret of at least MinKey bytes, the same in all processes. Required for Digest and Derive.
	Key mdm.Secret

	Devices enroll.DeviceCA // who signs built-in certificates; zero: Apple
	// Stranger is asked about a device whose certificate Devices does not know, as that of a virtual machine. Nothing is known
	// about signer but that it signed. If it returns nil the device is treated as a genuine one. Nil: refused.
	Stranger func(ctx context.Context, signer *x509.Certificate) error

	Tenant   func(*http.Request) string // nil: one tenant, ""
	Lifetime time.Duration              // how long a login may take; 0: DefaultLifetime
	Clock    func() time.Time           // nil: time.Now
	Logger   *slog.Logger               // a record for each request; nil: nothing is logged
}

// Enroll answers the url of an ADE profile: POST, by a device.
func (s *Service) Enroll() http.Handler { return s.handler("enroll", s.enroll, http.MethodPost) }

// Web answers the configuration_web_url of an ADE profile: GET, by a device's web view.
func (s *Service) Web() http.Handler { return s.handler("web", s.web, http.MethodGet) }

// check returns an Internal error that names what is missing.
func (s *Service) check() error {
	for _, c := range []struct {
		missing bool
		name    string
	}{{s.Sessions == nil, "Sessions"}, {s.Signer == nil, "Signer"}, {s.Final == nil, "Final"}} {
		if c.missing {
			return mdm.Errorf(mdm.Internal, "ade.Service", "%s is required", c.name)
		}
	}
	return nil
}

// key returns the bytes of Key.
func (s *Service) key() ([]byte, error) {
	key := s.Key.Reveal()
	if len(key) < MinKey {
		return nil, mdm.Errorf(mdm.Internal, "ade.Service", "Key must have at least %d bytes", MinKey)
	}
	return key, nil
}

func (s *Service) tenant(r *http.Request) string {
	if s.Tenant == nil {
		return ""
	}
	return s.Tenant(r)
}

func (s *Service) lifetime() time.Duration {
	if s.Lifetime <= 0 {
		return DefaultLifetime
	}
	return s.Lifetime
}

func (s *Service) now() time.Time {
	if s.Clock == nil {
		return time.Now()
	}
	return s.Clock()
}
