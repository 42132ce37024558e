package enroll_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/profile"
)

var secret = mdm.SecretString("secret")

func TestEnds(t *testing.T) {
	top, pin := root(t, "Root"), root(t, "Pinned")
	between := top.intermediate(t, "Between")
	recipe := pkcs12Recipe(stores(t).SCEP)
	recipe.AllowPlainPKCS12 = true
	recipe.Enrollment.Roots, recipe.Enrollment.Intermediates = list(top, pin), list(between)
	recipe.Enrollment.ExpirationDate = march.AddDate(1, 0, 0)
	p, err := recipe.Profile(t.Context(), enroll.For{})
	require.NoError(t, err)
	p.RemovalDate = march.AddDate(2, 0, 0)
	pinned := p.Payloads[1].(*profile.RootCertificate)
	pinned.PayloadUUID = "0a1b2c3d-0000-0000-0000-000000000000"
	p.Payloads[4].(*profile.MDM).ServerURLPinningCertificateUUIDs = []string{strings.ToUpper(pinned.PayloadUUID)}

	ends, err := enroll.Ends(p)
	require.NoError(t, err)
	require.Len(t, ends, 7)
	identity := ends[3]
	assert.Equal(t, enroll.EndIdentity, identity.Kind)
	assert.True(t, identity.NotAfter.After(time.Now()))
	for n, want := range map[int]enroll.End{
		0: {Kind: enroll.EndAnchor, Path: "PayloadContent[0].PayloadContent", Name: "CN=Root", Fingerprint: mdm.FingerprintOf(top.cert), NotBefore: top.cert.NotBefore, NotAfter: top.cert.NotAfter},
		1: {Kind: enroll.EndPin, Path: "PayloadContent[1].PayloadContent", Name: "CN=Pinned", Fingerprint: mdm.FingerprintOf(pin.cert), NotBefore: pin.cert.NotBefore, NotAfter: pin.cert.NotAfter},
		2: {Kind: enroll.EndIntermediate, Path: "PayloadContent[2].PayloadContent", Name: "CN=Between", Fingerprint: mdm.FingerprintOf(between.cert), NotBefore: between.cert.NotBefore, NotAfter: between.cert.NotAfter},
		4: {Kind: enroll.EndIssuer, Path: "PayloadContent[3].PayloadContent", Name: "CN=Devices", Fingerprint: mdm.FingerprintOf(deviceCA().Certificate),
			NotBefore: deviceCA().Certificate.NotBefore, NotAfter: deviceCA().Certificate.NotAfter},
		5: {Kind: enroll.EndExpiration, Path: "PayloadExpirationDate", Name: "PayloadExpirationDate", NotAfter: march.AddDate(1, 0, 0)},
		6: {Kind: enroll.EndRemoval, Path: "RemovalDate", Name: "RemovalDate", NotAfter: march.AddDate(2, 0, 0)},
	} {
		assert.Equal(t, want, ends[n])
	}

	p.Payloads[3].(*profile.PKCS12).Password = mdm.Secret{}
	ends, err = enroll.Ends(p)
	require.NoError(t, err, "the user is asked for it")
	assert.Len(t, ends, 5)
	p.Payloads[3].(*profile.PKCS12).Password = secret
	p.Payloads[0] = &profile.RootCertificate{PayloadContent: []byte("x")}
	ends, err = enroll.Ends(p)
	require.ErrorContains(t, err, "PayloadContent[0]")
	require.ErrorContains(t, err, "PayloadContent[3]")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	assert.Len(t, ends, 4, "what can be read is told")
	_, err = enroll.Ends(&profile.Profile{EncryptedContent: []byte{1}})
	require.ErrorContains(t, err, "encrypted")
}

// TestEndsOfPayloadsAsValues: payloads may be values, of vendors' types, or missing.
func TestEndsOfPayloadsAsValues(t *testing.T) {
	top, pin := root(t, "Root"), root(t, "Pinned")
	p := &profile.Profile{Identifier: "com.example", Payloads: []profile.Payload{
		(*profile.RootCertificate)(nil),
		profile.RootCertificate{PayloadContent: top.cert.Raw},
		&profile.Raw{Type: profile.TypeRootCertificate, Values: map[string]any{"PayloadContent": pin.cert.Raw, "PayloadUUID": "a-b"}},
		profile.MDM{ServerURLPinningCertificateUUIDs: []string{"A-B"}},
		profile.PKCS12{PayloadContent: []byte("x"), Password: secret},
		(*profile.PKCS12)(nil), nil,
	}}
	ends, err := enroll.Ends(p)
	require.ErrorContains(t, err, "PayloadContent[4]: the PKCS#12 file cannot be read")
	require.Len(t, ends, 2)
	assert.Equal(t, []enroll.EndKind{enroll.EndAnchor, enroll.EndPin}, []enroll.EndKind{ends[0].Kind, ends[1].Kind})
	assert.Equal(t, list(top, pin), enroll.Certificates(p))
	assert.Equal(t, list(pin), enroll.Pins(p))
}

