package ota_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// brokenLedger fails if err is set.
type brokenLedger struct {
	scep.Store
	err error
}

func (b *brokenLedger) AddChallenge(ctx context.Context, c scep.Challenge) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.AddChallenge(ctx, c)
}

func (b *brokenLedger) Certificate(ctx context.Context, tenant string, fp mdm.Fingerprint) (mdm.Certificate, error) {
	if b.err != nil {
		return mdm.Certificate{}, b.err
	}
	return b.Store.Certificate(ctx, tenant, fp)
}

// hookErrors are what hooks may return, and what a device is answered: never 401, and never that it was its fault.
func hookErrors() map[error]int {
	return map[error]int{
		mdm.Errorf(mdm.Forbidden, "test", "no"):      http.StatusForbidden,
		mdm.Errorf(mdm.Unmanaged, "test", "no"):      http.StatusForbidden,
		mdm.Errorf(mdm.NotFound, "test", "no"):       http.StatusForbidden,
		mdm.Errorf(mdm.UserDeclined, "test", "no"):   http.StatusForbidden,
		mdm.Errorf(mdm.Unavailable, "test", "later"): http.StatusServiceUnavailable,
		mdm.Errorf(mdm.Malformed, "test", "bad"):     http.StatusInternalServerError,
		mdm.Errorf(mdm.TooLarge, "test", "large"):    http.StatusInternalServerError,
		errors.New("secret details"):                 http.StatusInternalServerError,
	}
}

func TestHookErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p, fresh := w.identified("S1"), w.begun("S2")
	for err, want := range hookErrors() {
		service := *w.service
		w.service.Admit = func(context.Context, enroll.Session) error { return err }
		w.refuses(map[string]hostile{
			"admit, step 2: " + err.Error(): {fresh.url, fresh.message(nil, fresh.builtIn), want},
			"admit, step 3: " + err.Error(): {p.url, p.message(nil, p.identity), want},
		})
		w.service = &service
		final := service.Final
		service.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return nil, err }
		w.refuses(map[string]hostile{"final: " + err.Error(): {p.url, p.message(nil, p.identity), want}})
		service.Final = final
	}
	signer := w.service.Signer
	w.service.Signer = failingSigner{errors.New("no HSM")}
	w.refuses(map[string]hostile{
		"signer, step 2": {fresh.url, fresh.message(nil, fresh.builtIn), 500},
		"signer, step 3": {p.url, p.message(nil, p.identity), 500},
	})
	w.service.Signer = signer
	for name, bad := range map[string]*profile.Profile{
		"no profile": nil, "no identifier": {}, "a payload of nothing": {Identifier: "x", Payloads: []profile.Payload{nil}},
	} {
		w.service.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return bad, nil }
		w.refuses(map[string]hostile{name: {p.url, p.message(nil, p.identity), 500}})
	}
	w.service.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return webClip(), nil }
	assert.Equal(t, http.StatusOK, p.step3().Code)
}

// Admit and Final see the session as it is going to be.
func TestHooksSee(t *testing.T) {
	t.Parallel()
	var admitted, finals []enroll.Session
	w := newWorld(t, func(s *ota.Service) {
		s.Admit = func(_ context.Context, session enroll.Session) error {
			admitted = append(admitted, session)
			return nil
		}
		s.Final = func(_ context.Context, session enroll.Session) (*profile.Profile, error) {
			finals = append(finals, session)
			return webClip(), nil
		}
	})
	p := w.identified("S1")
	require.Len(t, admitted, 1)
	assert.Equal(t, p.session(), admitted[0])
	require.Equal(t, http.StatusOK, p.step3().Code)
	require.Equal(t, http.StatusOK, p.step3().Code)
	require.Len(t, admitted, 3)
	require.Len(t, finals, 2)
	assert.Equal(t, admitted[1:], finals)
	assert.Equal(t, mdm.FingerprintOf(p.builtIn.Leaf), finals[0].BuiltIn)
	assert.Zero(t, finals[0].DeliveredAt)
	assert.False(t, finals[1].DeliveredAt.IsZero(), "there was one before")
}

func TestLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	w := newWorld(t, func(s *ota.Service) { s.Logger = slog.New(slog.NewTextHandler(&text, nil)) })
	p := w.begun("S1")
	p.getIdentity(keys()[0])
	require.Equal(t, http.StatusOK, p.step3().Code)
	require.Equal(t, http.StatusForbidden, w.post(p.url, p.message(map[string]any{"CHALLENGE": "guessed-wrong"}, p.builtIn)).Code)
	require.Equal(t, http.StatusBadRequest, w.post(p.url, []byte("x")).Code)
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	require.Len(t, lines, 5)
	for _, line := range lines {
		assert.Contains(t, line, "session="+p.session().ID)
	}
	assert.Contains(t, lines[0], `level=INFO msg="ota start"`)
	assert.Contains(t, lines[0], "user=ada state=open")
	assert.Contains(t, lines[1], "state=identified udid=UDID-S1 http=200")
	assert.Contains(t, lines[2], "state=delivered udid=UDID-S1 http=200")
	assert.Contains(t, lines[3], "level=WARN")
	assert.Contains(t, lines[3], "http=403")
	assert.Contains(t, lines[4], "http=400")
	assert.NotContains(t, text.String(), p.challenge)
	assert.NotContains(t, text.String(), "guessed-wrong")
}

// A certificate of ours that is refused is nobody's to let in.
func TestValidatorRefuses(t *testing.T) {
	t.Parallel()
	var outage error
	w := newWorld(t, func(s *ota.Service) {
		revoked := func(context.Context, mdm.Fingerprint) (bool, error) { return true, outage }
		s.Validator = identity.All(s.Validator, identity.NotRevoked(revoked))
		s.Stranger = func(context.Context, *x509.Certificate) error {
			t.Error("asked about a certificate of ours")
			return nil
		}
	})
	p := w.identified("S1")
	w.refuses(map[string]hostile{"revoked": {p.url, p.message(nil, p.identity), 403}})
	outage = errors.New("no CRL")
	w.refuses(map[string]hostile{"not known": {p.url, p.message(nil, p.identity), 503}})
}
