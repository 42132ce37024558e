package practice_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// guardLab is a lab with a Guard.
type guardLab struct {
	*lab
	*practice.Guard
	mu   sync.Mutex
	logs bytes.Buffer
	lost bool
}

// Write takes what the server logs.
func (l *guardLab) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs.Write(b)
}

// guarded starts a server with a Guard. more are further workflows.
func guarded(l *lab, change func(*practice.Guard), more ...workflow.Any) *guardLab {
	out := &guardLab{lab: l}
	out.Guard = &practice.Guard{Audit: l.stores.Audit, Escrow: l.stores.Escrow, Vault: l.stores.Vault, Roster: l.stores.Roster, Runs: l.stores.Runs, Clock: l.now,
		Lost: func(context.Context, mdm.EnrollmentID) (bool, error) { return out.lost, nil }}
	if change != nil {
		change(out.Guard)
	}
	l.serve(func(cfg *server.Config) {
		cfg.Cooks = out.Cooks()
		cfg.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}, append(more, out.Workflows()...)...)
	out.Engine = l.server.Workflows()
	return out
}

func onGuard(t *testing.T, f func(t *testing.T, l *guardLab)) {
	onEveryStore(t, func(t *testing.T, l *lab) { f(t, guarded(l, nil)) })
}

// phone returns an enrolled device with an unlock token.
func (l *guardLab) phone() *mdmtest.Device {
	d := l.enrolled(mdmtest.Config{ProductName: "iPhone15,2"})
	l.settle(d)
	return d
}

func clearing(d *mdmtest.Device) practice.ClearPasscodeRequest {
	return practice.ClearPasscodeRequest{Enrollment: id(d), Actor: "anna", Reason: "ticket 4711", PossessionVerified: true}
}

// audited returns the actions in the audit log, with why and outcome, and verifies its chain.
func (l *guardLab) audited() []string {
	l.Helper()
	head, err := l.stores.Audit.Head(l.Context(), "")
	require.NoError(l, err)
	_, err = audit.Verify(l.stores.Audit.Entries(l.Context(), "", 0, 0), head)
	require.NoError(l, err)
	out := []string{}
	for e, err := range l.stores.Audit.Entries(l.Context(), "", 0, 0) {
		require.NoError(l, err)
		out = append(out, strings.TrimSuffix(e.Action+": "+e.Details["why"]+e.Details["outcome"], ": "))
	}
	return out
}

func forbidden(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "%v", err)
}

func TestBP15_ClearPasscode(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.phone()
		run, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.flush()
		var bodies []byte
		for e, err := range l.stores.Command.Entries(t.Context(), command.Query{From: id(d), Bodies: true}) {
			require.NoError(t, err)
			bodies = append(bodies, e.Body...)
		}
		assert.Contains(t, string(bodies), "ClearPasscode")
		assert.Equal(t, []string{"secret.requested"}, l.audited(), "nothing is released before the device asks")
		l.settle(d)
		assert.Equal(t, []string{"ClearPasscode"}, took(d))
		token, _ := d.History()[0].Order.Command["UnlockToken"].([]byte)
		require.Len(t, token, 64, "the device compared it with its own")
		assert.Equal(t, []string{"secret.requested", "secret.released", "secret.outcome: the passcode is cleared"}, l.audited())
		run, err = l.stores.Runs.Run(t.Context(), "", run.ID)
		require.NoError(t, err)
		assert.Equal(t, workflow.Done, run.Status)

		// Nowhere but in the escrow, before and after.
		stored, err := json.Marshal(l.runs(practice.GuardClearPasscode))
		require.NoError(t, err)
		events, err := json.Marshal(l.events(d))
		require.NoError(t, err)
		var log bytes.Buffer
		require.NoError(t, audit.WriteLines(&log, l.stores.Audit.Entries(t.Context(), "", 0, 0)))
		for e, err := range l.stores.Command.Entries(t.Context(), command.Query{From: id(d), Bodies: true, Results: true}) {
			require.NoError(t, err)
			bodies = append(append(bodies, e.Body...), e.Result...)
		}
		assert.NotEmpty(t, l.logs.String())
		for what, text := range map[string]string{"run": string(stored), "queue": string(bodies), "events": string(events), "audit": log.String(), "logs": l.logs.String()} {
			assert.NotContains(t, text, string(token), what)
			assert.NotContains(t, strings.Join(strings.Fields(text), ""), base64.StdEncoding.EncodeToString(token), what)
		}
		assert.Contains(t, string(events), "ticket 4711", "the read of the escrow tells why")
		read := 0
		for _, e := range l.events(d) {
			if e.Type == mdm.EventSecretRead {
				read++
			}
		}
		assert.Equal(t, 1, read)
	})
}

