package practice

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Names that are stored.
const (
	InvitationName    = "invitation"
	invitationPrepare = "prepare"
	invitationSend    = "send"
	invitationAnswer  = "answer"
)

// DefaultInvitationDeadline is how long a device may take to show an invitation.
const DefaultInvitationDeadline = 30 * 24 * time.Hour

// Invitations invites people to Apple's program for volume purchases, so that apps can be assigned to their own store accounts.
// Apple's advice: a person is registered and gets licenses before the invitation, and is invited once in an organization, or one
// store account may accept several. Devices to which apps are assigned need no invitation.
//
// Book, Register and Assign are required. Give a server Workflows, and the Engine of the server to Invite.
type Invitations struct {
	// Book remembers who was invited, by tenant: an organization is one. A storage.Vault is one.
	Book InvitationBook
	// Register makes a person known to Apple's service and returns the invitation. It may be called again for a person.
	Register func(ctx context.Context, person string) (command.InviteToProgram, error)
	// Assign gives a person the licenses that wait for it. It may be called again; what is assigned already is no error (Apple's
	// service says so with 9616).
	Assign func(ctx context.Context, person string) error

	Deadline time.Duration // 0: DefaultInvitationDeadline
	Retry    time.Duration // after a device has refused an invitation; it doubles each time; 0: 1 h
}

// InvitationBook is a Vault that replicas agree on.
type InvitationBook interface {
	CreateSecret(ctx context.Context, name string, s mdm.Secret) (mdm.Secret, error)
	PutSecret(ctx context.Context, name string, s mdm.Secret) error
}

type invitationState struct {
	Person   string    `json:"person"`
	Until    time.Time `json:"until"`
	Failures int       `json:"failures,omitempty"`
}

// Invite invites a person on an enrollment: a device, on macOS a user. person is a name of yours, as an account's ID. The run gives
// up if the person was invited before.
func (v *Invitations) Invite(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, person string) (workflow.Run, error) {
	if person == "" || len(person) > maxAccount {
		return workflow.Run{}, mdm.Errorf(mdm.Malformed, "practice.Invitations", "the name of a person has 1 to %d bytes", maxAccount)
	}
	run, _, err := e.Begin(ctx, InvitationName, id, InvitationName+"/"+person, invitationState{Person: person})
	return run, err
}

// Forget makes it possible to invite a person again, as after it left the organization.
func (v *Invitations) Forget(ctx context.Context, tenant, person string) error {
	return v.Book.PutSecret(ctx, invitationKey(tenant, person), mdm.Secret{})
}

// invitationKey names a person in the book. It is a hash because names have limits, and may hold anything.
func invitationKey(tenant, person string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + person))
	return "invitation/" + hex.EncodeToString(sum[:])
}

// Workflows returns what belongs into server.Config.Workflows.
func (v *Invitations) Workflows() []workflow.Any {
	return []workflow.Any{&workflow.Workflow[invitationState]{
		Name: InvitationName, Version: 1, First: invitationPrepare,
		Steps: map[string]func(context.Context, *workflow.Turn, *invitationState) (workflow.Next, error){
			invitationPrepare: v.prepare, invitationSend: v.send, invitationAnswer: v.answer,
		},
	}}
}

// prepare has the person in the book, then registered, then provided for: in this order, so that nobody is invited twice, and
// nobody to nothing.
func (v *Invitations) prepare(ctx context.Context, t *workflow.Turn, s *invitationState) (workflow.Next, error) {
	ours := t.Run.ID
	first, err := v.Book.CreateSecret(ctx, invitationKey(t.Run.Enrollment.Tenant, s.Person), mdm.SecretString(ours))
	if err != nil {
		return workflow.Next{}, err
	}
	if string(first.Reveal()) != ours {
		return workflow.GiveUp("this person was invited before"), nil
	}
	if _, err := v.Register(ctx, s.Person); err != nil {
		return workflow.Next{}, err
	}
	if err := v.Assign(ctx, s.Person); err != nil {
		return workflow.Next{}, err
	}
	s.Until = t.Now.Add(waitOr(v.Deadline, DefaultInvitationDeadline))
	return workflow.Go(invitationSend).Note("licenses are assigned"), nil
}

