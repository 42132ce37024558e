package mdmtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

const topic = "com.apple.mgmt.External.test"

// deviceCA is shared, because its key takes time to make.
var deviceCA = sync.OnceValue(func() *scep.LocalCA {
	ca, err := scep.NewLocalCA("test devices")
	if err != nil {
		panic(err)
	}
	return ca
})

// world is a server with everything around it, over real HTTPS.
type world struct {
	t      *testing.T
	ca     *scep.LocalCA
	stores storage.Stores
	mdm    *server.Server
	apns   *mdmtest.APNs
	https  *httptest.Server
	roots  *x509.CertPool
	sign   bool // SignMessage in enrollment profiles
	pkcs12 bool // identities as PKCS#12
}

func newWorld(t *testing.T, change func(*server.Config)) *world {
	t.Helper()
	w := &world{t: t, stores: memory.New().Stores(), ca: deviceCA()}
	w.apns = mdmtest.NewAPNs()
	t.Cleanup(w.apns.Close)
	cert, err := mdmtest.NewPushCertificate(topic)
	require.NoError(t, err)
	require.NoError(t, w.stores.PushCertificates.SavePushCertificate(t.Context(), cert))
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: w.ca.Chain()})
	require.NoError(t, err)
	cfg := server.Config{Stores: w.stores, Extractor: identity.TLS(), Validator: ours,
		Pusher: &apns.Client{Certificates: w.stores.PushCertificates, Host: w.apns.URL(), RootCAs: w.apns.RootCAs()}}
	if change != nil {
		change(&cfg)
	}
	w.mdm, err = server.New(cfg)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/mdm", w.mdm)
	mux.Handle("/scep", &scep.Server{CA: w.ca, Store: w.stores.SCEP})
	mux.HandleFunc("/enroll", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = rw.Write(w.enrollment(mdm.PurposeEnroll, ""))
	})
	w.https = httptest.NewUnstartedServer(mux)
	w.https.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	w.https.StartTLS()
	t.Cleanup(w.https.Close)
	w.roots = x509.NewCertPool()
	w.roots.AddCert(w.https.Certificate())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.mdm.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return w
}

// enrollment returns an encoded enrollment profile.
func (w *world) enrollment(purpose mdm.Purpose, device string) []byte {
	recipe := enroll.Recipe{
		Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: topic, ServerURL: w.https.URL + "/mdm", SignMessage: w.sign, Uses: w.mdm.Uses()},
		Identities: enroll.SCEPIdentities{Store: w.stores.SCEP, Content: profile.SCEPContent{URL: w.https.URL + "/scep"}},
	}
	if w.pkcs12 {
		recipe.Identities, recipe.AllowPlainPKCS12 = enroll.PKCS12Identities{CA: w.ca, Store: w.stores.SCEP}, true
	}
	data, err := recipe.Bytes(w.t.Context(), enroll.For{Purpose: purpose, Device: device})
	require.NoError(w.t, err)
	return data
}

func (w *world) device(cfg mdmtest.Config) *mdmtest.Device {
	cfg.RootCAs, cfg.APNs = w.roots, w.apns
	return mdmtest.NewDevice(cfg)
}

// enrolled returns an enrolled device.
func (w *world) enrolled(cfg mdmtest.Config) *mdmtest.Device {
	w.t.Helper()
	d := w.device(cfg)
	require.NoError(w.t, d.Enroll(w.t.Context(), w.https.URL+"/enroll"))
	return d
}

func id(d *mdmtest.Device) mdm.EnrollmentID { return mdm.EnrollmentID{Device: d.ID()} }

func (w *world) enrollmentOf(d *mdmtest.Device) *mdm.Enrollment {
	w.t.Helper()
	e, err := w.stores.Roster.Enrollment(w.t.Context(), id(d))
	require.NoError(w.t, err)
	return e
}

func (w *world) enqueue(o command.Order) command.Receipt {
	w.t.Helper()
	receipt, err := w.stores.Command.Enqueue(w.t.Context(), o)
	require.NoError(w.t, err)
	return receipt
}

func (w *world) entry(d *mdmtest.Device, uuid string) command.Entry {
	w.t.Helper()
	for e, err := range w.stores.Command.Entries(w.t.Context(), command.Query{From: id(d), UUID: uuid, Results: true}) {
		require.NoError(w.t, err)
		return e
	}
	w.t.Fatalf("no entry %s", uuid)
	return command.Entry{}
}

