package profile_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// Every type of account either takes a password or says that it has none.
func TestReplacePasswordOfEveryAccount(t *testing.T) {
	accounts := 0
	for _, kind := range profile.PayloadTypes() {
		account := profile.New(kind)[0]
		if profile.ClassOf(account) != profile.Account {
			continue
		}
		accounts++
		p := &profile.Profile{Identifier: "a", UUID: uuidE, Payloads: []profile.Payload{&profile.Passcode{}, account}}
		changed, err := profile.ReplaceCredential(p, profile.Credential{Password: mdm.SecretString("fresh & <new>")})
		if kind == profile.TypeGoogleAccount {
			require.ErrorContains(t, err, "has no password")
			continue
		}
		require.NoError(t, err, kind)
		keys, err := profile.Keys(changed.Payloads[1])
		require.NoError(t, err)
		var passwords []string
		for key, value := range keys {
			if value == "fresh & <new>" {
				passwords = append(passwords, key)
			}
		}
		assert.Len(t, passwords, 1, kind)
		assert.Equal(t, p.Identifier, changed.Identifier)
		assert.Equal(t, p.UUID, changed.UUID)
		was := p.PayloadIDs()[1].UUID
		is := changed.PayloadIDs()[1].UUID
		assert.Equal(t, was, is, kind)
		old, err := profile.Keys(account)
		require.NoError(t, err)
		assert.NotContains(t, old, passwords[0], "the old profile is untouched")
	}
	assert.Greater(t, accounts, 10)
}

func TestReplacePasswordOfMail(t *testing.T) {
	replace := func(m profile.Mail, c profile.Credential) *profile.Mail {
		changed, err := profile.ReplaceCredential(&profile.Profile{Identifier: "a", Payloads: []profile.Payload{&m}}, c)
		require.NoError(t, err)
		return changed.Payloads[0].(*profile.Mail)
	}
	old, fresh, other := mdm.SecretString("old"), mdm.SecretString("fresh"), mdm.SecretString("other")

	m := replace(profile.Mail{IncomingPassword: old, OutgoingPassword: old}, profile.Credential{Password: fresh})
	assert.True(t, m.IncomingPassword.Equal(fresh) && m.OutgoingPassword.Equal(fresh), "both were one password")
	m = replace(profile.Mail{IncomingPassword: old, OutgoingPassword: other}, profile.Credential{Password: fresh})
	assert.True(t, m.IncomingPassword.Equal(fresh) && m.OutgoingPassword.Equal(other))
	m = replace(profile.Mail{IncomingPassword: old, OutgoingPasswordSameAsIncomingPassword: new(true)}, profile.Credential{Password: fresh})
	assert.True(t, m.IncomingPassword.Equal(fresh) && m.OutgoingPassword.IsZero() && *m.OutgoingPasswordSameAsIncomingPassword)
	m = replace(profile.Mail{IncomingPassword: old, OutgoingPasswordSameAsIncomingPassword: new(true)}, profile.Credential{OutgoingPassword: other})
	assert.True(t, m.IncomingPassword.Equal(old) && m.OutgoingPassword.Equal(other) && m.OutgoingPasswordSameAsIncomingPassword == nil)
	m = replace(profile.Mail{IncomingPassword: old, OutgoingPassword: old}, profile.Credential{OutgoingPassword: other})
	assert.True(t, m.IncomingPassword.Equal(old) && m.OutgoingPassword.Equal(other))
}

// An account of Exchange keeps what its user typed unless it is told not to.
func TestReplacePasswordOfExchange(t *testing.T) {
	changed, err := profile.ReplaceCredential(&profile.Profile{Identifier: "a", Payloads: []profile.Payload{raw(t, &profile.ExchangeActiveSync{})}},
		profile.Credential{Password: mdm.SecretString("fresh")})
	require.NoError(t, err)
	assert.True(t, *changed.Payloads[0].(*profile.ExchangeActiveSync).OverridePreviousPassword)
}

