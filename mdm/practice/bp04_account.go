package practice

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// accountName is the name of the workflow and of its cook, both stored.
const accountName = "account"

// The defaults of Accounts.
const (
	DefaultAccountDeadline = 7 * 24 * time.Hour
	DefaultAccountRetry    = time.Hour
)

// maxAccount bounds an identifier, so that it can be a key.
const maxAccount = 200

// Vault keeps named secrets, sealed. A storage.Vault is one.
type Vault interface {
	// PutSecret stores a secret in place of a former one of that name. A zero Secret deletes it.
	PutSecret(ctx context.Context, name string, s mdm.Secret) error
	// Secret returns a zero Secret and no error if there is none.
	Secret(ctx context.Context, name string) (mdm.Secret, error)
}

// Accounts replaces the password or the certificate of one account (Apple, "MDM Best Practices": one account in a profile, so that
// it can be replaced alone): the profile of the account is installed again with the same identifier and the same account, and no
// other one is touched.
//
// The new credential is in Vault while it is needed, and nowhere else: neither on the queue nor in runs, events or logs. It is
// deleted when the device has answered, when Deadline is over, and when the run ends in another way.
//
// Profile, Vault, Roster and Runs are required. Give a server both [Accounts.Workflows] and [Accounts.Cooks].
type Accounts struct {
	// Profile returns the profile of an account as the device has it, by its identifier, or the one of several accounts that it was
	// split from ([profile.Split]). The credential that is replaced need not be in it. A NotFound error calls the order off, as when
	// the account is not for this device any more.
	Profile func(ctx context.Context, e *mdm.Enrollment, account string) (*profile.Profile, error)
	Vault   Vault
	Roster  workflow.Roster
	Runs    interface { // a workflow.Store
		Run(ctx context.Context, tenant, id string) (workflow.Run, error)
	}
	// Encode makes the file of the finished profile, as encrypted for the device and signed. Nil: it is neither.
	Encode func(ctx context.Context, e *mdm.Enrollment, p *profile.Profile) ([]byte, error)

	Deadline time.Duration // how long a device may take; 0: DefaultAccountDeadline
	Retry    time.Duration // after the first failure that may pass; it doubles each time; 0: DefaultAccountRetry
}

// accountState is the state of a run.
type accountState struct {
	Account  string    `json:"account"`
	Secret   string    `json:"secret"` // its name
	Until    time.Time `json:"until"`
	Failures int       `json:"failures,omitempty"`
}

// Replace replaces the credential of an account of an enrollment, a device or a user, from the one that Profile returns. A
// replacement that is still under way is canceled: the newer credential counts. The error is a Malformed one if the credential does
// not fit the account, see [profile.ReplaceCredential], and Forbidden or NotFound if the enrollment is not there.
func (a *Accounts) Replace(ctx context.Context, engine *workflow.Engine, id mdm.EnrollmentID, account string, c profile.Credential) (workflow.Run, error) {
	const op = "practice.Accounts"
	if account == "" || len(account) > maxAccount {
		return workflow.Run{}, mdm.Errorf(mdm.Malformed, op, "the identifier of an account has 1 to %d bytes", maxAccount)
	}
	e, err := a.Roster.Enrollment(ctx, id)
	if err != nil {
		return workflow.Run{}, err
	}
	sealed, err := accountSeal(c)
	if err != nil {
		return workflow.Run{}, err
	}
	if _, err := a.build(ctx, e, account, c); err != nil { // before it is kept anywhere
		return workflow.Run{}, err
	}
	state := accountState{Account: account, Secret: "practice.account." + uuid.NewString()}
	if err := a.Vault.PutSecret(ctx, state.Secret, sealed); err != nil {
		return workflow.Run{}, err
	}
	run, err := a.begin(ctx, engine, id, state)
	if err != nil {
		_ = a.forget(context.WithoutCancel(ctx), state) // the first error counts
	}
	return run, err
}

// begin begins the run, in place of one that is there.
func (a *Accounts) begin(ctx context.Context, engine *workflow.Engine, id mdm.EnrollmentID, state accountState) (workflow.Run, error) {
	for range 10 {
		run, fresh, err := engine.Begin(ctx, accountName, id, accountName+"/"+state.Account, state)
		if err != nil || fresh {
			return run, err
		}
		if _, err := engine.Cancel(ctx, id.Tenant, run.ID, "a newer credential has taken its place"); err != nil && mdm.CodeOf(err) != mdm.NotFound {
			return run, err
		}
		if err := a.forgetOf(ctx, run); err != nil {
			return run, err
		}
	}
	return workflow.Run{}, mdm.Errorf(mdm.Unavailable, "practice.Accounts", "the account is being changed by somebody else")
}

// Workflows returns the workflow "account".
func (a *Accounts) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[accountState]{
		Name: accountName, First: "send",
		Steps: map[string]func(context.Context, *workflow.Turn, *accountState) (workflow.Next, error){"send": a.send, "await": a.await},
		// A run that an operator has ended, or the device, cannot clear up after itself.
		Listens: []mdm.EventType{mdm.EventWorkflowCanceled},
		Start:   a.clear,
		Retry:   workflow.Retry{Limit: 200}, // a vault that is away for a week
	}}
}