// events returns the types of a device's events, in order.
func (w *world) events(d *mdmtest.Device) []mdm.EventType {
	w.t.Helper()
	all, err := w.stores.Events.Events(w.t.Context(), "", 0, 10_000)
	require.NoError(w.t, err)
	var out []mdm.EventType
	for _, e := range all {
		if e.Enrollment == id(d) {
			out = append(out, e.Type)
		}
	}
	return out
}

func TestLoopInEveryIdentityMode(t *testing.T) {
	proxy, err := identity.Proxy(identity.ProxyConfig{Format: identity.RFC9440, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	require.NoError(t, err)
	for name, mode := range map[string]struct {
		mode      mdmtest.Mode
		extractor identity.Extractor
		sign      bool
		pkcs12    bool
	}{
		"tls":           {mdmtest.ModeTLS, identity.TLS(), false, false},
		"pkcs12":        {mdmtest.ModeTLS, identity.TLS(), false, true},
		"mdm-signature": {mdmtest.ModeSignature, identity.MDMSignature(), true, false},
		"proxy":         {mdmtest.ModeProxy, proxy, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *server.Config) { c.Extractor = mode.extractor })
			w.sign, w.pkcs12 = mode.sign, mode.pkcs12
			d := w.enrolled(mdmtest.Config{Mode: mode.mode})
			receipt := w.enqueue(command.Order{Command: command.DeviceInformation{Queries: []command.DeviceInformationQuery{"SerialNumber"}}, To: mdm.IDs(id(d))})
			require.NoError(t, d.Poll(t.Context()))
			e := w.entry(d, receipt.UUID)
			assert.Equal(t, command.Acknowledged, e.State)
			assert.Contains(t, string(e.Result), d.SerialNumber())
			assert.Equal(t, mdm.Enrolled, w.enrollmentOf(d).State)
		})
	}
}

func TestPushWakes(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = d.Run(ctx) }()
	receipt := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.Eventually(t, func() bool { return w.entry(d, receipt.UUID).State == command.Acknowledged }, 20*time.Second, 10*time.Millisecond)
	assert.Empty(t, w.apns.Violations())
}

func TestNotNow(t *testing.T) {
	var locked atomic.Bool
	locked.Store(true)
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "ProfileList" && locked.Load() {
			return mdmtest.NotNow()
		}
		return mdmtest.Answer{}
	}})
	first := w.enqueue(command.Order{Command: command.ProfileList{}, To: mdm.IDs(id(d))})
	second := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Deferred, w.entry(d, first.UUID).State)
	assert.Equal(t, command.Acknowledged, w.entry(d, second.UUID).State, "a deferred command does not hold up the next")
	assert.Len(t, d.History(), 2, "a deferred command is not offered twice in a session")
	locked.Store(false)
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, first.UUID).State)
}

func TestLostReply(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		return mdmtest.Answer{Vanish: o.Times == 1}
	}})
	receipt := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Sent, w.entry(d, receipt.UUID).State, "sending is not delivery")
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, receipt.UUID).State)
	assert.Equal(t, 2, w.entry(d, receipt.UUID).Sends)
}

func TestOddReports(t *testing.T) {
	w := newWorld(t, nil)
	d, other := w.enrolled(mdmtest.Config{}), w.enrolled(mdmtest.Config{})
	foreign := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(other))})
	own := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	for _, keys := range []map[string]any{
		{"Status": "Acknowledged", "CommandUUID": "never-queued"},
		{"Status": "Acknowledged", "CommandUUID": foreign.UUID},
		{"Status": "Dancing", "CommandUUID": own.UUID},
	} {
		body, err := d.Report(t.Context(), keys)
		require.NoError(t, err, "%v", keys)
		assert.Contains(t, string(body), own.UUID, "the next command is offered all the same")
	}
	assert.True(t, w.entry(other, foreign.UUID).State.Open(), "a report from another device changes nothing")
	aside := 0
	for _, err := range w.stores.Command.Aside(t.Context(), "", 0, 0) {
		require.NoError(t, err)
		aside++
	}
	assert.Equal(t, 3, aside)
}

