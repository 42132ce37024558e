package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
)

// Credential is what an account signs in with from now on. What is empty stays as it is.
type Credential struct {
	Password mdm.Secret
	// OutgoingPassword is that of the outgoing server of a *Mail. Where it is empty, one that was the same as the incoming
	// one changes with it.
	OutgoingPassword mdm.Secret

	// Identity is a *SCEP, an *ACME or a *PKCS12, which takes the place of the one that the account names. Its PayloadUUID
	// must be a new one, so that the device fetches it; empty is random. An empty PayloadIdentifier is the old one's.
	Identity Payload
	// Replaces is the PayloadUUID of the identity that goes, where the account names several, as for signing and for
	// encrypting mail.
	Replaces string
}

// ReplaceCredential returns p, the profile of one account, with another password or identity. The profile keeps its
// identifier and the account its PayloadUUID, so that the device updates the account in place: install it, and no other
// profile is touched. The result shares with p only the bytes of data.
//
// The account is of one of the types in this package that have a password or an identity: all but *GoogleAccount. An
// identity can be given to *ExchangeActiveSync and *ExchangeWebServices, and to a *Mail in place of one that it has. The
// error is a Malformed one.
func ReplaceCredential(p *Profile, c Credential) (*Profile, error) {
	const op = "profile.ReplaceCredential"
	items, err := p.items(op)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(items, func(it item) bool { return it.class == Account })
	if at < 0 || slices.ContainsFunc(items[at+1:], func(it item) bool { return it.class == Account }) {
		return nil, mdm.Errorf(mdm.Malformed, op, "the profile must hold exactly one account; see Split")
	}
	r := replacing{items: items, account: at, credential: c}
	if c.Identity != nil {
		if err := r.identity(p.Identifier); err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
		}
	}
	out := *p
	out.Payloads = nil
	for i, it := range r.items {
		payload := it.kept(r.renamed)
		if i == r.account {
			payload = Typed(payload)
			if err := c.apply(payload, r.assign); err != nil {
				return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
			}
		}
		out.Payloads = append(out.Payloads, payload)
	}
	if _, err := out.content(); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return &out, nil
}

type replacing struct {
	items      []item
	account    int
	credential Credential
	renamed    map[string]string // old identity → new identity
	assign     string            // the UUID of an identity for an account that had none
}

// identity puts the new identity where the old one was, or before the account.
func (r *replacing) identity(profile string) error {
	i, err := newIdentity(r.credential.Identity)
	if err != nil {
		return err
	}
	old, err := r.old()
	if err != nil {
		return err
	}
	if old < 0 {
		i.identifier = orElse(i.identifier, profile+".identity")
		r.items = slices.Insert(r.items, r.account, i)
		r.account++
		r.assign = i.uuid
		return nil
	}
	if strings.EqualFold(i.uuid, r.items[old].uuid) {
		return fmt.Errorf("the new identity has the PayloadUUID of the old one; the device would keep that")
	}
	i.identifier = orElse(i.identifier, r.items[old].identifier)
	r.renamed = map[string]string{strings.ToUpper(r.items[old].uuid): i.uuid}
	r.items[old] = i
	return nil
}

func newIdentity(p Payload) (item, error) {
	keys, err := Keys(p)
	if err != nil {
		return item{}, err
	}
	switch Typed(p).(type) {
	case *SCEP, *ACME, *PKCS12:
	default:
		return item{}, fmt.Errorf("the identity must be a *SCEP, an *ACME or a *PKCS12")
	}
	i := item{payload: p, keys: keys, identifier: text(keys, "PayloadIdentifier"), class: Identity}
	i.uuid = orElse(text(keys, "PayloadUUID"), strings.ToUpper(uuid.NewString()))
	return i, nil
}

// old returns the place of the identity that goes, -1 if the account has none.
func (r *replacing) old() (int, error) {
	var named []int
	wanted := r.credential.Replaces
	for _, i := range r.items[r.account].references(places(r.items)) {
		if r.items[i].class == Identity && (wanted == "" || strings.EqualFold(r.items[i].uuid, wanted)) {
			named = append(named, i)
		}
	}
	switch {
	case len(named) == 1:
		return named[0], nil
	case len(named) > 1:
		return 0, fmt.Errorf("the account names %d identities; Replaces has to say which one goes", len(named))
	case wanted != "":
		return 0, fmt.Errorf("the account names no identity %s of the profile", wanted)
	}
	return -1, nil
}

// apply puts passwords into the account, and the UUID of an identity if it had none.
func (c Credential) apply(account Payload, identity string) error {
	if !c.OutgoingPassword.IsZero() {
		if _, ok := account.(*Mail); !ok {
			return fmt.Errorf("%s has no outgoing password", account.PayloadType())
		}
	}
	if identity != "" && !assignIdentity(account, identity) {
		return fmt.Errorf("%s names no identity that could be replaced", account.PayloadType())
	}
	if c.Password.IsZero() && c.OutgoingPassword.IsZero() {
		return nil
	}
	return c.password(account)
}

func (c Credential) password(account Payload) error {
	var to *mdm.Secret
	switch a := account.(type) {
	case *Mail:
		c.mail(a)
		return nil
	case *ExchangeActiveSync:
		a.OverridePreviousPassword = new(true) // the device would keep the one that its user typed
		to = &a.Password
	case *ExchangeWebServices:
		to = &a.Password
	case *CalDAV:
		to = &a.CalDAVPassword
	case *CardDAV:
		to = &a.CardDAVPassword
	case *LDAP:
		to = &a.LDAPAccountPassword
	case *SubscribedCalendar:
		to = &a.SubCalAccountPassword
	case *JabberAccount:
		to = &a.JabberPassword
	case *AIMAccount:
		to = &a.AIMPassword
	case *MacOSServerAccount:
		to = &a.Password
	default:
		return fmt.Errorf("%s has no password", account.PayloadType())
	}
	*to = c.Password
	return nil
}

func (c Credential) mail(a *Mail) {
	if !c.OutgoingPassword.IsZero() {
		a.OutgoingPassword, a.OutgoingPasswordSameAsIncomingPassword = c.OutgoingPassword, nil
	} else if !a.OutgoingPassword.IsZero() && a.OutgoingPassword.Equal(a.IncomingPassword) {
		a.OutgoingPassword = c.Password
	}
	if !c.Password.IsZero() {
		a.IncomingPassword = c.Password
	}
}

// assignIdentity gives an account an identity in the key that its type has for that.
func assignIdentity(account Payload, identity string) bool {
	switch a := account.(type) {
	case *ExchangeActiveSync:
		a.PayloadCertificateUUID = &identity
		a.Certificate, a.CertificateName, a.CertificatePassword = nil, nil, mdm.Secret{} // not used any more
	case *ExchangeWebServices:
		a.PayloadCertificateUUID = &identity
	default:
		return false
	}
	return true
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
