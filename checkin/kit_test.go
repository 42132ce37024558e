package checkin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

var (
	start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	phone = mdm.EnrollmentID{Device: "UDID"}
	anna  = mdm.EnrollmentID{Device: "UDID", User: "anna"}
)

// kit is a service on a store with one situation, which the plans change as a store would.
type kit struct {
	t       testing.TB
	service checkin.Service
	now     checkin.Situation
	certs   map[mdm.Fingerprint]*mdm.Certificate
	rows    map[mdm.EnrollmentID]*mdm.Enrollment
	tokens  map[mdm.EnrollmentID][]byte
	plans   []checkin.Plan
	err     error // of the store
	at      time.Time

	bootstrap mdm.Secret
}

func newKit(t testing.TB) *kit {
	k := &kit{t: t, certs: map[mdm.Fingerprint]*mdm.Certificate{}, rows: map[mdm.EnrollmentID]*mdm.Enrollment{},
		tokens: map[mdm.EnrollmentID][]byte{}, at: start}
	k.service = checkin.Service{Store: k, Escrow: k}
	return k
}

// Update implements checkin.Store.
func (k *kit) Update(_ context.Context, key checkin.Key, decide func(*checkin.Situation) (checkin.Plan, error)) error {
	if k.err != nil {
		return k.err
	}
	s := k.now
	s.Enrollment, s.Device = clone(k.rows[key.ID]), clone(k.rows[key.ID.DeviceID()])
	s.Certificate, s.AuthTokenHash = clone(k.certs[key.Fingerprint]), k.tokens[key.ID]
	for _, c := range k.certs {
		if c.Device == key.ID.Device && c.Status == mdm.CertificateActive {
			s.Active = clone(c)
		}
		if c.Device == key.ID.Device && c.Status == mdm.CertificatePending {
			s.Pending = clone(c)
		}
	}
	plan, err := decide(&s)
	if err != nil {
		return err
	}
	k.plans = append(k.plans, plan)
	for _, e := range plan.Enrollments {
		k.rows[e.ID] = &e
	}
	for _, c := range plan.Certificates {
		k.certs[c.Fingerprint] = &c
	}
	if plan.AuthTokenHash != nil {
		k.tokens[key.ID] = plan.AuthTokenHash
	}
	if plan.BootstrapToken != nil {
		k.bootstrap = *plan.BootstrapToken
	}
	return plan.Refusal
}

// UnlockToken implements checkin.Escrow.
func (k *kit) UnlockToken(context.Context, mdm.EnrollmentID, string) (mdm.Secret, error) {
	return mdm.Secret{}, nil
}

// BootstrapToken implements checkin.Escrow.
func (k *kit) BootstrapToken(context.Context, mdm.EnrollmentID, string) (mdm.Secret, error) {
	return k.bootstrap, k.err
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func newCert(t testing.TB, name string) *x509.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start, NotAfter: start.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// issued returns a certificate that the ledger knows.
func (k *kit) issued(purpose mdm.Purpose, device string) *x509.Certificate {
	cert := newCert(k.t, "issued")
	record := mdm.NewCertificate("", cert)
	record.Status, record.Purpose, record.Device = mdm.CertificateIssued, purpose, device
	k.certs[record.Fingerprint] = &record
	return cert
}

// say sends a message and returns the plan that it led to.
func (k *kit) say(id mdm.EnrollmentID, cert *x509.Certificate, m checkin.Message) (checkin.Plan, *checkin.Reply, error) {
	k.at = k.at.Add(time.Minute)
	channel := mdm.DeviceChannel
	if id.IsUser() {
		channel = mdm.UserChannel
	}
	k.plans = nil
	reply, err := k.service.Checkin(context.Background(), &checkin.Request{ID: id, Channel: channel, Certificate: cert,
		Fingerprint: mdm.FingerprintOf(cert), Message: m, At: k.at, Identifiers: mdm.Identifiers{UDID: id.Device, UserShortName: id.User}})
	var plan checkin.Plan
	if len(k.plans) > 0 {
		plan = k.plans[len(k.plans)-1]
	}
	return plan, reply, err
}

func (k *kit) must(id mdm.EnrollmentID, cert *x509.Certificate, m checkin.Message) checkin.Plan {
	k.t.Helper()
	plan, _, err := k.say(id, cert, m)
	require.NoError(k.t, err)
	return plan
}

func authenticate() *checkin.Authenticate {
	return &checkin.Authenticate{Topic: "com.apple.mgmt.x", Device: mdm.Device{SerialNumber: "C02", OSVersion: "18.0", ProductName: "iPhone15,2"}}
}

func tokenUpdate(token string) *checkin.TokenUpdate {
	return &checkin.TokenUpdate{Topic: "com.apple.mgmt.x", Token: []byte(token), PushMagic: "magic"}
}

// enrolled enrolls the phone and returns its certificate.
func (k *kit) enrolled() *x509.Certificate {
	k.t.Helper()
	cert := k.issued(mdm.PurposeEnroll, "")
	k.must(phone, cert, authenticate())
	k.must(phone, cert, tokenUpdate("token"))
	return cert
}

func types(p checkin.Plan) []mdm.EventType {
	var out []mdm.EventType
	for _, e := range p.Events {
		out = append(out, e.Type)
	}
	return out
}

func truth(b bool) *bool { return &b }
