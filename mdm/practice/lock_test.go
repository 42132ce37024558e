package practice_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
)

var aMac = mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.1"}

// leap moves the clock at once, and settles.
func (l *lab) leap(d time.Duration, devices ...*mdmtest.Device) {
	l.Helper()
	l.ahead.Add(int64(d))
	l.settle(devices...)
}

// run returns a run by its ID.
func (l *lab) run(id string) workflow.Run {
	l.Helper()
	r, err := l.stores.Runs.Run(l.Context(), "", id)
	require.NoError(l, err)
	return r
}

// kept returns everything that is kept of a device in clear: its queue with bodies, its runs and its events.
func (l *lab) kept(d *mdmtest.Device) string {
	l.Helper()
	var all []any
	for e, err := range l.stores.Command.Entries(l.Context(), command.Query{From: id(d), Bodies: true, Results: true}) {
		require.NoError(l, err)
		all = append(all, e.RequestType, string(e.Body), string(e.Result))
	}
	for r, err := range l.stores.Runs.Runs(l.Context(), workflow.Query{Enrollment: id(d)}) {
		require.NoError(l, err)
		all = append(all, r, string(r.State))
	}
	text, err := json.Marshal(append(all, l.events(d)))
	require.NoError(l, err)
	return string(text)
}

func TestLock(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var released []practice.PINRequest
		lock := &practice.Lock{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault, Release: func(_ context.Context, r practice.PINRequest) error {
			if r.Actor == "eve" {
				return errors.New("not you")
			}
			released = append(released, r)
			return nil
		}}
		l.serve(func(c *server.Config) { c.Cooks = lock.Cooks() }, lock.Workflows()...)
		mac, phone := l.enrolled(aMac), l.enrolled(mdmtest.Config{})
		l.settle(mac, phone)
		engine := l.server.Workflows()
		order := practice.LockOrder{Actor: "ada", Reason: "stolen", Message: "Locked & lost", PhoneNumber: "+49 30 1"}
		r, err := lock.Begin(t.Context(), engine, id(mac), order)
		require.NoError(t, err)
		_, err = lock.Begin(t.Context(), engine, id(mac), order)
		require.ErrorContains(t, err, r.ID)
		l.leap(72 * time.Hour) // it is away
		assert.Equal(t, workflow.Open, l.run(r.ID).Status)
		require.NoError(t, mac.Poll(t.Context()))
		pin, locked := mac.Locked()
		require.True(t, locked)
		assert.Regexp(t, `^[0-9]{6}$`, pin)
		assert.Equal(t, "Locked & lost", mac.History()[0].Order.Command["Message"])
		l.flush()
		assert.Equal(t, workflow.Open, l.run(r.ID).Status, "acknowledged is not locked")
		l.advance(time.Hour)
		assert.Equal(t, workflow.Done, l.run(r.ID).Status)
		assert.Contains(t, l.run(r.ID).Note, "silent")
		assert.NotContains(t, l.kept(mac), pin, "nobody but the vault has it")

		_, err = lock.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: r.ID, Actor: "eve", Reason: "x"})
		require.ErrorContains(t, err, "not you")
		_, err = lock.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: r.ID, Actor: "ada"})
		require.Error(t, err)
		_, err = lock.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: "other", Actor: "ada", Reason: "it is back"})
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
		secret, err := lock.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: r.ID, Actor: "ada", Reason: "it is back"})
		require.NoError(t, err)
		assert.Equal(t, pin, string(secret.Reveal()))
		assert.Len(t, released, 2)

		r, err = lock.Begin(t.Context(), engine, id(phone), order)
		require.NoError(t, err)
		l.settle(phone)
		assert.Equal(t, []string{"DeviceLock", "SecurityInfo"}, took(phone))
		assert.Nil(t, phone.History()[0].Order.Command["PIN"])
		assert.Equal(t, workflow.Done, l.run(r.ID).Status)
	})
}

