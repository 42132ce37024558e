package practice

import (
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Guard stands before the secrets of devices. It clears passcodes, gives secrets out and rotates them, for an actor, with a
// reason, and never before that is in the audit log: what cannot be recorded does not happen.
//
// The source is Apple's advice on ClearPasscode: an unlock token is a master passcode, so there must be a policy for its storage,
// access, issuing and accounting, the device must be in its owner's hands, and it is never used for a device that is lost.
//
// A Guard is used by pointer, and not changed once it is in use. Its workflows and cooks go into the server's configuration; its
// Engine is the server's, to be set before the first request.
type Guard struct {
	Audit  audit.Log       // required
	Escrow checkin.Escrow  // required: unlock tokens and bootstrap tokens
	Vault  GuardVault      // required for all other secrets
	Roster workflow.Roster // required
	Runs   GuardRuns       // required: where runs are looked at
	Engine GuardEngine     // required for ClearPasscode, Rotate, Found and what needs approval: server.Server.Workflows

	// Lost says whether a device is marked lost, by a flag of yours. Nil: none is. A device that was to be in Lost Mode is lost in any
	// case, until it is known not to be: see [Guard.Found]. An error is no permission.
	Lost func(context.Context, mdm.EnrollmentID) (bool, error)

	// Limit is how many secrets may be asked for within LimitPer, of one device, and by one actor. 0: 3; negative: any number.
	// It is counted in the audit log, so that it holds for all processes and after a restart.
	Limit    int
	LimitPer time.Duration // 0: 1 h

	SecondApprover bool            // a passcode is cleared only if somebody else than the actor approves
	Approval       []GuardedSecret // kinds that are given out (GuardUnlockToken: used) only if somebody else approves
	ApprovalWait   time.Duration   // how long that may take; 0: 24 h
	ClearWait      time.Duration   // how long a ClearPasscode may wait for the device; 0: 1 h: its owner stands there
	ReleaseWait    time.Duration   // how long what was approved may be fetched, once; 0: 1 h

	RotateWait time.Duration // how long a new secret may wait for the device; 0: 7 days
	// Generate makes a new secret. Nil: 20 letters and digits, about 100 bits, that are not mistaken for each other.
	Generate func(GuardedSecret) (mdm.Secret, error)
	// FileVault are certificates with RSA keys that Macs encrypt new recovery keys to: the first one. All are tried to decrypt with.
	FileVault []tls.Certificate
	// FileVaultPassword returns what unlocks the disk of a Mac of which no recovery key is kept. Nil: nothing.
	FileVaultPassword func(context.Context, mdm.EnrollmentID) (mdm.Secret, error)

	Clock func() time.Time // nil: time.Now
}

// GuardVault keeps secrets sealed, as storage.Vault does. The Guard never overwrites and never deletes one.
type GuardVault interface {
	Secret(ctx context.Context, name string) (mdm.Secret, error)
	PutSecret(ctx context.Context, name string, s mdm.Secret) error
	CreateSecret(ctx context.Context, name string, s mdm.Secret) (mdm.Secret, error)
}

// GuardRuns is what a Guard needs of a workflow.Store.
type GuardRuns interface {
	Run(ctx context.Context, tenant, id string) (workflow.Run, error)
	Runs(ctx context.Context, q workflow.Query) iter.Seq2[workflow.Run, error]
	ChangeRun(ctx context.Context, tenant, id string, change func(*workflow.Run) (drops []string, err error)) (workflow.Run, error)
}

// GuardEngine begins runs, as a *workflow.Engine does.
type GuardEngine interface {
	Begin(ctx context.Context, workflow string, id mdm.EnrollmentID, key string, state any) (workflow.Run, bool, error)
}

// GuardedSecret is a kind of secret. The text is stable: it is stored, and stands in the audit log.
type GuardedSecret string

// The kinds.
const (
	GuardUnlockToken          GuardedSecret = "unlock-token"           // only used by Guard.ClearPasscode, never given out
	GuardBootstrapToken       GuardedSecret = "bootstrap-token"        // from the escrow
	GuardRecoveryLock         GuardedSecret = "recovery-lock"          // recoveryOS password of a Mac with Apple silicon
	GuardFirmwarePassword     GuardedSecret = "firmware-password"      // of a Mac with an Intel processor
	GuardFileVaultKey         GuardedSecret = "filevault-key"          // personal recovery key
	GuardAdminPassword        GuardedSecret = "admin-password"         // of the managed administrator of a Mac
	GuardActivationLockBypass GuardedSecret = "activation-lock-bypass" // bypass code
	GuardDeviceLockPIN        GuardedSecret = "device-lock-pin"        // with which a Mac was locked
	GuardErasePIN             GuardedSecret = "erase-pin"              // with which a Mac was erased: only by Erase.PIN
)

// Names of the Guard's workflows and cooks.
const (
	GuardClearPasscode = "clear-passcode"
	GuardReleaseSecret = "release-secret"
	GuardRotateSecret  = "rotate-secret"
)

// Actions of the Guard in the audit log.
const (
	GuardRequested         = "secret.requested"
	GuardRefused           = "secret.refused"    // Details: why
	GuardApproved          = "secret.approved"   // Actor: the second approver
	GuardNotApproved       = "approval.refused"  // Actor: who is none; Details: why
	GuardCalledOff         = "secret.called-off" // at delivery; Details: why
	GuardReleased          = "secret.released"   // it follows at once, if nothing breaks
	GuardOutcome           = "secret.outcome"    // Details: outcome, and as status done, failed, canceled or superseded
	GuardKept              = "secret.kept"       // a new value is stored
	GuardRotationRequested = "rotation.requested"
	GuardRotationOutcome   = "rotation.outcome"
	GuardFound             = "device.found"
)

// guardServer is the actor of what no person does.
const guardServer = "server"

// Workflows returns the workflows of the Guard, for the server's configuration.
func (g *Guard) Workflows() []workflow.Any {
	return []workflow.Any{g.clearing(), g.releasing(), g.rotating(), g.recording(), g.missing(), g.finding()}
}

// Cooks returns what makes the Guard's commands at delivery, for the server's configuration.
func (g *Guard) Cooks() map[string]command.Cook {
	return map[string]command.Cook{GuardClearPasscode: g.cookClear, GuardRotateSecret: g.cookRotation}
}

func (g *Guard) now() time.Time {
	if g.Clock == nil {
		return time.Now()
	}
	return g.Clock()
}

// guardAsk is a request for a secret.
type guardAsk struct {
	op         string
	secret     GuardedSecret
	what       string // of what there is of it; see guardRelease
	enrollment mdm.EnrollmentID
	actor      string
	reason     string
	possession bool
	// objects is what else speaks against it, empty if nothing does. It may be nil.
	objects func(context.Context) (string, error)
}

// record writes to the audit log.
func (g *Guard) record(ctx context.Context, action, actor, reason string, id mdm.EnrollmentID, details map[string]string) (audit.Entry, error) {
	return g.Audit.Append(ctx, audit.Entry{At: g.now(), Action: action, Actor: actor, Reason: reason, Enrollment: id, Details: details})
}

// admit records a request and returns its number, or records why it is refused and returns a Forbidden error. Without an actor
// and a reason there is nothing to record: the error is Malformed then.
func (g *Guard) admit(ctx context.Context, a guardAsk) (int64, error) {
	if strings.TrimSpace(a.actor) == "" || strings.TrimSpace(a.reason) == "" {
		return 0, mdm.Errorf(mdm.Malformed, a.op, "an actor and a reason are required")
	}
	if a.enrollment.Device == "" {
		return 0, mdm.Errorf(mdm.Malformed, a.op, "an enrollment is required")
	}
	details := map[string]string{"secret": string(a.secret), "possession": strconv.FormatBool(a.possession)}
	if a.what != "" {
		details["of"] = guardClip(a.what)
	}
	e, err := g.record(ctx, GuardRequested, a.actor, a.reason, a.enrollment, details)
	if err != nil {
		return 0, err
	}
	why, err := g.objection(ctx, a, &e)
	if err != nil {
		return 0, errors.Join(err, g.refuse(ctx, a, e.Number, "it could not be checked"))
	}
	if why == "" {
		return e.Number, nil
	}
	if err := g.refuse(ctx, a, e.Number, why); err != nil {
		return 0, err
	}
	return 0, &mdm.Error{Code: mdm.Forbidden, Op: a.op, Enrollment: a.enrollment, Err: errors.New(why)}
}

func (g *Guard) refuse(ctx context.Context, a guardAsk, request int64, why string) error {
	_, err := g.record(ctx, GuardRefused, a.actor, a.reason, a.enrollment, guardDetails(a.secret, request, "why", why))
	return err
}

// guardDetails are those of an entry that belongs to a request. Further ones are keys and values in turn.
func guardDetails(secret GuardedSecret, request int64, more ...string) map[string]string {
	out := map[string]string{"secret": string(secret), "request": strconv.FormatInt(request, 10)}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = guardClip(more[i+1])
	}
	return out
}

func guardClip(s string) string {
	if len(s) > audit.MaxValue {
		s = s[:audit.MaxValue]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

// objection returns what speaks against a request, empty if nothing does.
func (g *Guard) objection(ctx context.Context, a guardAsk, e *audit.Entry) (string, error) {
	if !a.possession {
		return guardNoPossession, nil
	}
	if a.objects != nil {
		if why, err := a.objects(ctx); why != "" || err != nil {
			return why, err
		}
	}
	if lost, err := g.lost(ctx, a.enrollment); lost || err != nil {
		return guardLost, err
	}
	return g.overLimit(ctx, e)
}

const (
	guardLost         = "the device is marked lost"
	guardNoPossession = "nobody has verified that the device is in its owner's hands"
)

// guardUnasked is the end of a run that somebody began past the Guard: it is on no record.
const guardUnasked = "nobody asked the guard for it"