func TestReplaceIdentity(t *testing.T) {
	parts, err := profile.Split(office())
	require.NoError(t, err)
	work := parts[1]
	old := work.Payloads[0].(*profile.PKCS12)
	fresh := &profile.SCEP{PayloadContent: profile.SCEPContent{URL: "https://ca.example.com"}}

	changed, err := profile.ReplaceCredential(work, profile.Credential{Identity: fresh})
	require.NoError(t, err)
	assert.Equal(t, work.Identifier, changed.Identifier)
	require.Len(t, changed.Payloads, len(work.Payloads))
	identity, account := changed.Payloads[0].(*profile.SCEP), changed.Payloads[3].(*profile.ExchangeActiveSync)
	assert.Equal(t, old.PayloadIdentifier, identity.PayloadIdentifier)
	assert.NotEqual(t, old.PayloadUUID, identity.PayloadUUID)
	assert.Equal(t, identity.PayloadUUID, *account.PayloadCertificateUUID)
	assert.Equal(t, uuidC, account.PayloadUUID)
	assert.Equal(t, "one", string(account.Password.Reveal()), "the password is as it was")
	assert.Nil(t, account.OverridePreviousPassword)
	assert.Empty(t, fresh.PayloadUUID, "the caller's payload is untouched")

	fresh.Common = common("com.example.mine", uuidD)
	changed, err = profile.ReplaceCredential(work, profile.Credential{Identity: fresh, Password: mdm.SecretString("two")})
	require.NoError(t, err)
	assert.Equal(t, fresh.Common, changed.Payloads[0].(*profile.SCEP).Common)
	assert.Equal(t, "two", string(changed.Payloads[3].(*profile.ExchangeActiveSync).Password.Reveal()))

	fresh.PayloadUUID = old.PayloadUUID
	_, err = profile.ReplaceCredential(work, profile.Credential{Identity: fresh})
	require.ErrorContains(t, err, "would keep that")
}

func TestFirstIdentityOfAnAccount(t *testing.T) {
	for _, account := range []profile.Payload{&profile.ExchangeActiveSync{Certificate: []byte{1}, CertificatePassword: mdm.SecretString("x")}, &profile.ExchangeWebServices{}} {
		changed, err := profile.ReplaceCredential(&profile.Profile{Identifier: "a", Payloads: []profile.Payload{account}},
			profile.Credential{Identity: &profile.ACME{Common: common("", uuidA)}})
		require.NoError(t, err)
		assert.Equal(t, common("a.identity", uuidA), changed.Payloads[0].(*profile.ACME).Common)
		keys, err := profile.Keys(changed.Payloads[1])
		require.NoError(t, err)
		assert.Equal(t, uuidA, keys["PayloadCertificateUUID"])
		assert.NotContains(t, keys, "Certificate")
		assert.NotContains(t, keys, "CertificatePassword")
	}
}

func TestReplaceOneOfTwoIdentities(t *testing.T) {
	p := &profile.Profile{Identifier: "a", Payloads: []profile.Payload{
		&profile.PKCS12{Common: common("sign", uuidA)}, &profile.PKCS12{Common: common("encrypt", uuidB)},
		&profile.Mail{SMIMESigningCertificateUUID: new(uuidA), SMIMEEncryptionCertificateUUID: new(uuidB)},
	}}
	fresh := &profile.PKCS12{Common: common("", uuidC)}
	_, err := profile.ReplaceCredential(p, profile.Credential{Identity: fresh})
	require.ErrorContains(t, err, "which one goes")
	changed, err := profile.ReplaceCredential(p, profile.Credential{Identity: fresh, Replaces: uuidB})
	require.NoError(t, err)
	m := changed.Payloads[2].(*profile.Mail)
	assert.Equal(t, []string{uuidA, uuidC}, []string{*m.SMIMESigningCertificateUUID, *m.SMIMEEncryptionCertificateUUID})
	_, err = profile.ReplaceCredential(p, profile.Credential{Identity: fresh, Replaces: uuidD})
	require.ErrorContains(t, err, "names no identity")
}

func TestReplaceCredentialRefuses(t *testing.T) {
	account := func(payloads ...profile.Payload) *profile.Profile {
		return &profile.Profile{Identifier: "a", Payloads: payloads}
	}
	secret := mdm.SecretString("top")
	for want, tt := range map[string]struct {
		p *profile.Profile
		c profile.Credential
	}{
		"exactly one account":      {account(), profile.Credential{Password: secret}},
		"exactly one account; see": {account(&profile.Mail{}, &profile.LDAP{}), profile.Credential{Password: secret}},
		"encrypted":                {&profile.Profile{EncryptedContent: []byte{1}}, profile.Credential{Password: secret}},
		"outgoing password":        {account(&profile.LDAP{}), profile.Credential{OutgoingPassword: secret}},
		"no identity that could":   {account(&profile.LDAP{}), profile.Credential{Identity: &profile.SCEP{}}},
		"must be a *SCEP":          {account(&profile.ExchangeActiveSync{}), profile.Credential{Identity: &profile.Certificate{}}},
	} {
		_, err := profile.ReplaceCredential(tt.p, tt.c)
		require.ErrorContains(t, err, want)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
		assert.NotContains(t, err.Error(), "top")
	}
}
