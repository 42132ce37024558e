package mdmtest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/server"
)

// publisher is a Backend, and a Declarative that fails as it is told to.
type publisher struct {
	mu      sync.Mutex
	list    []ddm.Declaration
	fail    map[string]error // by the beginning of the endpoint
	asked   []string
	reports []ddm.StatusReport
	inner   ddm.Responder
}

func (p *publisher) Declarations(context.Context, mdm.EnrollmentID) ([]ddm.Declaration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list), nil
}

func (p *publisher) Status(_ context.Context, _ mdm.EnrollmentID, r ddm.StatusReport) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, r)
	return nil
}

func (p *publisher) Declare(ctx context.Context, id mdm.EnrollmentID, endpoint string, data []byte) (*checkin.Reply, error) {
	p.mu.Lock()
	p.asked = append(p.asked, endpoint)
	for begin, err := range p.fail {
		if strings.HasPrefix(endpoint, begin) {
			p.mu.Unlock()
			return nil, err
		}
	}
	p.mu.Unlock()
	return p.inner.Declare(ctx, id, endpoint, data)
}

func (p *publisher) publish(list ...ddm.Declaration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = list
}

func (p *publisher) failing(fail map[string]error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

// took returns what was asked since it was called last.
func (p *publisher) took() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// last is the last report.
func (p *publisher) last(t *testing.T) *ddm.StatusItems {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	require.NotEmpty(t, p.reports)
	items, wrong := ddm.StatusItemsOf(p.reports[len(p.reports)-1])
	require.Empty(t, wrong)
	return items
}

// stands returns how the declarations stand by the last report that says it.
func (p *publisher) stands(t *testing.T) map[string]string {
	t.Helper()
	d := p.last(t).Management.Declarations
	require.NotNil(t, d)
	out := map[string]string{}
	for _, s := range slices.Concat(d.Activations, d.Configurations, d.Assets, d.Management) {
		text := string(s.Valid)
		if s.Active {
			text += " active"
		}
		for _, r := range s.Reasons {
			text += " " + r.Code
		}
		out[s.Identifier] = text
	}
	return out
}

func publishing(t *testing.T, cfg mdmtest.Config) (*world, *publisher, *mdmtest.Device, func()) {
	t.Helper()
	p := &publisher{}
	p.inner.Backend = p
	w := newWorld(t, func(c *server.Config) { c.Checkin.Declarative, c.Pusher = p, nil })
	cfg.RootCAs = w.roots
	d := mdmtest.NewDevice(cfg)
	require.NoError(t, d.Enroll(t.Context(), w.https.URL+"/enroll"))
	return w, p, d, func() {
		t.Helper()
		_, err := w.stores.Command.Enqueue(t.Context(), ddm.SyncOrder(nil, time.Time{}, mdm.EnrollmentID{Device: d.ID()}))
		require.NoError(t, err)
		require.NoError(t, d.Poll(t.Context()))
	}
}

func echo(identifier, text string) ddm.Declaration {
	return ddm.Declaration{Identifier: identifier, Payload: &ddm.ManagementTest{Echo: text}}
}

func on(identifier, predicate string, configurations ...string) ddm.Declaration {
	a := &ddm.ActivationSimple{StandardConfigurations: configurations}
	if predicate != "" {
		a.Predicate = &predicate
	}
	return ddm.Declaration{Identifier: identifier, Payload: a}
}

func subscribed(identifier string, items ...string) ddm.Declaration {
	s := &ddm.ManagementStatusSubscriptions{}
	for _, i := range items {
		s.StatusItems = append(s.StatusItems, ddm.ManagementStatusSubscriptionsStatusItem{Name: i})
	}
	return ddm.Declaration{Identifier: identifier, Payload: s}
}

// TestDeclarations: added, changed, removed, and nothing new.
func TestDeclarations(t *testing.T) {
	_, p, d, sync := publishing(t, mdmtest.Config{})
	p.publish(echo("a", "1"), echo("b", "1"), on("on", "", "a", "b"))
	require.NoError(t, d.Poll(t.Context()))
	require.NoError(t, d.Sync(t.Context()))
	assert.Empty(t, p.took(), "it is off until the first command")
	sync()
	asked := p.took()
	assert.Equal(t, []string{"tokens", "declaration-items"}, asked[:2])
	assert.ElementsMatch(t, []string{"declaration/activation/on", "declaration/configuration/a", "declaration/configuration/b"}, asked[2:5])
	assert.Equal(t, []string{"status"}, asked[5:])
	assert.Equal(t, []string{"a", "b", "on"}, d.Active())
	assert.Equal(t, map[string]string{"a": "valid active", "b": "valid active", "on": "valid active"}, p.stands(t))
	assert.Contains(t, p.last(t).Management.ClientCapabilities.SupportedPayloads.Declarations.Configurations, ddm.TypePasscodeSettings)
	sync()
	assert.Equal(t, []string{"tokens"}, p.took(), "nothing is new")
	p.publish(echo("a", "2"), on("on", "", "a"))
	sync()
	assert.ElementsMatch(t, []string{"tokens", "declaration-items", "declaration/activation/on", "declaration/configuration/a", "status"}, p.took())
	_, there := d.Declared("b")
	assert.False(t, there)
	a, _ := d.Declared("a")
	assert.Equal(t, "2", a.Payload.(*ddm.ManagementTest).Echo)
	assert.Nil(t, p.last(t).Management.ClientCapabilities, "it is what it was")
	require.NoError(t, d.SendStatus(t.Context(), true))
	assert.NotNil(t, p.last(t).Management.ClientCapabilities)
	p.publish()
	require.NoError(t, d.Sync(t.Context()))
	assert.Empty(t, d.Active())
	assert.Equal(t, 5, d.Fetched())
	require.NoError(t, d.CheckOut(t.Context()))
	assert.ErrorIs(t, d.Sync(t.Context()), mdmtest.ErrNotManaged)
}

// TestDeclarationsWithData: tokens in the command save a question.
func TestDeclarationsWithData(t *testing.T) {
	w, p, d, _ := publishing(t, mdmtest.Config{})
	p.publish(echo("a", "1"))
	s, err := p.inner.Set(t.Context(), mdm.EnrollmentID{})
	require.NoError(t, err)
	for range 2 { // a second one at once
		_, err = w.stores.Command.Enqueue(t.Context(), command.Order{Command: ddm.SyncCommand(s, time.Now()), To: mdm.IDs(mdm.EnrollmentID{Device: d.ID()})})
		require.NoError(t, err)
	}
	require.NoError(t, d.Poll(t.Context()))
	assert.Len(t, d.History(), 2)
	assert.Equal(t, []string{"declaration-items", "declaration/configuration/a", "status"}, p.took())
	assert.Equal(t, map[string]string{"a": "valid " + ddm.ReasonInfoNotReferencedByActivation}, p.stands(t))
}

// TestDeclarationsInTrouble: an outage takes nothing away, and only what is not found is dropped.
func TestDeclarationsInTrouble(t *testing.T) {
	_, p, d, sync := publishing(t, mdmtest.Config{})
	p.publish(echo("a", "1"), on("on", "", "a"))
	sync()
	require.Equal(t, []string{"a", "on"}, d.Active())
	p.publish(echo("a", "2"), echo("b", "1"), on("on", "", "a", "b"))
	away := errors.New("away")
	for _, endpoint := range []string{"tokens", "declaration-items", "declaration/configuration/b", "declaration/activation"} {
		p.failing(map[string]error{endpoint: away})
		sync()
		a, _ := d.Declared("a")
		assert.Equal(t, "1", a.Payload.(*ddm.ManagementTest).Echo, endpoint)
		assert.Equal(t, []string{"a", "on"}, d.Active(), endpoint)
	}
	p.failing(map[string]error{"status": away})
	require.NoError(t, d.Poll(t.Context()), "it tries again by itself")
	assert.Equal(t, []string{"a", "b", "on"}, d.Active())
	p.failing(nil)
	require.NoError(t, d.Poll(t.Context()))
	assert.Equal(t, "valid active", p.stands(t)["b"], "the report comes later")

	p.publish(echo("a", "3"), echo("b", "2"), on("on", "", "a", "b"))
	p.failing(map[string]error{"declaration/configuration/b": &mdm.Error{Code: mdm.NotFound}}) // withdrawn between manifest and fetch
	sync()
	_, there := d.Declared("b")
	assert.False(t, there)
	assert.Equal(t, "invalid "+ddm.ReasonErrorMissingConfigurations, p.stands(t)["on"])
	assert.Empty(t, d.Active())
}

func TestDeclarationsAreJudged(t *testing.T) {
	_, p, d, sync := publishing(t, mdmtest.Config{OSVersion: "17.0"})
	const compliant = "@status(passcode.is-compliant) == TRUE"
	p.publish(echo("a", "1"), on("gate", compliant, "a"), on("odd", "SUBQUERY(@status(x), $a, TRUE).@count != 0", "a"),
		on("phone", "(@status(device.model.family) == 'iPhone')", "family"), echo("family", "x"),
		subscribed("ask", string(ddm.ItemPasscodeIsCompliant), "app.managed.list"), on("always", "", "ask", "tomorrow", "refused", "wrong", "mac", "new"),
		ddm.Declaration{Identifier: "tomorrow", Payload: &ddm.Raw{Type: "com.apple.configuration.of.tomorrow"}},
		ddm.Declaration{Identifier: "wrong", Payload: &ddm.Raw{Type: ddm.TypePasscodeSettings, Values: map[string]any{"MinimumLength": int64(99)}}},
		ddm.Declaration{Identifier: "mac", Payload: &ddm.DiskManagementSettings{}}, ddm.Declaration{Identifier: "new", Payload: &ddm.MathSettings{}},
		echo("refused", "x"), ddm.Declaration{Identifier: "who", Payload: &ddm.ManagementOrganizationInfo{Name: "Example"}})
	d.RefuseDeclaration("refused", ddm.ReasonErrorConfigurationCannotBeApplied)
	d.SetStatus("passcode.is-compliant", false)
	sync()
	want := map[string]string{"a": "valid", "gate": "valid " + ddm.ReasonInfoPredicate, "odd": "invalid " + ddm.ReasonErrorUnableToParsePredicate,
		"phone": "valid active", "family": "valid active", "ask": "valid active", "always": "valid active", "who": "valid",
		"tomorrow": "invalid " + ddm.ReasonErrorUnknownDeclarationType, "wrong": "invalid " + ddm.ReasonErrorInvalidPayload,
		"mac": "invalid " + ddm.ReasonErrorConfigurationNotSupported, "new": "invalid " + ddm.ReasonErrorConfigurationNotSupported,
		"refused": "invalid " + ddm.ReasonErrorConfigurationCannotBeApplied}
	assert.Equal(t, want, p.stands(t))
	assert.False(t, *p.last(t).Passcode.IsCompliant)
	assert.Nil(t, p.last(t).Device, "nobody subscribed to it")

	d.SetStatus("passcode.is-compliant", true)
	assert.Contains(t, d.Active(), "a", "the device itself gives it, before anybody is told")
	d.RefuseDeclaration("refused", "")
	require.NoError(t, d.Poll(t.Context()))
	want["a"], want["gate"], want["refused"] = "valid active", "valid active", "valid active"
	assert.Equal(t, want, p.stands(t))
	assert.True(t, *p.last(t).Passcode.IsCompliant)
	before := len(p.reports)
	d.SetStatus("device.model.number", "A1")
	require.NoError(t, d.Poll(t.Context()))
	assert.Len(t, p.reports, before, "nothing of it is asked for")
	d.SetStatus("passcode.is-compliant", nil)
	require.NoError(t, d.SendStatus(t.Context(), false))
	assert.NotContains(t, d.Active(), "a")
	passcode, there := p.reports[len(p.reports)-1].StatusItems["passcode"].(map[string]any)
	require.True(t, there)
	assert.Equal(t, []string{"is-compliant"}, slices.Collect(maps.Keys(passcode)), "it has no value now")
}

// TestDeclarationsOfUsers: each channel has its own.
func TestDeclarationsOfUsers(t *testing.T) {
	w, p, d, sync := publishing(t, mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0"})
	p.publish(echo("a", "1"), on("on", "", "a"))
	u := d.User("U", "anna")
	require.NoError(t, u.TokenUpdate(t.Context()))
	sync()
	assert.NotEmpty(t, d.Active())
	assert.Empty(t, u.Active())
	_, err := w.stores.Command.Enqueue(t.Context(), ddm.SyncOrder(nil, time.Time{}, mdm.EnrollmentID{Device: d.ID(), User: "U"}))
	require.NoError(t, err)
	require.NoError(t, u.Poll(t.Context()))
	assert.Equal(t, []string{"a", "on"}, u.Active())
	d.Wipe()
	assert.Empty(t, d.Active())
	assert.Empty(t, u.Active())
}