func TestLockThatDoesNotHold(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		lock := &practice.Lock{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault}
		l.serve(func(c *server.Config) { c.Cooks = lock.Cooks() }, lock.Workflows()...)
		mac := l.enrolled(aMac)
		bare := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "SecurityInfo" {
				return mdmtest.Answer{Fields: map[string]any{"SecurityInfo": map[string]any{"PasscodePresent": false}}}
			}
			return mdmtest.Answer{}
		}})
		broken := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			return mdmtest.Answer{Status: "CommandFormatError"}
		}})
		away, tv := l.enrolled(aMac), l.enrolled(mdmtest.Config{ProductName: "AppleTV14,1"})
		l.settle(mac, bare, broken, away, tv)
		runs := map[*mdmtest.Device]string{}
		for _, d := range []*mdmtest.Device{mac, bare, broken, away} {
			r, err := lock.Begin(t.Context(), l.server.Workflows(), id(d), practice.LockOrder{Actor: "ada", Reason: "x"})
			require.NoError(t, err)
			runs[d] = r.ID
		}
		_, err := lock.Begin(t.Context(), l.server.Workflows(), id(tv), practice.LockOrder{Actor: "ada", Reason: "x"})
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
		l.settle(mac, bare, broken)
		for d, note := range map[*mdmtest.Device]string{mac: "it answers", bare: "no passcode", broken: "CommandFormatError"} {
			assert.Contains(t, l.run(runs[d]).Note, note)
		}
		assert.Equal(t, workflow.Failed, l.run(runs[bare]).Status)
		assert.Equal(t, workflow.Failed, l.run(runs[broken]).Status)
		l.leap(31 * 24 * time.Hour)
		assert.Equal(t, workflow.Failed, l.run(runs[away]).Status)
		l.settle(away)
		assert.Empty(t, took(away), "too late is not at all")
		_, err = lock.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: runs[mac], Actor: "ada", Reason: "x"})
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "without Release nobody reads a PIN")
	})
}

func TestErase(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		erase := &practice.Erase{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault, Release: func(context.Context, practice.PINRequest) error { return nil },
			Return: func(context.Context, *mdm.Enrollment) (command.EraseDeviceReturnToService, error) {
				return command.EraseDeviceReturnToService{WiFiProfileData: []byte("wifi password")}, nil
			}}
		l.serve(func(c *server.Config) { c.Cooks = erase.Cooks() }, erase.Workflows()...)
		mac, phone, quiet := l.enrolled(aMac), l.enrolled(mdmtest.Config{}), l.earthly(mdmtest.Config{Respond: vanish})
		l.settle(mac, phone, quiet)
		begin := func(d *mdmtest.Device, o practice.EraseOrder) string {
			o.Actor, o.Reason = "ada", "sold"
			r, err := erase.Begin(t.Context(), l.server.Workflows(), id(d), o)
			require.NoError(t, err)
			return r.ID
		}
		first := begin(mac, practice.EraseOrder{Obliteration: command.EraseDeviceObliterationBehaviorDoNotObliterate})
		second := begin(phone, practice.EraseOrder{PreserveDataPlan: true, ReturnToService: true})
		third := begin(quiet, practice.EraseOrder{})
		l.settle(mac, phone, quiet)
		for _, d := range []*mdmtest.Device{mac, phone, quiet} {
			assert.False(t, d.Managed())
			assert.Len(t, took(d), 1)
		}
		pin, _ := mac.Locked()
		assert.Regexp(t, `^[0-9]{6}$`, pin)
		assert.NotContains(t, l.kept(mac), pin)
		secret, err := erase.PIN(t.Context(), practice.PINRequest{Enrollment: id(mac), Run: first, Actor: "ada", Reason: "x"})
		require.NoError(t, err)
		assert.Equal(t, pin, string(secret.Reveal()))
		assert.Equal(t, "DoNotObliterate", mac.History()[0].Order.Command["ObliterationBehavior"])
		got := phone.History()[0].Order.Command
		assert.Equal(t, true, got["PreserveDataPlan"])
		assert.Equal(t, []byte("wifi password"), got["ReturnToService"].(map[string]any)["WiFiProfileData"])
		for _, run := range []string{first, second, third} {
			assert.Equal(t, workflow.Open, l.run(run).Status, "acknowledged is not erased")
		}
		require.NoError(t, phone.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(phone)
		assert.Equal(t, workflow.Done, l.run(second).Status)
		assert.Equal(t, "erased: it enrolled again", l.run(second).Note)
		l.advance(25 * time.Hour)
		for _, run := range []string{first, third} {
			assert.Equal(t, workflow.Done, l.run(run).Status)
			assert.Contains(t, l.run(run).Note, "presumed")
		}
		// Nothing of it reaches the next generation.
		require.NoError(t, quiet.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(quiet)
		assert.True(t, quiet.Managed())
		assert.Len(t, took(quiet), 1)
	})
}

