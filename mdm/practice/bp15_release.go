package practice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// ReleaseRequest asks for a secret of a device to be given out.
type ReleaseRequest struct {
	Secret     GuardedSecret
	Enrollment mdm.EnrollmentID // of a user: it means the device
	Actor      string           // who asks; required
	Reason     string           // why; required
	// PossessionVerified says that Actor has made sure that the device is in the hands of its owner. It must be true.
	PossessionVerified bool
	// Approver, if not empty, is who has to approve it, who is not Actor. Empty: anybody else, if Guard.Approval has the kind.
	Approver string
	// Approved is the run that [ApprovalNeeded] named, when this very request, with the same Reason, is made again after the approval.
	// It is good once.
	Approved string
}

// Release gives a secret out: the one that the device has, as far as is known. It is in the audit log before. The error is
// NotFound if there is none, Malformed for a request without an actor, a reason or a kind that is given out, and Forbidden if it is
// refused, or has to be approved first ([ApprovalNeeded]). What was given out should be rotated when it has been used; see
// [Guard.Rotate].
func (g *Guard) Release(ctx context.Context, r ReleaseRequest) (mdm.Secret, error) {
	r.Enrollment = r.Enrollment.DeviceID() // the secrets, the limit and the marks are the device's, whoever of its users is named
	return g.releaseOne(ctx, guardRelease{ReleaseRequest: r, op: "practice.Release", read: func(ctx context.Context, why string) ([]mdm.Secret, error) {
		if r.Secret == GuardBootstrapToken {
			token, err := g.Escrow.BootstrapToken(ctx, r.Enrollment, why)
			return guardNotZero(token), err
		}
		shelf, err := g.shelf(ctx, r.Enrollment, r.Secret)
		if err != nil {
			return nil, err
		}
		current, err := shelf.current(ctx)
		return guardNotZero(current), err
	}})
}

// ReleaseAll is Release for everything that was ever kept of a secret, newest first: former ones, and those of which it is not known
// whether the device took them. It is for a device that does not take the current one, and counts as one release.
func (g *Guard) ReleaseAll(ctx context.Context, r ReleaseRequest) ([]mdm.Secret, error) {
	const op = "practice.ReleaseAll"
	r.Enrollment = r.Enrollment.DeviceID()
	if r.Secret == GuardBootstrapToken {
		return nil, mdm.Errorf(mdm.Malformed, op, "former bootstrap tokens are not given out")
	}
	return g.release(ctx, guardRelease{ReleaseRequest: r, op: op, what: "all", read: func(ctx context.Context, _ string) ([]mdm.Secret, error) {
		shelf, err := g.shelf(ctx, r.Enrollment, r.Secret)
		if err != nil {
			return nil, err
		}
		return shelf.all(ctx)
	}})
}

// releasePIN is Release for the PIN of a run, which read reads.
func (g *Guard) releasePIN(ctx context.Context, op string, kind GuardedSecret, r PINRequest, read func(context.Context) (mdm.Secret, error)) (mdm.Secret, error) {
	request := ReleaseRequest{Secret: kind, Enrollment: r.Enrollment.DeviceID(), Actor: r.Actor, Reason: r.Reason,
		PossessionVerified: r.PossessionVerified, Approver: r.Approver, Approved: r.Approved}
	return g.releaseOne(ctx, guardRelease{ReleaseRequest: request, op: op, what: "run " + r.Run, pin: true,
		read: func(ctx context.Context, _ string) ([]mdm.Secret, error) {
			pin, err := read(ctx)
			return guardNotZero(pin), err
		}})
}

func guardNotZero(s mdm.Secret) []mdm.Secret {
	if s.IsZero() {
		return nil
	}
	return []mdm.Secret{s}
}

// guardRelease is a request on its way.
type guardRelease struct {
	ReleaseRequest
	op   string
	what string // empty: the current one; "all"; or "run" and whose PIN it is. An approval is for that and nothing else
	pin  bool   // of a run
	// read reads secrets; why is for the record of that.
	read func(ctx context.Context, why string) ([]mdm.Secret, error)
}

func (r *guardRelease) ask() guardAsk {
	return guardAsk{op: r.op, secret: r.Secret, what: r.what, enrollment: r.Enrollment, actor: r.Actor, reason: r.Reason, possession: r.PossessionVerified,
		objects: func(context.Context) (string, error) { return guardSelf(r.Approver, r.Actor), nil }}
}

