package practice_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// lockedMac keeps a recovery lock as a Mac does. Its fields may be changed between polls.
type lockedMac struct {
	password string
	vanish   bool // it does what it is told, and its answer is lost
	fail     bool // it does nothing and says so
	lie      bool // it does nothing and acknowledges
	silent   bool // it does not verify
}

func (m *lockedMac) respond(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	switch o.RequestType {
	case "SetRecoveryLock", "SetFirmwarePassword":
		current, _ := o.Command["CurrentPassword"].(string)
		if m.fail || current != m.password {
			return mdmtest.Fail("MCMDMErrorDomain", 12021, "wrong password")
		}
		if !m.lie {
			m.password, _ = o.Command["NewPassword"].(string)
		}
		if o.RequestType == "SetFirmwarePassword" {
			return mdmtest.Answer{Fields: map[string]any{"SetFirmwarePassword": map[string]any{"PasswordChanged": !m.lie}}}
		}
		return mdmtest.Answer{Vanish: m.vanish}
	case "VerifyRecoveryLock":
		if m.silent {
			return mdmtest.Fail("MCMDMErrorDomain", 1, "no")
		}
		return mdmtest.Answer{Fields: map[string]any{"PasswordVerified": o.Command["Password"] == m.password}}
	}
	return mdmtest.Answer{}
}

func (l *guardLab) mac(respond func(context.Context, mdmtest.Order) mdmtest.Answer) *mdmtest.Device {
	d := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3", OSVersion: "15.0", Respond: respond})
	l.settle(d)
	return d
}

// kept returns the current value of a secret, empty if there is none, and all others.
func (l *guardLab) kept(d *mdmtest.Device, kind practice.GuardedSecret) (current string, all []string) {
	l.Helper()
	r := practice.ReleaseRequest{Secret: kind, Enrollment: id(d), Actor: "the test", Reason: "to see", PossessionVerified: true}
	s, err := l.Release(l.Context(), r)
	if err != nil {
		require.Equal(l, mdm.NotFound, mdm.CodeOf(err), "%v", err)
	}
	values, err := l.ReleaseAll(l.Context(), r)
	if err != nil {
		require.Equal(l, mdm.NotFound, mdm.CodeOf(err), "%v", err)
	}
	for _, v := range values {
		all = append(all, string(v.Reveal()))
	}
	return string(s.Reveal()), all
}

func (l *guardLab) rotate(d *mdmtest.Device, kind practice.GuardedSecret) workflow.Run {
	l.Helper()
	run, err := l.Rotate(l.Context(), practice.RotateRequest{Secret: kind, Enrollment: id(d), Actor: "anna", Reason: "it is due", GUID: "GUID"})
	require.NoError(l, err)
	return run
}

func (l *guardLab) run(r workflow.Run) workflow.Run {
	l.Helper()
	r, err := l.stores.Runs.Run(l.Context(), "", r.ID)
	require.NoError(l, err)
	return r
}

func unlimited(g *practice.Guard) { g.Limit = -1 }

func onRotation(t *testing.T, f func(t *testing.T, l *guardLab)) {
	onEveryStore(t, func(t *testing.T, l *lab) { f(t, guarded(l, unlimited)) })
}

func TestBP15_RecoveryLock(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		d := l.mac(m.respond)
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.flush()
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Empty(t, current, "it is not the Mac's yet")
		require.Len(t, all, 1, "but it is kept before the Mac hears of it")
		l.settle(d)
		first, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, first)
		assert.Regexp(t, "^[A-Z2-9]{20}$", first)
		assert.Equal(t, []string{first}, all)
		assert.Equal(t, []string{"SetRecoveryLock", "VerifyRecoveryLock"}, took(d))
		assert.Equal(t, workflow.Done, l.run(run).Status)

		l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		second, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, second)
		assert.Equal(t, []string{second, first}, all, "the former one is kept")

		for what, c := range map[string]struct {
			change func()
			note   string
		}{
			"it fails":           {func() { m.fail = true }, "as far as is known it has the former secret"},
			"it did not do it":   {func() { m.lie = true }, "the former one is current again"},
			"it does not verify": {func() { m.fail, m.silent = true, true }, "as far as is known it has the former secret"},
		} {
			*m = lockedMac{password: second}
			c.change()
			run = l.rotate(d, practice.GuardRecoveryLock)
			l.settle(d)
			got, _ := l.kept(d, practice.GuardRecoveryLock)
			assert.Equal(t, second, got, what)
			assert.Equal(t, workflow.Failed, l.run(run).Status, what)
			assert.Contains(t, l.run(run).Note, c.note)
		}
		*m = lockedMac{password: second, silent: true}
		l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		got, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, got, "its word is enough if it does not verify")
		assert.NotEqual(t, second, got)
		assert.Len(t, all, 6)

		stored, err := json.Marshal(l.runs(practice.GuardRotateSecret))
		require.NoError(t, err)
		events, err := json.Marshal(l.events(d))
		require.NoError(t, err)
		for e, err := range l.stores.Command.Entries(t.Context(), command.Query{From: id(d), Bodies: true, Results: true}) {
			require.NoError(t, err)
			stored = append(append(stored, e.Body...), e.Result...)
		}
		for _, secret := range all {
			for _, text := range []string{string(stored), string(events), l.logs.String()} {
				assert.NotContains(t, text, secret)
			}
		}
	})
}

