package ota_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
)

const topic = "com.apple.mgmt.External.test"

// withMDM adds an MDM server whose enrollment profile is the last one. It expires after half an hour.
func withMDM(t *testing.T, change func(*ota.Service)) *world {
	t.Helper()
	w := newWorld(t, func(s *ota.Service) {
		s.Lifetime = time.Minute
		if change != nil {
			change(s)
		}
	})
	h, err := server.New(server.Config{Stores: w.stores, Extractor: identity.TLS(), Validator: w.service.Validator, Clock: w.now})
	require.NoError(t, err)
	w.mux.Handle("/mdm", h)
	w.service.Final = func(ctx context.Context, session enroll.Session) (*profile.Profile, error) {
		w.finals.Add(1)
		return w.enrollment(ctx, session)
	}
	return w
}

// enrollment is a new enrollment, or the renewal of one that is alive.
func (w *world) enrollment(ctx context.Context, session enroll.Session) (*profile.Profile, error) {
	id := mdm.EnrollmentID{Tenant: session.Tenant, Device: session.Device["UDID"]}
	purpose := mdm.PurposeEnroll
	if e, err := w.stores.Roster.Enrollment(ctx, id); err == nil && e.State == mdm.Enrolled {
		purpose = mdm.PurposeRenew
	}
	challenge, err := scep.NewChallenge(ctx, w.stores.SCEP, scep.Challenge{Tenant: id.Tenant, Purpose: purpose, Device: id.Device,
		DeviceSerial: session.Device["SERIAL"], ExpiresAt: w.now().Add(time.Hour)})
	if err != nil {
		return nil, err
	}
	return profile.Enrollment{Identifier: "com.example.mdm", Topic: topic, ServerURL: w.https.URL + "/mdm",
		ExpirationDate: w.now().Add(30 * time.Minute),
		Identity:       &profile.SCEP{PayloadContent: profile.SCEPContent{URL: w.https.URL + "/scep", Challenge: challenge}}}.Profile()
}

func (w *world) device(cfg mdmtest.Config) *mdmtest.Device {
	cfg.RootCAs, cfg.Clock = w.roots, w.now
	return mdmtest.NewDevice(cfg)
}

func (w *world) enrollmentOf(d *mdmtest.Device) *mdm.Enrollment {
	w.t.Helper()
	e, err := w.stores.Roster.Enrollment(w.t.Context(), mdm.EnrollmentID{Device: d.ID()})
	require.NoError(w.t, err)
	return e
}

// does sends a command and lets the device answer it.
func (w *world) does(d *mdmtest.Device, c command.Command) command.State {
	w.t.Helper()
	receipt, err := w.stores.Command.Enqueue(w.t.Context(), command.Order{Command: c, To: mdm.IDs(mdm.EnrollmentID{Device: d.ID()})})
	require.NoError(w.t, err)
	require.NoError(w.t, d.Poll(w.t.Context()))
	for e, err := range w.stores.Command.Entries(w.t.Context(), command.Query{From: mdm.EnrollmentID{Device: d.ID()}, UUID: receipt.UUID}) {
		require.NoError(w.t, err)
		return e.State
	}
	return 0
}

func TestLoop(t *testing.T) {
	t.Parallel()
	for name, digest := range map[string]crypto.Hash{"SHA-256": 0, "SHA-1": crypto.SHA1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := withMDM(t, nil)
			d := w.device(mdmtest.Config{BuiltIn: appleCA(), Digest: digest})
			require.NoError(t, d.EnrollOverTheAir(t.Context(), w.https.URL+"/start?user=ada"))
			require.True(t, d.Managed())
			assert.Equal(t, mdm.Enrolled, w.enrollmentOf(d).State)
			assert.Equal(t, command.Acknowledged, w.does(d, command.SecurityInfo{}))
			first := d.Certificate()
			assert.False(t, first.Equal(d.DeliveryIdentity().Leaf), "its identity in MDM is another one")

			require.NoError(t, d.RepeatOverTheAir(t.Context()), "devices are reported to do it twice")
			assert.Equal(t, mdm.Generation(1), w.enrollmentOf(d).Generation, "a renewal")

			w.wait(20 * time.Minute)
			var refused *mdmtest.StatusError
			require.ErrorAs(t, d.UpdateOverTheAir(t.Context()), &refused, "the profile has not expired")
			assert.Equal(t, http.StatusForbidden, refused.Status)
			w.wait(10 * time.Minute)
			before := d.Certificate()
			require.NoError(t, d.UpdateOverTheAir(t.Context()))
			assert.False(t, before.Equal(d.Certificate()))
			assert.Equal(t, mdm.Generation(1), w.enrollmentOf(d).Generation)
			assert.Equal(t, command.Acknowledged, w.does(d, command.SecurityInfo{}))
			assert.EqualValues(t, 3, w.finals.Load())
			for _, row := range w.sessions.all() {
				assert.Equal(t, enroll.SessionDelivered, row.State)
				assert.Equal(t, "ada", row.User)
				assert.Equal(t, map[string]string{"UDID": d.ID(), "SERIAL": d.SerialNumber(), "PRODUCT": "iPhone15,2", "VERSION": "22C152"}, row.Device)
			}
		})
	}
}