func TestBP15_Refused(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.phone()
		mac := l.enrolled(mdmtest.Config{ProductName: "MacBookPro18,3"})
		user := l.enrolled(mdmtest.Config{EnrollmentID: "user-enrollment", ProductName: "iPhone15,2"})
		l.settle(d, mac, user)
		for what, change := range map[string]func(*practice.ClearPasscodeRequest){
			"no actor":  func(r *practice.ClearPasscodeRequest) { r.Actor = " " },
			"no reason": func(r *practice.ClearPasscodeRequest) { r.Reason = "" },
			"no device": func(r *practice.ClearPasscodeRequest) { r.Enrollment = mdm.EnrollmentID{} },
		} {
			r := clearing(d)
			change(&r)
			_, err := l.ClearPasscode(t.Context(), r)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), what)
		}
		assert.Empty(t, l.audited())
		for _, c := range []struct {
			why    string
			change func(*practice.ClearPasscodeRequest)
		}{
			{"nobody has verified that the device is in its owner's hands", func(r *practice.ClearPasscodeRequest) { r.PossessionVerified = false }},
			{"there is no unlock token for macOS", func(r *practice.ClearPasscodeRequest) { r.Enrollment = id(mac) }},
			{"there is no unlock token for a user-enrollment", func(r *practice.ClearPasscodeRequest) { r.Enrollment = id(user) }},
			{"the enrollment is not known", func(r *practice.ClearPasscodeRequest) { r.Enrollment.Device = "unknown" }},
			{"nobody approves what he asks for himself", func(r *practice.ClearPasscodeRequest) { r.Approver = "Anna " }},
			{"the device is marked lost", func(*practice.ClearPasscodeRequest) { l.lost = true }},
		} {
			r := clearing(d)
			c.change(&r)
			_, err := l.ClearPasscode(t.Context(), r)
			forbidden(t, err)
			assert.ErrorContains(t, err, c.why)
			entries := l.audited()
			assert.Equal(t, []string{"secret.requested", "secret.refused: " + c.why}, entries[len(entries)-2:])
		}
		l.lost = false
		l.settle(d)
		assert.Empty(t, took(d))
		assert.Empty(t, l.runs(practice.GuardClearPasscode))
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err, "what was refused does not count")
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		forbidden(t, err)
		assert.ErrorContains(t, err, "there is an open request")
	})
}

func TestBP15_SharedIPad(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.enrolled(mdmtest.Config{ProductName: "iPad13,4", Respond: func(context.Context, mdmtest.Order) mdmtest.Answer {
			return mdmtest.Answer{Fields: map[string]any{"QueryResponses": map[string]any{"IsMultiUser": true}}}
		}})
		_, err := l.stores.Command.Enqueue(t.Context(), command.Order{Command: command.DeviceInformation{Queries: []command.DeviceInformationQuery{"IsMultiUser"}}, To: mdm.IDs(id(d))})
		require.NoError(t, err)
		l.settle(d)
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		forbidden(t, err)
		assert.ErrorContains(t, err, "Shared iPad")
	})
}

func TestBP15_LostMode(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		type none struct{}
		l := guarded(plain, nil, &workflow.Workflow[none]{Name: "lost-mode", First: "lost", Steps: map[string]func(context.Context, *workflow.Turn, *none) (workflow.Next, error){
			"lost": func(_ context.Context, turn *workflow.Turn, _ *none) (workflow.Next, error) {
				return workflow.Go("lost").At(turn.Now.AddDate(1, 0, 0)), nil
			},
		}})
		d := l.phone()
		run, _, err := l.Engine.Begin(t.Context(), "lost-mode", id(d), "", nil)
		require.NoError(t, err)
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		forbidden(t, err)
		_, err = l.Release(t.Context(), practice.ReleaseRequest{Secret: practice.GuardBootstrapToken, Enrollment: id(d), Actor: "anna", Reason: "r", PossessionVerified: true})
		forbidden(t, err)
		_, err = l.server.Workflows().Cancel(t.Context(), "", run.ID, "found again")
		require.NoError(t, err)
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		forbidden(t, err)
		require.NoError(t, l.Found(t.Context(), practice.FoundRequest{Enrollment: id(d), Actor: "bob", Reason: "it lies here"}))
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
	})
}

func TestBP15_LostBeforeDelivery(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.phone()
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.flush()
		l.lost = true
		l.settle(d)
		assert.Empty(t, took(d))
		assert.Equal(t, []string{"secret.requested", "secret.called-off: the device is marked lost", "secret.outcome: the command was withdrawn"}, l.audited())
		for _, e := range l.events(d) {
			assert.NotEqual(t, mdm.EventSecretRead, e.Type, "the escrow was not touched")
		}
		assert.Equal(t, workflow.Failed, l.runs(practice.GuardClearPasscode)[0].Status)
		assert.Equal(t, command.Canceled, l.queue(d)[0].State)
	})
}

