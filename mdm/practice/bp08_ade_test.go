package practice_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
)

// purchase is a lab with a server at Apple.
type purchase struct {
	*lab
	apple    *mdmtest.ABM
	at       *mdmtest.ABMServer
	factory  *mdmtest.BuiltInCA
	key      dep.Key
	syncer   *dep.Syncer
	assigner *dep.Assigner
	url      string // of the page on which people log in
}

// buy connects the lab with Apple: a key pair, a token, and a profile for all devices.
func (l *lab) buy() *purchase {
	l.Helper()
	p := &purchase{lab: l, apple: mdmtest.ABMConfig{Clock: l.now}.Start(), key: dep.Key{Name: "main"}}
	l.Cleanup(p.apple.Close)
	p.at = p.apple.Server("MDM")
	var err error
	p.factory, err = mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})
	require.NoError(l, err)
	known, err := dep.Enlist(l.Context(), l.stores.DEP, p.key, l.now())
	require.NoError(l, err)
	_, err = dep.Import(l.Context(), l.stores.DEP, p.key, p.apple.Token(p.at, known.KeyPair.Certificate), false, l.now())
	require.NoError(l, err)
	client := &dep.Client{Token: dep.StoredToken(l.stores.DEP, p.key), BaseURL: p.apple.URL(), Clock: l.now,
		HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.apple.RootCAs(), MinVersion: tls.VersionTLS12}}}}
	p.syncer = &dep.Syncer{Store: l.stores.DEP, Connect: func(dep.Key) dep.Source { return client }, Clock: l.now}
	p.assigner = &dep.Assigner{Store: l.stores.DEP, Connect: func(dep.Key) dep.Profiles { return client }, Clock: l.now}
	p.url = p.setupAssistant()
	return p
}

// setupAssistant serves devices in Setup Assistant, those that are synced and here.
func (p *purchase) setupAssistant() string {
	recipe, mux := p.recipe(p.scepIdentities()), http.NewServeMux()
	site := p.site(mux)
	form := func(w http.ResponseWriter, _ *http.Request, state string) {
		_, _ = fmt.Fprintf(w, `<!doctype html><form method="post" action="/login"><input name="state" value="%s"><input name="password"></form>`, html.EscapeString(state))
	}
	service := &ade.Service{Sessions: p.stores.Sessions, Signer: p.profileSigner(), Clock: p.now, Key: mdm.SecretString("0123456789abcdef0123456789abcdef"),
		Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{p.factory.Certificate}},
		Admit:   func(ctx context.Context, s enroll.Session) error { return p.owned(ctx, s.Device["SERIAL"]) },
		Login:   form,
		Final: func(ctx context.Context, s enroll.Session) (*profile.Profile, error) {
			return recipe.Profile(ctx, ade.For(s))
		}}
	mux.Handle("/ade", service.Web())
	mux.Handle("/login", service.Callback(func(w http.ResponseWriter, r *http.Request, _ enroll.Session) (string, bool) {
		if r.FormValue("password") == "lovelace" {
			return "ada", true
		}
		form(w, r, r.FormValue("state"))
		return "", false
	}))
	return site.URL + "/ade"
}

// owned lets those devices in that Apple says are this server's.
func (p *purchase) owned(ctx context.Context, serial string) error {
	records, err := p.stores.DEP.DeviceRecords(ctx, "", serial)
	if err == nil && (len(records) == 0 || records[0].Gone) {
		err = mdm.Errorf(mdm.Forbidden, "inventory", "not one of ours")
	}
	return err
}

// sync does what happens every half hour.
func (p *purchase) sync() {
	p.Helper()
	_, err := p.syncer.Sync(p.Context(), p.key)
	require.NoError(p, err)
	_, err = p.assigner.Assign(p.Context(), p.key)
	require.NoError(p, err)
}

// boot lets a device ask Apple for its profile and go through Setup Assistant, until it waits for its configuration.
func (p *purchase) boot(d *mdmtest.Device) error {
	data, ok := p.apple.Activate(d.SerialNumber())
	if !ok {
		return errors.New("Apple knows no profile for the device")
	}
	told, err := mdmtest.ParseAssignment(data)
	if err != nil {
		return err
	}
	tries := []string{"wrong", "lovelace"}
	ctx, stop := context.WithTimeout(p.Context(), time.Minute)
	defer stop()
	_, err = d.SetupAssistant(ctx, mdmtest.Assistant{
		Assignment: told,
		Fill: func(page *mdmtest.Page) error {
			page.Form.Values.Set("password", tries[0])
			tries = tries[1:]
			return nil
		}})
	return err
}

