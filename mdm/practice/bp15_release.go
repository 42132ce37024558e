package practice

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// ReleaseRequest asks for a secret of a device to be given out.
type ReleaseRequest struct {
	Secret     GuardedSecret
	Enrollment mdm.EnrollmentID // of a user: it means the device
	Actor      string           // who asks; required
	Reason     string           // why; required
	// PossessionVerified says that Actor has made sure that the device is in the hands of its owner. It must be true.
	PossessionVerified bool
}

// Release gives a secret out: the one that the device has, as far as is known. It is in the audit log before. The error is
// NotFound if there is none, Malformed for a request without an actor, a reason or a kind that is given out, and Forbidden if it is
// refused. What was given out should be rotated when it has been used; see [Guard.Rotate].
func (g *Guard) Release(ctx context.Context, r ReleaseRequest) (mdm.Secret, error) {
	r.Enrollment = r.Enrollment.DeviceID() // the secrets, the limit and the marks are the device's, whoever of its users is named
	all, err := g.release(ctx, "practice.Release", r, func(ctx context.Context, why string) ([]mdm.Secret, error) {
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
	})
	if err != nil {
		return mdm.Secret{}, err
	}
	return all[0], nil
}

// ReleaseAll is Release for everything that was ever kept of a secret, newest first: former ones, and those of which it is not known
// whether the device took them. It is for a device that does not take the current one, and counts as one release.
func (g *Guard) ReleaseAll(ctx context.Context, r ReleaseRequest) ([]mdm.Secret, error) {
	const op = "practice.ReleaseAll"
	r.Enrollment = r.Enrollment.DeviceID()
	if r.Secret == GuardBootstrapToken {
		return nil, mdm.Errorf(mdm.Malformed, op, "former bootstrap tokens are not given out")
	}
	return g.release(ctx, op, r, func(ctx context.Context, _ string) ([]mdm.Secret, error) {
		shelf, err := g.shelf(ctx, r.Enrollment, r.Secret)
		if err != nil {
			return nil, err
		}
		return shelf.all(ctx)
	})
}

func guardNotZero(s mdm.Secret) []mdm.Secret {
	if s.IsZero() {
		return nil
	}
	return []mdm.Secret{s}
}

// guardRead reads secrets; why is for the record of that.
type guardRead func(ctx context.Context, why string) ([]mdm.Secret, error)

// release records, and then reads.
func (g *Guard) release(ctx context.Context, op string, r ReleaseRequest, read guardRead) ([]mdm.Secret, error) {
	if !r.Secret.kept() && r.Secret != GuardBootstrapToken {
		return nil, mdm.Errorf(mdm.Malformed, op, "a secret of the kind %q is not given out", r.Secret)
	}
	request, err := g.admit(ctx, guardAsk{op: op, secret: r.Secret, enrollment: r.Enrollment, actor: r.Actor, reason: r.Reason,
		possession: r.PossessionVerified})
	if err != nil {
		return nil, err
	}
	e, err := g.record(ctx, GuardReleased, r.Actor, r.Reason, r.Enrollment, guardDetails(r.Secret, request))
	if err != nil {
		return nil, err
	}
	out, err := read(ctx, fmt.Sprintf("audit entry %d: %s", e.Number, r.Reason))
	outcome := ""
	switch {
	case err != nil:
		outcome = "it could not be read"
	case len(out) == 0:
		outcome = "there is none"
		err = &mdm.Error{Code: mdm.NotFound, Op: op, Enrollment: r.Enrollment, Err: errors.New("there is none")}
	default:
		return out, nil
	}
	_, unsaid := g.record(ctx, GuardOutcome, guardServer, r.Reason, r.Enrollment, guardDetails(r.Secret, request, "outcome", outcome))
	return nil, errors.Join(err, unsaid)
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