func TestBP15_KilledBetweenSendAndAcknowledge(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		l := guarded(plain, unlimited)
		m := &lockedMac{}
		d := l.mac(m.respond)
		require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Value: mdm.SecretString("former"), Actor: "import", Reason: "taken over"}))
		m.password = "former"
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.flush()
		m.vanish = true
		_ = d.Poll(t.Context())
		m.vanish = false
		require.NotEqual(t, "former", m.password, "the Mac did it, and its answer is lost")
		l = guarded(plain, unlimited) // what was in the memory of the process is gone
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, "former", current)
		require.Len(t, all, 2)
		assert.Equal(t, []string{m.password, "former"}, all, "what the Mac has is kept")
		l.settle(d) // it is told again, with a password that is not right any more
		current, _ = l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, current, "it was asked")
		assert.Equal(t, workflow.Done, l.run(run).Status)
	})
}

func TestBP15_AnotherAcknowledgmentChangesNothing(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		notNow := true
		d := l.mac(func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			if notNow && o.RequestType == "SetRecoveryLock" && o.Command["CurrentPassword"] == nil {
				return mdmtest.NotNow()
			}
			return m.respond(ctx, o)
		})
		run := l.rotate(d, practice.GuardRecoveryLock)
		_, err := l.Rotate(t.Context(), practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "bob", Reason: "at once"})
		forbidden(t, err)
		l.flush()
		for _, c := range []command.Command{command.SetRecoveryLock{CurrentPassword: mdm.SecretString("x"), NewPassword: mdm.SecretString("of another server")}, command.SecurityInfo{}} {
			_, err := l.stores.Command.Enqueue(t.Context(), command.Order{Command: c, To: mdm.IDs(id(d))})
			require.NoError(t, err)
		}
		m.password = "x"
		_, err = d.Report(t.Context(), map[string]any{"Status": "Acknowledged", "CommandUUID": "unknown"})
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, d.Poll(t.Context()))
			l.flush()
		}
		assert.Equal(t, "of another server", m.password)
		current, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Empty(t, current)
		assert.Len(t, all, 1)
		assert.Equal(t, workflow.Open, l.run(run).Status, "NotNow is waiting")
		notNow, m.password = false, ""
		l.advance(2*time.Hour, d)
		current, _ = l.kept(d, practice.GuardRecoveryLock)
		assert.Equal(t, m.password, current)
	})
}

func TestBP15_RotationUnanswered(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d, phone := l.mac((&lockedMac{}).respond), l.phone()
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.advance(7*24*time.Hour + time.Hour)
		assert.Equal(t, workflow.Failed, l.run(run).Status)
		_, all := l.kept(d, practice.GuardRecoveryLock)
		assert.Len(t, all, 1)
		run = l.rotate(phone, practice.GuardRecoveryLock)
		l.settle(phone)
		assert.Equal(t, workflow.Failed, l.run(run).Status)
		assert.Contains(t, l.run(run).Note, "it cannot be sent")
	})
}

func TestBP15_FirmwareAndAdminPassword(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		m := &lockedMac{}
		d := l.mac(m.respond)
		l.rotate(d, practice.GuardFirmwarePassword)
		l.settle(d)
		first, _ := l.kept(d, practice.GuardFirmwarePassword)
		assert.Equal(t, m.password, first)
		m.lie = true
		run := l.rotate(d, practice.GuardFirmwarePassword)
		l.settle(d)
		current, all := l.kept(d, practice.GuardFirmwarePassword)
		assert.Equal(t, first, current, "it acknowledged, but did not change it")
		assert.Len(t, all, 2)
		assert.Equal(t, workflow.Failed, l.run(run).Status)

		run = l.rotate(d, practice.GuardAdminPassword)
		l.settle(d)
		assert.Equal(t, workflow.Done, l.run(run).Status, l.run(run).Note)
		current, _ = l.kept(d, practice.GuardAdminPassword)
		assert.Len(t, current, 20)
		sent := d.History()[len(d.History())-1].Order
		assert.Equal(t, "SetAutoAdminPassword", sent.RequestType)
		assert.Equal(t, "GUID", sent.Command["GUID"])
		assert.NotEmpty(t, sent.Command["passwordHash"])
	})
}

func TestBP15_RotationRefused(t *testing.T) {
	onRotation(t, func(t *testing.T, l *guardLab) {
		d := l.mac(nil)
		for what, c := range map[string]struct {
			code   mdm.Code
			change func(*practice.RotateRequest)
		}{
			"no actor":       {mdm.Malformed, func(r *practice.RotateRequest) { r.Actor = "" }},
			"no reason":      {mdm.Malformed, func(r *practice.RotateRequest) { r.Reason = " " }},
			"not rotated":    {mdm.Malformed, func(r *practice.RotateRequest) { r.Secret = practice.GuardUnlockToken }},
			"no GUID":        {mdm.Malformed, func(r *practice.RotateRequest) { r.Secret = practice.GuardAdminPassword }},
			"no certificate": {mdm.Internal, func(r *practice.RotateRequest) { r.Secret = practice.GuardFileVaultKey }},
			"unknown":        {mdm.NotFound, func(r *practice.RotateRequest) { r.Enrollment.Device = "unknown" }},
		} {
			r := practice.RotateRequest{Secret: practice.GuardRecoveryLock, Enrollment: id(d), Actor: "anna", Reason: "r"}
			c.change(&r)
			_, err := l.Rotate(t.Context(), r)
			require.Error(t, err, what)
			assert.Equal(t, c.code, mdm.CodeOf(err), what)
		}
		assert.Empty(t, l.audited())
		l.Guard.Generate = func(practice.GuardedSecret) (mdm.Secret, error) { return mdm.Secret{}, nil }
		run := l.rotate(d, practice.GuardRecoveryLock)
		l.settle(d)
		assert.Equal(t, 1, l.run(run).Attempts, "it is tried again")
		assert.Empty(t, took(d))
	})
}