// A device that was bought comes to the server by itself: it is synced and assigned, its user logs in on a page, and it stays in Setup
// Assistant until the server has set it up. What its profile promises is confirmed by what it says.
func TestBP08_FromAppleToTheHomeScreen(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		setup := &practice.Setup{Roster: l.stores.Roster}
		l.serve(func(c *server.Config) {
			c.Cooks = setup.Cooks()
			c.Wrap = func(next checkin.Handler) checkin.Handler { return ade.Guard(l.stores.SCEP, next) }
		}, setup.Workflows()...)
		p := l.buy()
		d := l.device(mdmtest.Config{BuiltIn: p.factory, ProductName: "Mac14,2", OSVersion: "15.2"})
		stranger := l.device(mdmtest.Config{BuiltIn: p.factory})
		p.apple.AddSerials(p.at, d.SerialNumber())
		uuid, err := p.assigner.Define(t.Context(), p.key, dep.Profile{Name: "Macs", URL: p.url, ConfigurationWebURL: p.url, IsSupervised: true,
			IsMandatory: true, IsMDMRemovable: new(false), AwaitDeviceConfigured: true})
		require.NoError(t, err)
		require.NoError(t, p.assigner.SetProfile(t.Context(), p.key, uuid))
		p.sync()

		stop := l.background()
		require.NoError(t, p.boot(d))
		stop()
		assert.True(t, d.Managed())
		assert.False(t, d.InSetup(), "it was released")
		assert.Contains(t, took(d), "DeviceConfigured")
		e, err := l.stores.Roster.Enrollment(t.Context(), id(d))
		require.NoError(t, err)
		assert.Equal(t, mdm.Enrolled, e.State)

		p.apple.AddSerials(p.apple.Server("Somebody else's"), stranger.SerialNumber())
		_, err = stranger.SetupAssistant(t.Context(), mdmtest.Assistant{Assignment: mdmtest.Assignment{URL: p.url, WebURL: p.url}})
		require.Error(t, err, "it is of Apple's, but not this server's")
		assert.False(t, stranger.Managed())

		p.sync()
		records, err := l.stores.DEP.DeviceRecords(t.Context(), "", d.SerialNumber())
		require.NoError(t, err)
		require.Len(t, records, 1)
		assert.Equal(t, dep.ProfilePushed, records[0].Device.ProfileStatus)
		v, err := l.stores.DEP.Server(t.Context(), p.key)
		require.NoError(t, err)
		h := practice.HoldOf(&records[0], &v, said(l, d))
		assert.Equal(t, practice.Hold{Serial: d.SerialNumber(), ProfileUUID: uuid, Supervised: mdm.Yes, Removable: mdm.No, Confirmed: true,
			Note: "the device's list of profiles"}, h)
		assert.Empty(t, p.apple.Violations())
	})
}

// background flushes until it is stopped, for devices that wait for something.
func (l *lab) background() (stop func()) {
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := l.server.Flush(l.Context()); err != nil {
				done <- err
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		done <- nil
	}()
	return func() {
		l.Helper()
		cancel()
		require.NoError(l, <-done)
	}
}

// said asks a device of itself.
func said(l *lab, d *mdmtest.Device) practice.Said {
	l.Helper()
	for _, c := range []command.Command{command.SecurityInfo{}, command.ProfileList{}} {
		_, err := l.stores.Command.Enqueue(l.Context(), command.Order{Command: c, To: mdm.IDs(id(d))})
		require.NoError(l, err)
	}
	require.NoError(l, d.Poll(l.Context()))
	var s practice.Said
	for e, err := range l.stores.Command.Entries(l.Context(), command.Query{From: id(d), Results: true}) {
		require.NoError(l, err)
		if e.RequestType != "SecurityInfo" && e.RequestType != "ProfileList" {
			continue
		}
		answer, err := command.DecodeResponse(e.RequestType, e.Result)
		require.NoError(l, err)
		switch answer := answer.(type) {
		case *command.SecurityInfoResponse:
			s.Security = answer
		case *command.ProfileListResponse:
			s.Profiles = answer
		}
	}
	return s
}

// When new terms wait for somebody, it is said who must accept them and where, and no device is lost by it.
func TestBP08_NewTerms(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.serve(nil)
		p := l.buy()
		p.apple.AddMany(p.at, 3)
		p.sync()
		p.apple.RequireTerms(true)
		_, err := p.syncer.Sync(t.Context(), p.key)
		require.ErrorIs(t, err, dep.ErrTermsNotSigned)
		v, err := l.stores.DEP.Server(t.Context(), p.key)
		require.NoError(t, err)
		require.NotNil(t, v.Stopped)
		assert.Contains(t, v.Stopped.Text, "role of administrator")
		counts, err := l.stores.DEP.CountRecords(t.Context(), p.key)
		require.NoError(t, err)
		assert.Equal(t, 3, counts.Devices)
		p.apple.RequireTerms(false)
		l.ahead.Add(int64(time.Hour))
		p.sync()
	})
}
