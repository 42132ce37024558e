package storagetest

import (
	"context"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/push"
)

func faultCases() []testCase {
	return []testCase{
		{name: "a canceled context changes nothing",
			why: "an error means that nothing happened; and no outage may ever read as Unmanaged, which unenrolls devices",
			run: canceledContexts},
		{name: "a canceled context ends a list",
			why: "iterators: a non-nil error is the last thing that they yield",
			run: canceledLists},
		{name: "a context canceled half-way",
			why: "checkin.Store: all of the plan or nothing, and the error says which",
			run: canceledHalfWay},
		{name: "a deadline that passed",
			why: "server deadlines are contexts: the device repeats what was not done",
			run: passedDeadline},
	}
}

// calls is every method that writes, called with a context.
func calls(w *world, d *device, uuid string) map[string]func(context.Context) error {
	admit := func(*identity.Standing) identity.Verdict { return identity.Verdict{} }
	r := report(d, w.now())
	r.Status, r.CommandUUID = command.StatusAcknowledged, uuid
	all := map[string]func(context.Context) error{
		"Update": func(ctx context.Context) error {
			return w.Checkin.Update(ctx, checkin.Key{ID: d.id}, func(*checkin.Situation) (checkin.Plan, error) { return everything(w, d), nil })
		},
		"Exchange": func(ctx context.Context) error { _, err := w.Command.Exchange(ctx, r, admit); return err },
		"Enqueue":  func(ctx context.Context) error { _, err := w.Command.Enqueue(ctx, to(security(), d)); return err },
		"Cancel":   func(ctx context.Context) error { _, err := w.Command.Cancel(ctx, uuid, mdm.Targets{}); return err },
	}
	if w.Escrow != nil {
		all["UnlockToken"] = func(ctx context.Context) error { _, err := w.Escrow.UnlockToken(ctx, d.id, "x"); return err }
		all["BootstrapToken"] = func(ctx context.Context) error { _, err := w.Escrow.BootstrapToken(ctx, d.id, "x"); return err }
	}
	if w.Roster != nil {
		all["Enrollment"] = func(ctx context.Context) error { _, err := w.Roster.Enrollment(ctx, d.id); return err }
	}
	if w.Identity != nil {
		all["Resolve"] = func(ctx context.Context) error { _, err := w.Identity.Resolve(ctx, "", d.fingerprint()); return err }
	}
	if w.Deny != nil {
		all["Deny"] = func(ctx context.Context) error { return w.Deny.Deny(ctx, identity.Denial{Device: d.id.Device}) }
		all["Allow"] = func(ctx context.Context) error { return w.Deny.Allow(ctx, identity.Denial{Device: d.id.Device}) }
		all["Denials"] = func(ctx context.Context) error { _, err := w.Deny.Denials(ctx, ""); return err }
	}
	if w.SCEP != nil {
		all["AddChallenge"] = func(ctx context.Context) error { return w.SCEP.AddChallenge(ctx, scep.Challenge{Hash: hash("x")}) }
		all["Redeem"] = func(ctx context.Context) error {
			_, _, err := w.SCEP.Redeem(ctx, hash("x"), hash("y"), time.Time{})
			return err
		}
		all["Record"] = func(ctx context.Context) error {
			return w.SCEP.Record(ctx, w.issue([32]byte{}, hash("k"), "der"))
		}
		all["Spend"] = func(ctx context.Context) error { return w.SCEP.Spend(ctx, hash("x"), hash("y")) }
		all["Certificate"] = func(ctx context.Context) error { _, err := w.SCEP.Certificate(ctx, "", d.fingerprint()); return err }
	}
	moreCalls(w, d, all)
	return all
}

