package enroll_test

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

func stores(t testing.TB) storage.Stores {
	t.Helper()
	db := memory.New()
	return db.Stores()
}

func template() profile.Enrollment {
	return profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.test", ServerURL: "https://mdm.example.com/mdm"}
}

func scepRecipe(store scep.Store) *enroll.Recipe {
	return &enroll.Recipe{Enrollment: template(),
		Identities: enroll.SCEPIdentities{Store: store, Content: profile.SCEPContent{URL: "https://mdm.example.com/scep"}}}
}

func pkcs12Recipe(store scep.Store) *enroll.Recipe {
	return &enroll.Recipe{Enrollment: template(), Identities: enroll.PKCS12Identities{CA: deviceCA(), Store: store}}
}

// identityOf returns the identity of a profile and checks that the MDM payload names it.
func identityOf[T profile.Payload](t testing.TB, p *profile.Profile) T {
	t.Helper()
	require.Empty(t, profile.ValidateEnrollment(p))
	for _, payload := range p.Payloads {
		if identity, ok := payload.(T); ok {
			return identity
		}
	}
	require.Fail(t, "no such identity")
	panic("not reached")
}

func TestSCEPIdentities(t *testing.T) {
	s := stores(t)
	recipe := scepRecipe(s.SCEP)
	ca := deviceCA().Certificate
	recipe.Identities = enroll.SCEPIdentities{Store: s.SCEP, Pin: ca, Content: profile.SCEPContent{URL: "http://mdm.example.com/scep", Name: new("main")},
		Subject: func(f enroll.For) [][][]string { return [][][]string{{{"CN", f.DeviceSerial}}} }}
	f := enroll.For{Device: "UDID", DeviceSerial: "C02", Purpose: mdm.PurposeRenew}
	uuids, challenges := map[string]bool{}, map[string]bool{}
	for range 3 {
		p, err := recipe.Profile(t.Context(), f)
		require.NoError(t, err)
		identity := identityOf[*profile.SCEP](t, p)
		c := identity.PayloadContent
		assert.Equal(t, [][][]string{{{"CN", "C02"}}}, c.Subject)
		assert.Equal(t, "main", *c.Name)
		sum := sha1.Sum(ca.Raw)
		assert.Equal(t, sum[:], c.CAFingerprint)
		assert.Equal(t, profile.SCEPKeysize2048, *c.Keysize)
		assert.Equal(t, "RSA", *c.KeyType)
		assert.False(t, *c.KeyIsExtractable)
		uuids[identity.PayloadUUID], challenges[string(c.Challenge.Reveal())] = true, true
	}
	assert.Len(t, uuids, 3, "a device that knows the UUID keeps its old key")
	assert.Len(t, challenges, 3)

	_, err := recipe.Profile(t.Context(), enroll.For{Purpose: mdm.PurposeRenew})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "a renewal of nobody")
	_, err = recipe.Profile(t.Context(), enroll.For{Purpose: mdm.PurposeProfile, Device: "UDID"})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	require.Error(t, err)
}

// The challenge of a profile is bound to what the profile was made for, is good once and ends.
func TestChallengeOfAProfile(t *testing.T) {
	s := stores(t)
	server := httptest.NewServer(&scep.Server{CA: deviceCA(), Store: s.SCEP, Tenant: nil})
	defer server.Close()
	client := scep.Client{URL: server.URL}
	challenge := func(identities enroll.Identities, f enroll.For) mdm.Secret {
		payload, err := identities.Identity(t.Context(), f)
		require.NoError(t, err)
		return payload.(*profile.SCEP).PayloadContent.Challenge
	}
	identities := enroll.SCEPIdentities{Store: s.SCEP}
	c := challenge(identities, enroll.For{Device: "UDID", DeviceSerial: "C02", Purpose: mdm.PurposeRenew})
	cert, err := client.Enroll(t.Context(), rsaKey(t, 2048), c)
	require.NoError(t, err)
	record, err := s.SCEP.Certificate(t.Context(), "", mdm.FingerprintOf(cert))
	require.NoError(t, err)
	assert.Equal(t, "UDID", record.Device)
	assert.Equal(t, "C02", record.DeviceSerial)
	assert.Equal(t, mdm.PurposeRenew, record.Purpose)
	_, err = client.Enroll(t.Context(), rsaKey(t, 2048), c)
	require.ErrorIs(t, err, scep.ErrFailure, "another device with the same profile")

	ago := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(-d) } }
	identities.Clock = ago(2 * time.Hour)
	_, err = client.Enroll(t.Context(), rsaKey(t, 2048), challenge(identities, enroll.For{}))
	require.ErrorIs(t, err, scep.ErrFailure, "ended after an hour")
	identities.Lifetime = 24 * time.Hour
	cert, err = client.Enroll(t.Context(), rsaKey(t, 2048), challenge(identities, enroll.For{}))
	require.NoError(t, err)
	record, err = s.SCEP.Certificate(t.Context(), "", mdm.FingerprintOf(cert))
	require.NoError(t, err)
	assert.Equal(t, mdm.PurposeEnroll, record.Purpose)
	assert.Empty(t, record.Device, "for anybody")
}

