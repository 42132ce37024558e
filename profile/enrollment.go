package profile

import (
	"crypto/x509"
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

	// Identity is a *SCEP (preferred: the key is made on the device) or a *PKCS12. Required. Its UUID should be fresh
	// for a renewal, so that the device makes a new key; empty is derived from the profile's identifier.
	Identity Payload

	Roots         []*x509.Certificate // anchors of the server's TLS chain and of the identity, where they are private
	Intermediates []*x509.Certificate

	SignMessage bool // for servers behind a proxy that ends TLS; costs about 2 kB in each message
	Uses        Uses

	RemovalDisallowed  bool
	ExpirationDate     time.Time
	UseDevelopmentAPNS bool

	AssignedManagedAppleID string // account-driven enrollment: required
	EnrollmentMode         string // account-driven enrollment: BYOD or ADDE
}

// Uses says which optional parts of the protocol a server answers. ServerCapabilities are derived from it, so that a
// device never asks for what nobody answers.
type Uses struct {
	UserChannels   bool
	BootstrapToken bool
	GetToken       bool
}

// Capabilities returns the values of the key ServerCapabilities.
func (u Uses) Capabilities() []string {
	var list []string
	for _, c := range []struct {
		used bool
		name string
	}{{u.UserChannels, CapabilityUserChannel}, {u.BootstrapToken, CapabilityBootstrapToken}, {u.GetToken, CapabilityToken}} {
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
		p.Payloads = append(p.Payloads, NewCertificate(cert))
	}
	id, identity := e.identity()
	if identity == nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "Identity must be a *SCEP or a *PKCS12")
	}
	p.Payloads = append(p.Payloads, identity, e.mdmPayload(id))
	for _, problem := range ValidateEnrollment(p) {
		return nil, mdm.Errorf(mdm.Malformed, op, "%s", problem)
	}
	return p, nil
}

// identity returns a copy of the identity with its UUID filled in, and that UUID.
func (e Enrollment) identity() (string, Payload) {
	fill := func(c *Common) string {
		if c.Identifier == "" {
			c.Identifier = e.Identifier + ".identity"
		}
		c.UUID = orDerived(c.UUID, c.Identifier)
		return c.UUID
	}
	switch i := e.Identity.(type) {
	case *SCEP:
		identity := *i
		return fill(&identity.Common), &identity
	case *PKCS12:
		identity := *i
		return fill(&identity.Common), &identity
	}
	return "", nil
}

func (e Enrollment) mdmPayload(identity string) *MDM {
	m := &MDM{
		Common:                  Common{Identifier: e.Identifier + ".mdm", DisplayName: e.DisplayName},
		IdentityCertificateUUID: identity,
		Topic:                   e.Topic,
		ServerURL:               e.ServerURL,
		CheckInURL:              e.CheckInURL,
		SignMessage:             e.SignMessage,
		CheckOutWhenRemoved:     true, // the best practices ask for it
		AccessRights:            e.AccessRights,
		ServerCapabilities:      e.Uses.Capabilities(),
		UseDevelopmentAPNS:      e.UseDevelopmentAPNS,
		AssignedManagedAppleID:  e.AssignedManagedAppleID,
		EnrollmentMode:          e.EnrollmentMode,
	}
	if m.AccessRights == 0 && e.EnrollmentMode != "BYOD" {
		m.AccessRights = mdm.AllRights
	}
	return m
}