func (g *Guard) releaseOne(ctx context.Context, r guardRelease) (mdm.Secret, error) {
	all, err := g.release(ctx, r)
	if err != nil {
		return mdm.Secret{}, err
	}
	return all[0], nil
}

// release records, then reads, and then records what came of it. What it cannot say that of, it keeps.
func (g *Guard) release(ctx context.Context, r guardRelease) ([]mdm.Secret, error) {
	if !r.Secret.kept() && r.Secret != GuardBootstrapToken && !r.pin {
		return nil, mdm.Errorf(mdm.Malformed, r.op, "a secret of the kind %q is not given out", r.Secret)
	}
	request, err := g.granted(ctx, r)
	if err != nil {
		return nil, err
	}
	details := guardDetails(r.Secret, request)
	if r.what != "" {
		details["of"] = guardClip(r.what)
	}
	e, err := g.record(ctx, GuardReleased, r.Actor, r.Reason, r.Enrollment, details)
	if err != nil {
		return nil, err
	}
	out, err := r.read(ctx, fmt.Sprintf("audit entry %d: %s", e.Number, r.Reason))
	status, outcome := guardStatusFailed, "there is none"
	switch {
	case err != nil:
		outcome = "it could not be read"
	case len(out) == 0:
		err = &mdm.Error{Code: mdm.NotFound, Op: r.op, Enrollment: r.Enrollment, Err: errors.New("there is none")}
	default:
		status, outcome = guardStatusDone, "it was given out"
	}
	if err := errors.Join(err, g.outcome(ctx, r.ask(), request, status, outcome)); err != nil {
		return nil, err
	}
	return out, nil
}

// granted returns the number of a request that is let through: a new one, or one that was approved meanwhile.
func (g *Guard) granted(ctx context.Context, r guardRelease) (int64, error) {
	if r.Approved != "" {
		return g.redeem(ctx, r)
	}
	a := r.ask()
	request, err := g.admit(ctx, a)
	if err != nil || !g.second(r.Secret, r.Approver) {
		return request, err
	}
	run, err := g.petition(ctx, a, GuardReleaseSecret, "release/"+string(r.Secret)+"/"+r.what, guardPetition{Request: request, Secret: r.Secret, What: r.what,
		Actor: r.Actor, Reason: r.Reason, Approver: r.Approver, Second: true})
	if err != nil {
		return 0, err
	}
	return 0, &mdm.Error{Code: mdm.Forbidden, Op: r.op, Enrollment: r.Enrollment, Err: &ApprovalNeeded{Run: run.ID}}
}

// redeem uses an approval up, which ends its run. What spoke against the request when it was made is looked at again.
func (g *Guard) redeem(ctx context.Context, r guardRelease) (int64, error) {
	if strings.TrimSpace(r.Actor) == "" || strings.TrimSpace(r.Reason) == "" {
		return 0, mdm.Errorf(mdm.Malformed, r.op, "an actor and a reason are required")
	}
	run, err := g.Runs.Run(ctx, r.Enrollment.Tenant, r.Approved)
	if err != nil && mdm.CodeOf(err) != mdm.NotFound {
		return 0, err
	}
	why, s := r.mismatch(&run)
	if why == "" && !r.PossessionVerified {
		why = guardNoPossession
	}
	if why == "" {
		lost, err := g.lost(ctx, r.Enrollment)
		if err != nil {
			return 0, err
		}
		if lost {
			why = guardLost
		}
	}
	if why == "" {
		now := g.now()
		_, err := g.Runs.ChangeRun(ctx, r.Enrollment.Tenant, r.Approved, func(open *workflow.Run) ([]string, error) {
			if why, s = r.mismatch(open); why == "" && !now.Before(s.Until) {
				why = "it was approved too long ago"
			}
			if why == "" {
				open.End(workflow.Done, "fetched", now)
			}
			return nil, nil
		})
		switch {
		case mdm.CodeOf(err) == mdm.NotFound && err != nil: // somebody was quicker
			why = guardNotWaiting
		case err != nil:
			return 0, err
		}
	}
	if why == "" {
		return s.Request, nil
	}
	details := guardDetails(r.Secret, s.Request, "run", r.Approved, "why", why)
	_, err = g.record(ctx, GuardCalledOff, r.Actor, r.Reason, r.Enrollment, details)
	return 0, errors.Join(&mdm.Error{Code: mdm.Forbidden, Op: r.op, Enrollment: r.Enrollment, Err: errors.New(why)}, err)
}