func moreCalls(w *world, d *device, all map[string]func(context.Context) error) {
	if w.Push != nil {
		all["DuePushes"] = func(ctx context.Context) error { _, err := w.Push.DuePushes(ctx, w.now(), 10, lease); return err }
		all["Feedback"] = func(ctx context.Context) error {
			return w.Push.Feedback(ctx, []push.Result{{Target: push.Target{Enrollment: d.id}, Outcome: push.Invalid, Since: w.now()}})
		}
		all["Wake"] = func(ctx context.Context) error { _, err := w.Push.Wake(ctx, mdm.IDs(d.id), w.now()); return err }
	}
	if w.PushCertificates != nil {
		cert := w.pushCertificate(topic, w.now().AddDate(1, 0, 0))
		all["SavePushCertificate"] = func(ctx context.Context) error { return w.PushCertificates.SavePushCertificate(ctx, cert) }
		all["PushCertificate"] = func(ctx context.Context) error { _, err := w.PushCertificates.PushCertificate(ctx, topic); return err }
		all["PushTopics"] = func(ctx context.Context) error { _, err := w.PushCertificates.PushTopics(ctx); return err }
	}
	if w.Events != nil {
		all["Lease"] = func(ctx context.Context) error { _, err := w.Events.Lease(ctx, "c", 10, lease); return err }
		all["Ack"] = func(ctx context.Context) error { return w.Events.Ack(ctx, "c", []mdm.Event{{Seq: 1}}) }
		all["Events"] = func(ctx context.Context) error { _, err := w.Events.Events(ctx, "", 0, 10); return err }
	}
	if w.Sessions != nil {
		all["CreateEnrollmentSession"] = func(ctx context.Context) error { return w.Sessions.CreateEnrollmentSession(ctx, openSession("a")) }
		all["EnrollmentSession"] = func(ctx context.Context) error { _, err := w.Sessions.EnrollmentSession(ctx, "a"); return err }
		all["ChangeEnrollmentSession"] = func(ctx context.Context) error {
			_, err := w.Sessions.ChangeEnrollmentSession(ctx, "a", func(*enroll.Session) error { return nil })
			return err
		}
	}
	if w.Declarations != nil {
		all["PutDeclarations"] = func(ctx context.Context) error { return w.Declarations.PutDeclarations(ctx, d.id, declared("a", "1")) }
		all["DeleteDeclarations"] = func(ctx context.Context) error { return w.Declarations.DeleteDeclarations(ctx, d.id, 0, "a") }
		all["DeclarationGroups"] = func(ctx context.Context) error { _, err := w.Declarations.DeclarationGroups(ctx, d.id); return err }
	}
	if w.Vault != nil {
		all["PutSecret"] = func(ctx context.Context) error { return w.Vault.PutSecret(ctx, "a", mdm.SecretString("x")) }
		all["Secret"] = func(ctx context.Context) error { _, err := w.Vault.Secret(ctx, "a"); return err }
		all["CreateSecret"] = func(ctx context.Context) error {
			_, err := w.Vault.CreateSecret(ctx, "a", mdm.SecretString("x"))
			return err
		}
	}
}

func canceledContexts(w *world) {
	d := w.enrolled("D")
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.unlockToken("unlock")
	before := w.snapshot(d)
	for name, call := range calls(w, d, uuid) {
		err := call(canceled())
		require.Error(w, err, name)
		assert.NotEqual(w, mdm.Unmanaged, mdm.CodeOf(err), name)
		assert.Equal(w, before, w.snapshot(d), "%s changed something", name)
	}
	if w.Vault != nil {
		assert.Empty(w, w.secret("a"))
	}
	if w.Sessions != nil {
		w.noSession("a")
	}
	if w.Escrow != nil {
		w.expectSecrets(d.id, "unlock", "")
	}
	if w.Events != nil {
		assert.NotEmpty(w, w.lease("c", 10, lease), "nothing was leased")
	}
	d.expect(d.answer("Acknowledged", uuid), "")
}

func canceledLists(w *world) {
	d := w.enrolled("D")
	w.queued(security(), d)
	lists := map[string]func(context.Context) []error{
		"Entries": func(ctx context.Context) (errs []error) {
			for _, err := range w.Command.Entries(ctx, command.Query{}) {
				errs = append(errs, err)
			}
			return errs
		},
		"Aside": func(ctx context.Context) (errs []error) {
			for _, err := range w.Command.Aside(ctx, "", 0, 0) {
				errs = append(errs, err)
			}
			return errs
		},
	}
	if w.Roster != nil {
		lists["Enrollments"] = func(ctx context.Context) (errs []error) {
			for _, err := range w.Roster.Enrollments(ctx, mdm.Filter{}) {
				errs = append(errs, err)
			}
			return errs
		}
	}
	for name, list := range lists {
		errs := list(canceled())
		require.Len(w, errs, 1, "%s yields the error and nothing else", name)
		require.Error(w, errs[0], name)
		assert.NotEqual(w, mdm.Unmanaged, mdm.CodeOf(errs[0]), name)
	}
}

func canceledHalfWay(w *world) {
	d := w.enrolled("D")
	for range 5 {
		before := w.snapshot(d)
		generation := w.row(d.id).Generation
		ctx, cancel := context.WithCancel(w.Context())
		err := w.Checkin.Update(ctx, checkin.Key{ID: d.id}, func(s *checkin.Situation) (checkin.Plan, error) {
			cancel()
			row := *s.Device
			row.Generation++
			return checkin.Plan{Enrollments: []mdm.Enrollment{row}, Events: []mdm.Event{{Type: mdm.EventReenrolled, At: w.now(), Enrollment: d.id}}}, nil
		})
		if err != nil {
			assert.NotEqual(w, mdm.Unmanaged, mdm.CodeOf(err))
			assert.Equal(w, before, w.snapshot(d), "it failed: nothing happened")
			continue
		}
		assert.Equal(w, generation+1, w.row(d.id).Generation, "it succeeded: all of it happened")
		if w.Events != nil {
			assert.Equal(w, before.events+1, len(w.events(d.id)))
		}
	}
}

func passedDeadline(w *world) {
	d := w.enrolled("D")
	ctx, cancel := context.WithDeadline(w.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := w.Command.Enqueue(ctx, to(security(), d))
	require.Error(w, err)
	assert.ErrorIs(w, err, context.DeadlineExceeded, "the cause is there")
	assert.Empty(w, w.queue(d))
}