func TestPKCS12IdentitiesAreNeverShared(t *testing.T) {
	recipe := pkcs12Recipe(stores(t).SCEP)
	recipe.AllowPlainPKCS12 = true
	seen := map[mdm.Fingerprint]bool{}
	uuids := map[string]bool{}
	for _, f := range []enroll.For{{Device: "A"}, {Device: "B"}, {}, {}, {Device: "A", Purpose: mdm.PurposeRenew}} {
		data, err := recipe.Bytes(t.Context(), f)
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		identity := identityOf[*profile.PKCS12](t, parsed.Profile)
		_, cert, _, err := pkcs12.DecodeChain(identity.PayloadContent, string(identity.Password.Reveal()))
		require.NoError(t, err)
		assert.False(t, seen[mdm.FingerprintOf(cert)])
		seen[mdm.FingerprintOf(cert)], uuids[identity.PayloadUUID] = true, true
		assert.False(t, *identity.KeyIsExtractable)
	}
	assert.Len(t, seen, 5)
	assert.Len(t, uuids, 5)
}

// counted counts the identities that are made.
type counted struct {
	enroll.Identities
	made int
}

func (c *counted) Identity(ctx context.Context, f enroll.For) (profile.Payload, error) {
	c.made++
	return c.Identities.Identity(ctx, f)
}

func TestPKCS12DoesNotTravelInTheOpen(t *testing.T) {
	s := stores(t)
	recipe := pkcs12Recipe(s.SCEP)
	key := rsaKey(t, 2048)
	cert, err := deviceCA().Issue(t.Context(), scep.Request{Key: key.Public()})
	require.NoError(t, err)

	for name, identities := range map[string]enroll.Identities{"value": recipe.Identities, "pointer": &enroll.PKCS12Identities{CA: deviceCA(), Store: s.SCEP},
		"wrapped": &counted{Identities: recipe.Identities}} {
		recipe.Identities = identities
		_, err = recipe.Bytes(t.Context(), enroll.For{})
		require.Error(t, err, name)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		_, err = recipe.Bytes(t.Context(), enroll.For{Sealed: true})
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "nobody can encrypt it afterwards: %s", name)
		require.Error(t, err, name)
		_, err = recipe.Profile(t.Context(), enroll.For{})
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		require.Error(t, err, name)
	}
	p, err := recipe.Profile(t.Context(), enroll.For{Sealed: true})
	require.NoError(t, err)
	identityOf[*profile.PKCS12](t, p)

	data, err := recipe.Bytes(t.Context(), enroll.For{EncryptTo: cert})
	require.NoError(t, err)
	parsed, err := profile.Parse(data)
	require.NoError(t, err)
	assert.Empty(t, parsed.Profile.Payloads, "nobody else can read it")
	open, err := parsed.Profile.Decrypt(cert, key)
	require.NoError(t, err)
	identityOf[*profile.PKCS12](t, open)

	recipe.AllowPlainPKCS12 = true
	_, err = recipe.Bytes(t.Context(), enroll.For{})
	require.NoError(t, err)
}