const guardNotWaiting = "there is no approval of this request that waits to be used"

// mismatch says why a run is no approval of r.
func (r *guardRelease) mismatch(run *workflow.Run) (why string, s guardPetition) {
	if run.Workflow != GuardReleaseSecret || run.Enrollment != r.Enrollment || run.Status != workflow.Open || json.Unmarshal(run.State, &s) != nil {
		return guardNotWaiting, guardPetition{}
	}
	switch {
	case s.Secret != r.Secret || s.What != r.what || !guardSame(s.Actor, r.Actor):
		return guardNotWaiting, guardPetition{}
	case strings.TrimSpace(s.Reason) != strings.TrimSpace(r.Reason): // it is what the approver has agreed to
		return "it is asked for with another reason than it was approved for", s
	case run.Step != "approved" || s.ApprovedBy == "":
		return "it is not approved", s
	}
	return "", s
}

// releasing is the workflow of a release that somebody else has to approve. It outlives the enrollment, as secrets do.
func (g *Guard) releasing() *workflow.Workflow[guardPetition] {
	steps := g.petitionSteps(func(t *workflow.Turn, s *guardPetition) workflow.Next {
		s.Until = t.Now.Add(waitOr(g.ReleaseWait, time.Hour))
		return workflow.Go("approved").At(s.Until).Note("approved by " + s.ApprovedBy + ", and not fetched yet")
	})
	steps["approved"] = func(ctx context.Context, t *workflow.Turn, s *guardPetition) (workflow.Next, error) {
		if t.Now.Before(s.Until) {
			return workflow.Go("approved").At(s.Until), nil
		}
		return g.petitionEnd(ctx, t, s, guardStatusFailed, "nobody fetched it in time")
	}
	return &workflow.Workflow[guardPetition]{Name: GuardReleaseSecret, First: "begin", Listens: []mdm.EventType{guardApproval}, Steps: steps, Outlives: true}
}

// kept reports whether secrets of a kind are in the vault.
func (k GuardedSecret) kept() bool {
	switch k {
	case GuardRecoveryLock, GuardFirmwarePassword, GuardFileVaultKey, GuardAdminPassword, GuardActivationLockBypass, GuardDeviceLockPIN:
		return true
	}
	return false
}

// KeepRequest brings a secret that the device has: a bypass code that it told, the PIN that it was locked with, a recovery key from a
// profile's escrow.
type KeepRequest struct {
	Secret     GuardedSecret    // one that is kept in the vault
	Enrollment mdm.EnrollmentID // of a user: it means the device
	Value      mdm.Secret
	Actor      string // who brings it, or what; required
	Reason     string // required
}

// Keep stores a secret as the current one. Former ones stay. It takes secrets of enrolled devices only: others cannot be believed.
// The error is Forbidden for others, and Malformed if something is missing.
func (g *Guard) Keep(ctx context.Context, r KeepRequest) error {
	const op = "practice.Keep"
	r.Enrollment = r.Enrollment.DeviceID()
	if !r.Secret.kept() || r.Value.IsZero() || len(r.Value.Reveal()) > guardMaxValue {
		return mdm.Errorf(mdm.Malformed, op, "a kind of secret that is kept, and a value of at most %d bytes, are required", guardMaxValue)
	}
	if strings.TrimSpace(r.Actor) == "" || strings.TrimSpace(r.Reason) == "" {
		return mdm.Errorf(mdm.Malformed, op, "an actor and a reason are required")
	}
	e, err := g.Roster.Enrollment(ctx, r.Enrollment)
	if err != nil {
		return err
	}
	if e.State != mdm.Enrolled {
		return mdm.Errorf(mdm.Forbidden, op, "the enrollment is %s", e.State)
	}
	shelf, err := g.shelf(ctx, r.Enrollment, r.Secret)
	if err != nil {
		return err
	}
	if current, err := shelf.current(ctx); err != nil || current.Equal(r.Value) {
		return err
	}
	entry, err := g.record(ctx, GuardKept, r.Actor, r.Reason, r.Enrollment, map[string]string{"secret": string(r.Secret)})
	if err != nil {
		return err
	}
	return shelf.keep(ctx, "entry "+strconv.FormatInt(entry.Number, 10), r.Value)
}

// guardMaxValue is the longest secret that is kept, in bytes.
const guardMaxValue = 64 << 10