// clear deletes the secret of a run that was canceled. It begins nothing.
func (a *Accounts) clear(ctx context.Context, e mdm.Event) (s accountState, key string, ok bool, err error) {
	if e.Subject != accountName {
		return s, "", false, nil
	}
	run, err := a.Runs.Run(ctx, e.Enrollment.Tenant, e.Name)
	if err != nil {
		if mdm.CodeOf(err) == mdm.NotFound {
			err = nil
		}
		return s, "", false, err
	}
	return s, "", false, a.forgetOf(ctx, run)
}

func (a *Accounts) forgetOf(ctx context.Context, run workflow.Run) error {
	var s accountState
	if err := json.Unmarshal(run.State, &s); err != nil || s.Secret == "" {
		return err
	}
	return a.forget(ctx, s)
}

func (a *Accounts) forget(ctx context.Context, s accountState) error {
	return a.Vault.PutSecret(ctx, s.Secret, mdm.Secret{})
}

// send puts the profile on the queue.
func (a *Accounts) send(ctx context.Context, t *workflow.Turn, s *accountState) (workflow.Next, error) {
	if s.Until.IsZero() {
		s.Until = t.Now.Add(waitOr(a.Deadline, DefaultAccountDeadline))
	}
	if !t.Now.Before(s.Until) {
		return workflow.GiveUp("the device did not take it in time"), a.forget(ctx, *s)
	}
	order := command.Order{Priority: command.Profiles, NotAfter: s.Until, Command: command.Recipe{Type: "InstallProfile", Name: accountName,
		Args: map[string]string{"account": s.Account, "secret": s.Secret}}}
	return workflow.Go("await").Send("profile", order).Answered("profile").At(s.Until).Note("the new credential waits for the device"), nil
}

// await deletes the secret once it is not needed any more.
func (a *Accounts) await(ctx context.Context, t *workflow.Turn, s *accountState) (workflow.Next, error) {
	if why := t.Refused("profile"); why != "" {
		return workflow.GiveUp("the queue did not take it: " + why), a.forget(ctx, *s)
	}
	entry, answered := t.Answer("profile")
	switch {
	case answered && entry.State == command.Acknowledged:
		return workflow.Finish("the device has the new credential"), a.forget(ctx, *s)
	case answered && command.Advise("InstallProfile", bp16Problem(entry)) == command.RetryLater:
		wait := doubled(waitOr(a.Retry, DefaultAccountRetry), 24*time.Hour, s.Failures+1, 10)
		s.Failures++
		return workflow.Go("send").At(t.Now.Add(wait)).At(s.Until).Note(bp16Text(entry)), nil
	case answered:
		return workflow.GiveUp(bp16Text(entry)), a.forget(ctx, *s)
	case !t.Now.Before(s.Until):
		return workflow.GiveUp("the device did not take it in time").Drop("profile"), a.forget(ctx, *s)
	}
	return workflow.Go("await").Answered("profile").At(s.Until), nil
}

// Cooks returns who makes the profiles.
func (a *Accounts) Cooks() map[string]command.Cook {
	return map[string]command.Cook{accountName: a.cook}
}

// cook makes the profile, if the credential is still to be delivered.
func (a *Accounts) cook(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
	sealed, err := a.Vault.Secret(ctx, args["secret"])
	if err != nil {
		return nil, err
	}
	if sealed.IsZero() {
		return nil, command.ErrCalledOff
	}
	c, err := accountOpen(sealed)
	if err != nil {
		return nil, err
	}
	e, err := a.Roster.Enrollment(ctx, id)
	var data []byte
	if err == nil {
		data, err = a.build(ctx, e, args["account"], c)
	}
	if err != nil && mdm.CodeOf(err) == mdm.NotFound {
		return nil, command.ErrCalledOff
	}
	return command.InstallProfile{Payload: data}, err
}

// build makes the file of an account's profile with a credential.
func (a *Accounts) build(ctx context.Context, e *mdm.Enrollment, account string, c profile.Credential) ([]byte, error) {
	const op = "practice.Accounts"
	whole, err := a.Profile(ctx, e, account)
	if err != nil {
		return nil, err
	}
	if whole == nil {
		return nil, mdm.Errorf(mdm.NotFound, op, "there is no profile of the account %q", account)
	}
	parts, err := profile.Split(whole)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if !strings.EqualFold(p.Identifier, account) {
			continue
		}
		if p, err = profile.ReplaceCredential(p, c); err != nil {
			return nil, err
		}
		if a.Encode != nil {
			return a.Encode(ctx, e, p)
		}
		return p.Encode()
	}
	return nil, mdm.Errorf(mdm.NotFound, op, "there is no account %q in the profile %q", account, whole.Identifier)
}