// earthly returns an enrolled device whose clock is not the lab's, so that it can enroll again when that was advanced: signatures
// of SCEP messages bear the real time.
func (l *lab) earthly(cfg mdmtest.Config) *mdmtest.Device {
	l.Helper()
	cfg.RootCAs = l.roots
	d := mdmtest.NewDevice(cfg)
	l.devices = append(l.devices, d)
	require.NoError(l, d.Enroll(l.Context(), l.https.URL+"/enroll"))
	return d
}

// vanish erases without a word.
func vanish(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	return mdmtest.Answer{Vanish: o.RequestType == "EraseDevice"}
}

func TestEraseThatDoesNotHappen(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		allowed := map[mdm.EnrollmentID]bool{}
		erase := &practice.Erase{Roster: l.stores.Roster, Runs: l.stores.Runs, PINs: l.stores.Vault, Confirm: func(_ context.Context, e *mdm.Enrollment, o practice.EraseOrder) error {
			if o.Actor != "ada" || !allowed[e.ID] {
				return errors.New("not allowed")
			}
			return nil
		}}
		l.serve(func(c *server.Config) { c.Cooks = erase.Cooks() }, erase.Workflows()...)
		failing := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			return mdmtest.Fail("MCMDMErrorDomain", 12000, "no")
		}})
		lying := l.enrolled(mdmtest.Config{})
		byod, spared, away, left := l.enrolled(mdmtest.Config{EnrollmentID: "E1"}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		l.settle(l.devices...)
		begin := func(d *mdmtest.Device, o practice.EraseOrder) (string, error) {
			o.Reason = "sold"
			r, err := erase.Begin(t.Context(), l.server.Workflows(), id(d), o)
			return r.ID, err
		}
		for _, d := range []*mdmtest.Device{failing, lying, byod, away, left} {
			allowed[id(d)] = true
		}
		for d, o := range map[*mdmtest.Device]practice.EraseOrder{byod: {Actor: "ada"}, spared: {Actor: "ada"}, away: {Actor: "eve"}, left: {},
			lying: {Actor: "ada", Obliteration: command.EraseDeviceObliterationBehaviorAlways}, failing: {Actor: "ada", ReturnToService: true}} {
			_, err := begin(d, o)
			assert.Contains(t, []mdm.Code{mdm.Forbidden, mdm.Malformed}, mdm.CodeOf(err))
		}
		assert.Empty(t, l.runs("erase"))

		allowed[id(spared)] = true
		runs := map[*mdmtest.Device]string{}
		for _, d := range []*mdmtest.Device{failing, spared, away, left} {
			var err error
			runs[d], err = begin(d, practice.EraseOrder{Actor: "ada"})
			require.NoError(t, err)
		}
		l.flush()
		allowed[id(spared)] = false // between the order and its delivery
		require.NoError(t, left.CheckOut(t.Context()))
		l.settle(failing, spared)
		assert.Equal(t, []string{"EraseDevice"}, took(failing))
		assert.Empty(t, took(spared))
		for d, note := range map[*mdmtest.Device]string{failing: "12000", spared: "canceled", left: "ended before"} {
			assert.Equal(t, workflow.Failed, l.run(runs[d]).Status)
			assert.Contains(t, l.run(runs[d]).Note, note)
		}
		l.leap(31 * 24 * time.Hour)
		assert.Equal(t, workflow.Failed, l.run(runs[away]).Status)
		assert.Contains(t, l.run(runs[away]).Note, "in time")
		assert.True(t, strings.HasPrefix(l.run(runs[away]).Note, "not erased"))
		l.settle(away)
		assert.True(t, away.Managed())
	})
}