func (v *Invitations) send(ctx context.Context, t *workflow.Turn, s *invitationState) (workflow.Next, error) {
	invitation, err := v.Register(ctx, s.Person)
	if err != nil {
		return workflow.Next{}, err
	}
	return workflow.Go(invitationAnswer).Send("invitation", command.Order{Command: invitation, NotAfter: s.Until}).
		Answered("invitation").At(s.Until.Add(24 * time.Hour)).Note("the device is to invite"), nil
}

func (v *Invitations) answer(ctx context.Context, t *workflow.Turn, s *invitationState) (workflow.Next, error) {
	answer, answered := t.Answer("invitation")
	why := t.Refused("invitation")
	switch {
	case why != "":
	case !answered: // woken by hand: a second invitation must not go out beside the first
		return v.outstanding(ctx, t, s)
	case answer.State == command.Acknowledged:
		if why = invitationSays(answer); why == "" {
			return workflow.Finish("invited"), nil
		}
	case answer.State == command.Expired:
		why = "the device did not come in time"
	case answer.State == command.Canceled:
		return workflow.GiveUp("the invitation was withdrawn"), v.Forget(ctx, t.Run.Enrollment.Tenant, s.Person)
	default:
		why = "the device answered: " + answer.State.String()
	}
	s.Failures++
	wait := doubled(waitOr(v.Retry, time.Hour), noLimit, s.Failures, 10)
	if t.Refused("invitation") != "" || !t.Now.Add(wait).Before(s.Until) {
		// It never saw the invitation, so that it may be given another one.
		return workflow.GiveUp(why), v.Forget(ctx, t.Run.Enrollment.Tenant, s.Person)
	}
	return workflow.Go(invitationSend).At(t.Now.Add(wait)).Note(why), nil
}

// outstanding waits for the answer, until the deadline at most. A day is for the queue to say itself that it is over.
func (v *Invitations) outstanding(ctx context.Context, t *workflow.Turn, s *invitationState) (workflow.Next, error) {
	end := s.Until.Add(24 * time.Hour)
	if t.Now.Before(end) {
		return workflow.Go(invitationAnswer).Answered("invitation").At(end), nil
	}
	if t.Waiting["invitation"].Sends > 0 { // the person may have seen it
		return workflow.GiveUp("the device did not answer in time").Drop("invitation"), nil
	}
	return workflow.GiveUp("the device did not come in time").Drop("invitation"), v.Forget(ctx, t.Run.Enrollment.Tenant, s.Person)
}

// invitationSays returns what is wrong with an invitation that was acknowledged, empty if nothing is.
func invitationSays(e command.Entry) string {
	var response command.InviteToProgramResponse
	err := command.DecodeResult(e.Result, &response)
	if response.InvitationResult != command.InviteToProgramInvitationResultAcknowledged {
		if err != nil || response.InvitationResult == "" {
			return "the answer cannot be read"
		}
		return "the device says " + said(string(response.InvitationResult))
	}
	return "" // what else it says does not matter
}

// SharedStoreAccounts returns the groups of people who accepted their invitations with the same store account: hashes has the
// itsIdHash of Apple's service, or the iTunesStoreAccountHash of a device, by person. Empty ones are not known, and nobody's.
func SharedStoreAccounts(hashes map[string]string) [][]string {
	people := map[string][]string{}
	for _, person := range slices.Sorted(maps.Keys(hashes)) {
		if hash := strings.TrimSpace(hashes[person]); hash != "" {
			people[hash] = append(people[hash], person)
		}
	}
	var out [][]string
	for _, group := range people {
		if len(group) > 1 {
			out = append(out, group)
		}
	}
	slices.SortFunc(out, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	return out
}