func TestRenewal(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
	before := d.Certificate()
	w.enqueue(command.Order{Command: command.InstallProfile{Payload: w.enrollment(mdm.PurposeRenew, d.ID())}, To: mdm.IDs(id(d)), Priority: command.Renewal})
	waiting := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.False(t, before.Equal(d.Certificate()))
	assert.Equal(t, command.Acknowledged, w.entry(d, waiting.UUID).State, "the queue survives a renewal")
	assert.Equal(t, mdm.Generation(1), w.enrollmentOf(d).Generation)
	assert.Contains(t, w.events(d), mdm.EventRenewed)
	token, err := d.GetBootstrapToken(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "bootstrap", string(token), "the bootstrap token survives a renewal")
}

func TestFailedReplacement(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{FailReplacement: true})
	before := d.Certificate()
	failed := w.enqueue(command.Order{Command: command.InstallProfile{Payload: w.enrollment(mdm.PurposeRenew, d.ID())}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Failed, w.entry(d, failed.UUID).State)
	next := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, next.UUID).State)
	assert.True(t, before.Equal(d.Certificate()))
}

func TestWipe(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("old")))
	stale := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	d.Wipe()
	require.NoError(t, d.Enroll(t.Context(), w.https.URL+"/enroll"))
	e := w.enrollmentOf(d)
	assert.Equal(t, mdm.Generation(2), e.Generation)
	assert.Equal(t, mdm.Enrolled, e.State)
	assert.Equal(t, command.Canceled, w.entry(d, stale.UUID).State, "old commands do not run on a wiped device")
	assert.Empty(t, d.History())
	assert.Contains(t, w.events(d), mdm.EventReenrolled)
	token, err := d.GetBootstrapToken(t.Context())
	require.NoError(t, err)
	assert.Empty(t, token, "old secrets are not given to a wiped device")
}

func TestEraseThenEnroll(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		return mdmtest.Answer{Vanish: o.RequestType == "EraseDevice"} // the answer of an erase is sent once, and lost
	}})
	erase := w.enqueue(command.Order{Command: command.EraseDevice{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	d.Wipe()
	require.NoError(t, d.Enroll(t.Context(), w.https.URL+"/enroll"))
	assert.Equal(t, command.Presumed, w.entry(d, erase.UUID).State, "an erase that was sent is not sent again")
	assert.Contains(t, w.events(d), mdm.EventAfterWipe)
}

func TestRestore(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	backup := d.Backup()
	require.NoError(t, d.Restore(t.Context(), backup))
	assert.Contains(t, w.events(d), mdm.EventRestored)
	receipt := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, receipt.UUID).State)

	other := w.device(mdmtest.Config{})
	require.NoError(t, other.Restore(t.Context(), backup))
	assert.False(t, other.Managed(), "on another device a backup brings no management")
}

func TestRestoreOfABackupOlderThanTheRenewal(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	backup := d.Backup()
	w.enqueue(command.Order{Command: command.InstallProfile{Payload: w.enrollment(mdm.PurposeRenew, d.ID())}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	require.NoError(t, d.Restore(t.Context(), backup))
	receipt := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, command.Acknowledged, w.entry(d, receipt.UUID).State)
	assert.Contains(t, w.events(d), mdm.EventRestored)
}

func TestCheckOutThenRestoreIsRefused(t *testing.T) {
	for product, want := range map[string]int{"iPhone15,2": http.StatusForbidden, "Toaster1,1": http.StatusUnauthorized} {
		w := newWorld(t, nil)
		d := w.enrolled(mdmtest.Config{ProductName: product})
		backup := d.Backup()
		require.NoError(t, d.CheckOut(t.Context()))
		assert.Equal(t, mdm.Ended, w.enrollmentOf(d).State)
		var refused *mdmtest.StatusError
		require.ErrorAs(t, d.Restore(t.Context(), backup), &refused)
		assert.Equal(t, want, refused.Status)
		assert.True(t, refused.Unenrolls())
		assert.False(t, d.Managed(), "a device that is told so removes its management")
	}
}

func TestEndedByTheOperator(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{})
	require.NoError(t, w.mdm.Checkin().End(t.Context(), id(d), 0, "retired"))
	var refused *mdmtest.StatusError
	require.ErrorAs(t, d.Poll(t.Context()), &refused)
	assert.True(t, refused.Unenrolls())
	receipt := w.enqueue(command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(d))})
	assert.Zero(t, receipt.Queued)
	assert.Len(t, receipt.Refused, 1)
}