func TestEndsOfARecipe(t *testing.T) {
	top, signer := root(t, "Root"), root(t, "Signer")
	made := &counted{}
	recipe := &enroll.Recipe{Enrollment: template(), Identities: made}
	recipe.Enrollment.Roots = list(top)
	cms := profile.CMSSigner{Certificate: signer.cert, Key: signer.key, Chain: list(top)}
	for _, s := range []profile.Signer{cms, &cms} {
		recipe.Signer = s
		ends, err := recipe.Ends()
		require.NoError(t, err)
		require.Len(t, ends, 3)
		assert.Equal(t, []enroll.EndKind{enroll.EndAnchor, enroll.EndSigner, enroll.EndSigner}, []enroll.EndKind{ends[0].Kind, ends[1].Kind, ends[2].Kind})
	}
	assert.Zero(t, made.made, "the calendar makes no identities")

	calendar := &expiry.Calendar{Sources: []expiry.Source{expiry.Dates(expiry.EnrollmentProfile, recipe.Dates)}}
	items, err := calendar.Items(t.Context())
	require.NoError(t, err)
	require.Len(t, items, 3, "the same certificate as a root and in the signer's chain are two things to do")
	for _, i := range items {
		assert.Contains(t, i.Action, "replace the MDM profile on every device")
		assert.Contains(t, i.Name, " of com.example.mdm")
	}
	recipe.Enrollment.Topic = ""
	_, err = calendar.Items(t.Context())
	require.Error(t, err)
}

func TestDatesHaveNamesOfTheirOwn(t *testing.T) {
	name := strings.Repeat("é", 200)
	a, b := enroll.CertificateEnd(enroll.EndAnchor, root(t, name).cert), enroll.CertificateEnd(enroll.EndAnchor, root(t, name).cert)
	dates := enroll.Dates(strings.Repeat("x", 300), a, b, enroll.End{Kind: enroll.EndRemoval, Name: "RemovalDate", NotAfter: march})
	require.Len(t, dates, 3)
	for name := range dates {
		assert.LessOrEqual(t, len(name), expiry.MaxName)
		assert.Equal(t, strings.ToValidUTF8(name, "?"), name)
	}
}

func TestRenewAt(t *testing.T) {
	const day = 24 * time.Hour
	at := func(days int) time.Time { return march.Add(time.Duration(days) * day) }
	cert := func(kind enroll.EndKind, from, to int) enroll.End {
		return enroll.End{Kind: kind, NotBefore: at(from), NotAfter: at(to)}
	}
	year := enroll.IdentityEnd(mdm.Certificate{NotBefore: at(0), NotAfter: at(360)})
	assert.Equal(t, enroll.EndIdentity, year.Kind)
	for name, c := range map[string]struct {
		ends          []enroll.End
		due, deadline int
		what, first   enroll.EndKind
	}{
		"a third of the identity is left":    {[]enroll.End{year}, 240, 360, enroll.EndIdentity, enroll.EndIdentity},
		"a root of ten years does not count": {[]enroll.End{year, cert(enroll.EndAnchor, -1000, 2650)}, 240, 360, enroll.EndIdentity, enroll.EndIdentity},
		"a root that ends before":            {[]enroll.End{year, cert(enroll.EndAnchor, -3000, 200)}, 170, 200, enroll.EndAnchor, enroll.EndAnchor},
		"a root that ends between":           {[]enroll.End{year, cert(enroll.EndPin, -3000, 300)}, 240, 300, enroll.EndIdentity, enroll.EndPin},
		"thirty days are more than a third":  {[]enroll.End{cert(enroll.EndIdentity, 0, 80)}, 50, 80, enroll.EndIdentity, enroll.EndIdentity},
		"a short one is not due at once":     {[]enroll.End{cert(enroll.EndIdentity, 0, 20)}, 10, 20, enroll.EndIdentity, enroll.EndIdentity},
		"a short root neither":               {[]enroll.End{cert(enroll.EndAnchor, 0, 40)}, 20, 40, enroll.EndAnchor, enroll.EndAnchor},
		"a date":                             {[]enroll.End{year, {Kind: enroll.EndRemoval, NotAfter: at(100)}}, 70, 100, enroll.EndRemoval, enroll.EndRemoval},
		"the signer":                         {[]enroll.End{year, cert(enroll.EndSigner, -100, 260)}, 230, 260, enroll.EndSigner, enroll.EndSigner},
		"a certificate that was never valid": {[]enroll.End{cert(enroll.EndIdentity, 10, 5)}, 5, 5, enroll.EndIdentity, enroll.EndIdentity},
		"what does not end is not looked at": {[]enroll.End{{Kind: enroll.EndAnchor}, year}, 240, 360, enroll.EndIdentity, enroll.EndIdentity},
		"those above the identity":           {[]enroll.End{year, cert(enroll.EndIssuer, -3000, 250)}, 220, 250, enroll.EndIssuer, enroll.EndIssuer},
	} {
		plan, ok := enroll.RenewAt(c.ends)
		require.True(t, ok, name)
		assert.Equal(t, at(c.due), plan.Due, name)
		assert.Equal(t, at(c.deadline), plan.Deadline, name)
		assert.Equal(t, c.what, plan.What.Kind, name)
		assert.Equal(t, c.first, plan.First.Kind, name)
		assert.False(t, plan.IsDue(plan.Due.Add(-time.Second)), name)
		assert.True(t, plan.IsDue(plan.Due), name)
		assert.False(t, plan.IsLate(plan.Deadline), name)
		assert.True(t, plan.IsLate(plan.Deadline.Add(time.Second)), name)
	}
	_, ok := enroll.RenewAt(nil)
	assert.False(t, ok)
	plan, _ := enroll.RenewAt([]enroll.End{enroll.CertificateEnd(enroll.EndAnchor, &x509.Certificate{Raw: []byte{1}, NotBefore: at(0), NotAfter: at(100)})})
	assert.Contains(t, plan.String(), "due from 2026-05-10 because of anchor ")
}
