package profile

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Enrollment is the recipe of an initial profile: root certificates, intermediates, one identity, the MDM payload, and
// nothing else (Apple's MDM Best Practices).
//
// Topic, ServerURL, CheckInURL, AccessRights and Identifier of an enrolled device must not change: a replacement that
// changes them (or adds a right) is refused by the device.
type Enrollment struct {
	Identifier   string // of the profile, as "com.example.mdm"; required
	DisplayName  string
	Description  string
	Organization string

	Topic      string // required
	ServerURL  string // https; required
	CheckInURL string // https; empty: ServerURL

	// AccessRights; 0: all. Left out for EnrollmentMode BYOD, which refuses them.
	AccessRights mdm.AccessRights

	// Identity is a *SCEP or an *ACME (preferred: the key is made on the device), or a *PKCS12. Required. Its PayloadUUID
	// should be fresh for a renewal, so that the device makes a new key; empty is derived from the profile's identifier.
	// Of a *SCEP, absent keys are filled in carefully: an RSA key of 2048 bits that cannot be exported.
	Identity Payload

	Roots         []*x509.Certificate // anchors of the server's TLS chain and of the identity, where they are private
	Intermediates []*x509.Certificate

	SignMessage bool // for servers behind a proxy that ends TLS; costs about 2 kB in each message
	Uses        Uses

	RemovalDisallowed  bool
	ExpirationDate     time.Time
	UseDevelopmentAPNS bool

	AssignedManagedAppleID string            // account-driven enrollment: required
	EnrollmentMode         MDMEnrollmentMode // account-driven enrollment
}

// Uses says which optional parts of the protocol a server answers. ServerCapabilities are derived from it, so that a
// device never asks for what nobody answers.
type Uses struct {
	UserChannels   bool
	BootstrapToken bool
	GetToken       bool
}

// Capabilities returns the values of the key ServerCapabilities.
func (u Uses) Capabilities() []MDMServerCapability {
	var list []MDMServerCapability
	for _, c := range []struct {
		used bool
		name MDMServerCapability
	}{{u.UserChannels, MDMServerCapabilityPerUserConnections}, {u.BootstrapToken, MDMServerCapabilityBootstrapToken}, {u.GetToken, MDMServerCapabilityToken}} {
		if c.used {
			list = append(list, c.name)
		}
	}
	return list
}

// Profile builds the profile. The error is a Malformed one that names the first thing wrong with it.
func (e Enrollment) Profile() (*Profile, error) {
	const op = "profile.Enrollment"
	p := &Profile{
		Identifier: e.Identifier, DisplayName: e.DisplayName, Description: e.Description, Organization: e.Organization,
		Scope: ScopeSystem, RemovalDisallowed: e.RemovalDisallowed, ExpirationDate: e.ExpirationDate,
	}
	for _, cert := range slices.Concat(e.Roots, e.Intermediates) {
		p.Payloads = append(p.Payloads, e.certificate(cert))
	}
	id, identity := e.identity()
	if identity == nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "Identity must be a *SCEP, an *ACME or a *PKCS12")
	}
	p.Payloads = append(p.Payloads, identity, e.mdmPayload(id))
	for _, problem := range ValidateEnrollment(p) {
		return nil, mdm.Errorf(mdm.Malformed, op, "%s", problem)
	}
	return p, nil
}

// certificate returns the payload of a certificate of the chain. It is named by the certificate, so that it stays the same
// payload whatever comes before it when the profile is replaced.
func (e Enrollment) certificate(cert *x509.Certificate) Payload {
	sum := sha256.Sum256(cert.Raw)
	identifier := e.Identifier + ".certificate." + hex.EncodeToString(sum[:8])
	p := NewCertificate(cert)
	switch c := p.(type) {
	case *RootCertificate:
		c.PayloadIdentifier = identifier
	case *Certificate:
		c.PayloadIdentifier = identifier
	}
	return p
}

// identity returns a copy of the identity with its UUID filled in, and that UUID.
func (e Enrollment) identity() (string, Payload) {
	fill := func(c *Common) string {
		if c.PayloadIdentifier == "" {
			c.PayloadIdentifier = e.Identifier + ".identity"
		}
		c.PayloadUUID = orDerived(c.PayloadUUID, c.PayloadIdentifier)
		return c.PayloadUUID
	}
	switch i := e.Identity.(type) {
	case *SCEP:
		identity := *i
		identity.PayloadContent = i.PayloadContent.careful()
		return fill(&identity.Common), &identity
	case *ACME:
		identity := *i
		return fill(&identity.Common), &identity
	case *PKCS12:
		identity := *i
		return fill(&identity.Common), &identity
	}
	return "", nil
}

// Key usages of a SCEP identity, as bits of the key Key Usage.
const (
	KeyUsageSigning    = 1
	KeyUsageEncryption = 4
)

// careful fills in what is absent where Apple's default is not what an identity for MDM should have: 1024 bits, and a key
// that can be taken out of the keychain. Profiles may be encrypted to the identity, so it may sign and decrypt.
func (c SCEPContent) careful() SCEPContent {
	or(&c.KeyType, "RSA")
	or(&c.Keysize, SCEPKeysize2048)
	or(&c.KeyUsage, int64(KeyUsageSigning|KeyUsageEncryption))
	or(&c.AllowAllAppsAccess, false)
	or(&c.KeyIsExtractable, false)
	return c
}

func or[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

func (e Enrollment) mdmPayload(identity string) *MDM {
	m := &MDM{
		Common:                  Common{PayloadIdentifier: e.Identifier + ".mdm", PayloadDisplayName: e.DisplayName},
		IdentityCertificateUUID: identity,
		Topic:                   e.Topic,
		ServerURL:               e.ServerURL,
		CheckInURL:              optional(e.CheckInURL),
		SignMessage:             new(e.SignMessage),
		CheckOutWhenRemoved:     new(true), // the best practices ask for it
		ServerCapabilities:      e.Uses.Capabilities(),
		UseDevelopmentAPNS:      optional(e.UseDevelopmentAPNS),
		AssignedManagedAppleID:  optional(e.AssignedManagedAppleID),
		EnrollmentMode:          optional(e.EnrollmentMode),
		AccessRights:            optional(int64(e.AccessRights)),
	}
	if m.AccessRights == nil && e.EnrollmentMode != MDMEnrollmentModeBYOD {
		m.AccessRights = new(int64(mdm.AllRights))
	}
	return m
}

// optional returns nil for the zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