func TestStolenIdentity(t *testing.T) {
	w := newWorld(t, nil)
	victim := w.enrolled(mdmtest.Config{})
	thief := w.enrolled(mdmtest.Config{})
	_, err := thief.Tell(t.Context(), "TokenUpdate", map[string]any{"UDID": victim.ID(), "Topic": topic, "Token": []byte{1}, "PushMagic": "x"})
	var refused *mdmtest.StatusError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusForbidden, refused.Status)
	assert.False(t, refused.Unenrolls(), "neither the thief nor the victim loses its management by it")
	assert.True(t, slices.Contains(w.events(thief), mdm.EventConflict) || slices.Contains(w.events(victim), mdm.EventConflict))
	require.NoError(t, victim.Poll(t.Context()))
}

func TestClockSkew(t *testing.T) {
	w := newWorld(t, nil)
	for _, skew := range []time.Duration{-4 * time.Minute, 4 * time.Minute} {
		d := w.enrolled(mdmtest.Config{Clock: func() time.Time { return time.Now().Add(skew) }})
		require.NoError(t, d.Poll(t.Context()))
	}
}

func TestUserChannels(t *testing.T) {
	w := newWorld(t, nil)
	mac := w.enrolled(mdmtest.Config{ProductName: "Mac14,2"})
	user := mac.User("4C1F0B10-0000-4000-8000-000000000001", "ada")
	require.NoError(t, user.TokenUpdate(t.Context()))
	userID := mdm.EnrollmentID{Device: mac.ID(), User: "4C1F0B10-0000-4000-8000-000000000001"}
	forUser := w.enqueue(command.Order{Command: command.ProfileList{}, To: mdm.IDs(userID)})
	require.NoError(t, mac.Poll(t.Context()))
	assert.Empty(t, mac.History(), "a user's command does not go to the device channel")
	require.NoError(t, user.Poll(t.Context()))
	require.Len(t, mac.History(), 1)
	assert.Equal(t, forUser.UUID, mac.History()[0].Order.UUID)

	ipad := w.enrolled(mdmtest.Config{ProductName: "iPad14,1"})
	for _, account := range []string{"ada@example.com", "alan@example.com"} {
		require.NoError(t, ipad.SharedIPadUser(account).TokenUpdate(t.Context()))
		_, err := w.stores.Roster.Enrollment(t.Context(), mdm.EnrollmentID{Device: ipad.ID(), User: account})
		require.NoError(t, err, "the users of a Shared iPad are told apart by their account")
	}
	require.NoError(t, mac.CheckOut(t.Context()))
	e, err := w.stores.Roster.Enrollment(t.Context(), userID)
	require.NoError(t, err)
	assert.Equal(t, mdm.Ended, e.State, "user channels end with their device")
}

func TestUserEnrollment(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{EnrollmentID: "9B6E6F6A-0000-4000-8000-00000000000A"})
	e := w.enrollmentOf(d)
	assert.Equal(t, mdm.UserEnrollmentChannel, e.Channel)
	assert.Empty(t, e.Device.SerialNumber)
}

func TestUserAuthenticateDeclinedByDefault(t *testing.T) {
	w := newWorld(t, nil)
	mac := w.enrolled(mdmtest.Config{ProductName: "Mac14,2"})
	var refused *mdmtest.StatusError
	require.ErrorAs(t, mac.User("U", "net1").Authenticate(t.Context(), "x"), &refused)
	assert.Equal(t, http.StatusGone, refused.Status)
}

func TestSetupAssistant(t *testing.T) {
	w := newWorld(t, nil)
	d := w.enrolled(mdmtest.Config{AwaitConfiguration: true})
	assert.True(t, w.enrollmentOf(d).AwaitingConfiguration)
	w.enqueue(command.Order{Command: command.DeviceConfigured{}, To: mdm.IDs(id(d))})
	require.NoError(t, d.Poll(t.Context()))
	assert.False(t, d.InSetup())
}

func TestWrapSeesEveryMessage(t *testing.T) {
	var seen []string
	w := newWorld(t, func(c *server.Config) {
		c.Wrap = func(next checkin.Handler) checkin.Handler {
			return checkin.HandlerFunc(func(ctx context.Context, r *checkin.Request) (*checkin.Reply, error) {
				seen = append(seen, r.Message.MessageType())
				return next.Checkin(ctx, r)
			})
		}
	})
	w.enrolled(mdmtest.Config{})
	assert.Equal(t, []string{"Authenticate", "TokenUpdate"}, seen)
}
