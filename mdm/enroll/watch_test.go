package enroll_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/storage/memory"
)

var _ checkin.TokenSource = (*enroll.WatchPairing)(nil)

func TestWatchPairing(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sessions := memory.New().Stores().Sessions
	pairing := func() *enroll.WatchPairing { // each is another replica
		return &enroll.WatchPairing{Key: mdm.NewSecret(bytes.Repeat([]byte{7}, 32)), Sessions: sessions, Clock: func() time.Time { return now }}
	}
	phone := mdm.EnrollmentID{Tenant: "red", Device: "PHONE"}
	security, err := pairing().SecurityToken("red", "WATCH")
	require.NoError(t, err)
	parameters := func(changed string, value any) map[string]any {
		p := map[string]any{"SecurityToken": security, "PhoneUDID": "PHONE", "WatchUDID": "WATCH"}
		if changed != "" {
			p[changed] = value
		}
		return p
	}
	for name, c := range map[string]struct {
		id         mdm.EnrollmentID
		parameters map[string]any
		code       mdm.Code
	}{
		"no parameters":          {phone, nil, mdm.Malformed},
		"of another type":        {phone, parameters("WatchUDID", 7), mdm.Malformed},
		"another watch":          {phone, parameters("WatchUDID", "OTHER"), mdm.Forbidden},
		"another phone asks":     {mdm.EnrollmentID{Tenant: "red", Device: "OTHER"}, parameters("", nil), mdm.Forbidden},
		"another phone is named": {phone, parameters("PhoneUDID", "OTHER"), mdm.Forbidden},
		"another tenant":         {mdm.EnrollmentID{Device: "PHONE"}, parameters("", nil), mdm.Forbidden},
		"no UUID":                {phone, parameters("SecurityToken", "x"), mdm.Forbidden},
	} {
		_, err := pairing().Token(t.Context(), c.id, c.parameters)
		assert.Equal(t, c.code, mdm.CodeOf(err), name)
		assert.Error(t, err, name)
	}

	token, err := pairing().Token(t.Context(), phone, parameters("", nil))
	require.NoError(t, err)
	refused := func(name, tenant, watch string, token mdm.Secret) {
		t.Helper()
		got, err := pairing().Redeem(t.Context(), tenant, watch, token)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), name)
		assert.Error(t, err, name)
		assert.Zero(t, got, name)
	}
	changed := bytes.Clone(token.Reveal())
	changed[len(changed)-3] ^= 1
	refused("changed", "red", "WATCH", mdm.NewSecret(changed))
	refused("cut", "red", "WATCH", mdm.NewSecret(token.Reveal()[:20]))
	refused("none", "red", "WATCH", mdm.Secret{})
	refused("of another watch", "red", "OTHER", token)
	refused("of another tenant", "", "WATCH", token)
	foreign := &enroll.WatchPairing{Key: mdm.NewSecret(bytes.Repeat([]byte{8}, 32)), Sessions: sessions}
	_, err = foreign.Redeem(t.Context(), "red", "WATCH", token)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "of another server")

	for range 2 { // its answer was lost
		got, err := pairing().Redeem(t.Context(), "red", "WATCH", token)
		require.NoError(t, err)
		assert.Equal(t, phone, got)
		now = now.Add(time.Minute)
	}
	now = now.Add(time.Minute)
	refused("used", "red", "WATCH", token)

	token, err = pairing().Token(t.Context(), phone, parameters("", nil))
	require.NoError(t, err)
	now = now.Add(enroll.DefaultWatchLifetime)
	refused("too late", "red", "WATCH", token)

	_, err = (&enroll.WatchPairing{Key: mdm.SecretString("short"), Sessions: sessions}).SecurityToken("", "WATCH")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
}