func TestLoopUpdateWithAnExpiredIdentity(t *testing.T) {
	t.Parallel()
	w := withMDM(t, nil)
	w.ca.Lifetime = 10 * time.Minute
	d := w.device(mdmtest.Config{BuiltIn: appleCA()})
	require.NoError(t, d.EnrollOverTheAir(t.Context(), w.https.URL+"/start"))
	before := d.DeliveryIdentity().Leaf
	w.wait(30 * time.Minute)
	w.ca.Lifetime = time.Hour
	w.service.Final = func(context.Context, enroll.Session) (*profile.Profile, error) { return webClip(), nil }
	require.NoError(t, d.UpdateOverTheAir(t.Context()), "by its built-in certificate")
	assert.False(t, before.Equal(d.DeliveryIdentity().Leaf))
	assert.Equal(t, []string{"com.example.last"}, d.Profiles(), "a last profile without MDM is installed, too")
	d.Wipe()
	assert.ErrorIs(t, d.UpdateOverTheAir(t.Context()), mdmtest.ErrNoService)
	assert.ErrorIs(t, d.RepeatOverTheAir(t.Context()), mdmtest.ErrNoService)
}

func TestLoopRedirected(t *testing.T) {
	t.Parallel()
	w := withMDM(t, nil)
	w.service.Restart = w.https.URL + "/start?user=again"
	d := w.device(mdmtest.Config{BuiltIn: appleCA()})
	require.NoError(t, d.EnrollOverTheAir(t.Context(), w.https.URL+"/start?user=ada"))
	w.wait(5 * time.Minute)
	require.NoError(t, d.UpdateOverTheAir(t.Context()))
	require.NoError(t, d.RepeatOverTheAir(t.Context()))
	w.wait(5 * time.Minute)
	require.NoError(t, d.RepeatOverTheAir(t.Context()))
	users := map[string]int{}
	for _, row := range w.sessions.all() {
		users[row.User]++
	}
	assert.Equal(t, map[string]int{"ada": 1, "again": 2}, users)
	assert.Equal(t, command.Acknowledged, w.does(d, command.SecurityInfo{}))
}

func TestLoopVirtualMachine(t *testing.T) {
	t.Parallel()
	w := withMDM(t, nil)
	vm := w.device(mdmtest.Config{})
	var refused *mdmtest.StatusError
	require.ErrorAs(t, vm.EnrollOverTheAir(t.Context(), w.https.URL+"/start"), &refused)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.False(t, vm.Managed())
	w.service.Stranger = allow
	require.NoError(t, vm.EnrollOverTheAir(t.Context(), w.https.URL+"/start"))
	assert.True(t, vm.Managed())
}

// Later profiles may be encrypted to the identity of MDM.
func TestLoopEncryptedCommand(t *testing.T) {
	t.Parallel()
	w := withMDM(t, nil)
	d := w.device(mdmtest.Config{BuiltIn: appleCA()})
	require.NoError(t, d.EnrollOverTheAir(t.Context(), w.https.URL+"/start"))
	other := w.device(mdmtest.Config{BuiltIn: appleCA()})
	require.NoError(t, other.EnrollOverTheAir(t.Context(), w.https.URL+"/start"))
	sealed, err := webClip().Encrypt(d.Certificate())
	require.NoError(t, err)
	payload, err := sealed.Encode()
	require.NoError(t, err)
	assert.Equal(t, command.Acknowledged, w.does(d, command.InstallProfile{Payload: payload}))
	assert.Equal(t, []string{"com.example.last"}, d.Profiles())
	assert.Equal(t, command.Failed, w.does(other, command.InstallProfile{Payload: payload}), "it is not for this one")
	assert.Empty(t, other.Profiles())
}

// An identity for the delivery of profiles is none for MDM.
func TestDeliveryIdentityDoesNotEnroll(t *testing.T) {
	t.Parallel()
	w := withMDM(t, nil)
	d := w.device(mdmtest.Config{BuiltIn: appleCA()})
	require.NoError(t, d.EnrollOverTheAir(t.Context(), w.https.URL+"/start"))
	body, err := plistx.Marshal(map[string]any{"MessageType": "Authenticate", "UDID": "ANOTHER", "Topic": topic})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.https.URL+"/mdm", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-apple-aspen-mdm-checkin")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots,
		Certificates: []tls.Certificate{d.DeliveryIdentity()}}}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
}