func TestRecipeIsSignedOutside(t *testing.T) {
	recipe := scepRecipe(stores(t).SCEP)
	signer := root(t, "Signer")
	recipe.Signer = profile.CMSSigner{Certificate: signer.cert, Key: signer.key}
	key := rsaKey(t, 2048)
	cert, err := deviceCA().Issue(t.Context(), scep.Request{Key: key.Public()})
	require.NoError(t, err)
	for _, f := range []enroll.For{{}, {EncryptTo: cert}} {
		data, err := recipe.Bytes(t.Context(), f)
		require.NoError(t, err)
		parsed, err := profile.Parse(data)
		require.NoError(t, err)
		assert.True(t, parsed.Signer.Equal(signer.cert))
		assert.Equal(t, f.EncryptTo != nil, len(parsed.Profile.EncryptedContent) > 0)
	}
}

func TestRecipeIsTailored(t *testing.T) {
	s := stores(t)
	made := &counted{Identities: enroll.SCEPIdentities{Store: s.SCEP, Content: profile.SCEPContent{URL: "https://mdm.example.com/scep"}}}
	recipe := &enroll.Recipe{Enrollment: template(), Identities: made}
	recipe.Enrollment.EnrollmentMode = profile.MDMEnrollmentModeBYOD
	recipe.Enrollment.Roots = make([]*x509.Certificate, 0, 4)
	require.Error(t, recipe.Validate(), "somebody has to say whose account it is")
	stranger := errors.New("a stranger")
	recipe.Tailor = func(_ context.Context, f enroll.For, e *profile.Enrollment) error {
		if f.User == "" {
			return stranger
		}
		e.AssignedManagedAppleID = f.User
		e.Roots = append(e.Roots, root(t, f.User).cert)
		return nil
	}
	require.NoError(t, recipe.Validate())
	_, err := recipe.Bytes(t.Context(), enroll.For{})
	require.ErrorIs(t, err, stranger)
	assert.Zero(t, made.made, "who is refused gets no identity")
	for _, user := range []string{"a@example.com", "b@example.com"} {
		p, err := recipe.Profile(t.Context(), enroll.For{User: user})
		require.NoError(t, err)
		require.Len(t, p.Payloads, 3)
		assert.Equal(t, user, *p.Payloads[2].(*profile.MDM).AssignedManagedAppleID)
	}
	assert.Nil(t, recipe.Enrollment.Roots[:1][0], "the recipe stays as it is")
}

func TestRecipeOfAnEnrollment(t *testing.T) {
	made := &counted{Identities: enroll.SCEPIdentities{Store: stores(t).SCEP, Content: profile.SCEPContent{URL: "https://mdm.example.com/scep"}}}
	var builder profile.Builder = &enroll.Recipe{Enrollment: template(), Identities: made}
	e := &mdm.Enrollment{ID: mdm.EnrollmentID{Tenant: "red", Device: "UDID", User: "anna"}, Device: mdm.Device{SerialNumber: "C02"}}
	assert.Equal(t, enroll.For{Tenant: "red", Device: "UDID", DeviceSerial: "C02", Purpose: mdm.PurposeRenew}, enroll.Renewal(e))
	p, err := builder.Build(t.Context(), e)
	require.NoError(t, err)
	assert.Equal(t, "com.example.mdm", p.Identifier)
	assert.Equal(t, 1, made.made)
}

func TestRecipeValidate(t *testing.T) {
	require.NoError(t, scepRecipe(nil).Validate())
	for name, change := range map[string]func(*enroll.Recipe){
		"no identities": func(r *enroll.Recipe) { r.Identities = nil },
		"http":          func(r *enroll.Recipe) { r.Enrollment.ServerURL = "http://mdm.example.com" },
		"no topic":      func(r *enroll.Recipe) { r.Enrollment.Topic = "" },
	} {
		recipe := scepRecipe(nil)
		change(recipe)
		err := recipe.Validate()
		require.Error(t, err, name)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), name)
		_, err = recipe.Bytes(t.Context(), enroll.For{Device: "x", Purpose: 9})
		require.Error(t, err, name)
	}
	recipe := scepRecipe(nil)
	recipe.Identities = nil
	_, err := recipe.Bytes(t.Context(), enroll.For{})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}