// deafLog is a log that takes some entries only.
type deafLog struct {
	audit.Log
	takes func(audit.Entry) bool
}

func (l deafLog) Append(ctx context.Context, e audit.Entry) (audit.Entry, error) {
	if !l.takes(e) {
		return audit.Entry{}, errors.New("the log is full")
	}
	return l.Log.Append(ctx, e)
}

func TestBP15_NothingWithoutARecord(t *testing.T) {
	onEveryStore(t, func(t *testing.T, plain *lab) {
		full := true
		l := guarded(plain, func(g *practice.Guard) {
			g.Audit = deafLog{g.Audit, func(e audit.Entry) bool { return !full || e.Action != practice.GuardReleased }}
		})
		d := l.phone()
		require.NoError(t, d.SetBootstrapToken(t.Context(), []byte("bootstrap")))
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		_, err = l.Release(t.Context(), practice.ReleaseRequest{Secret: practice.GuardBootstrapToken, Enrollment: id(d), Actor: "bob", Reason: "r", PossessionVerified: true})
		require.ErrorContains(t, err, "the log is full")
		l.settle(d)
		assert.Empty(t, took(d))
		for _, e := range l.events(d) {
			assert.NotEqual(t, mdm.EventSecretRead, e.Type, "the escrow was not touched")
		}
		full = false
		l.advance(10*time.Minute, d)
		assert.Equal(t, []string{"ClearPasscode"}, took(d), "it was put off")
	})
}

func TestBP15_FailureIsRecordedAndTheTokenStays(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		fails := true
		d := l.enrolled(mdmtest.Config{ProductName: "iPhone15,2", Respond: func(context.Context, mdmtest.Order) mdmtest.Answer {
			if fails {
				return mdmtest.Fail("MCPasscodeErrorDomain", 5013, "quotes whatever it likes")
			}
			return mdmtest.Answer{}
		}})
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.settle(d)
		assert.Equal(t, []string{"secret.requested", "secret.released", `secret.outcome: the device failed: "MCPasscodeErrorDomain" 5013`}, l.audited())
		assert.Equal(t, workflow.Failed, l.runs(practice.GuardClearPasscode)[0].Status)

		fails = false
		_, err = d.Tell(t.Context(), "TokenUpdate", map[string]any{"Topic": topic, "Token": []byte("token"), "PushMagic": "magic"})
		require.NoError(t, err)
		_, err = l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.settle(d)
		entries := l.audited()
		assert.Equal(t, "secret.outcome: the passcode is cleared", entries[len(entries)-1], "the token outlives a failure and a TokenUpdate without one")
	})
}

func TestBP15_NotAskedFor(t *testing.T) {
	onGuard(t, func(t *testing.T, l *guardLab) {
		d := l.phone()
		_, err := l.ClearPasscode(t.Context(), clearing(d))
		require.NoError(t, err)
		l.advance(2 * time.Hour)
		l.settle(d)
		assert.Empty(t, took(d), "its owner went home")
		assert.Equal(t, []string{"secret.requested", "secret.outcome: the device did not answer in time"}, l.audited())
	})
}

func TestBP15_UnreadableAtRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	plain := &lab{T: t, start: time.Now().Truncate(time.Second)}
	db, err := sqlite.Open(t.Context(), path, &sqlite.Config{Sealer: sealer(t), Clock: plain.now})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	plain.stores = db.Stores()
	l := guarded(plain, nil)
	d := l.phone()
	require.NoError(t, l.Keep(t.Context(), practice.KeepRequest{Secret: practice.GuardActivationLockBypass, Enrollment: id(d), Value: mdm.SecretString("PLAIN-bypass"), Actor: "server", Reason: "told"}))
	_, err = l.ClearPasscode(t.Context(), clearing(d))
	require.NoError(t, err)
	l.settle(d)
	token, _ := d.History()[0].Order.Command["UnlockToken"].([]byte)
	require.NotEmpty(t, token)
	var raw []byte
	for _, name := range []string{path, path + "-wal"} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		raw = append(raw, data...)
	}
	require.Contains(t, string(raw), "secret.released", "the test must be reading the right files")
	for _, secret := range []string{string(token), base64.StdEncoding.EncodeToString(token), "PLAIN-bypass", base64.StdEncoding.EncodeToString([]byte("PLAIN-bypass"))} {
		assert.False(t, bytes.Contains(raw, []byte(secret)))
	}
}
