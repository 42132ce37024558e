package practice_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// program is a fake of Apple's service: what was asked of it, in order.
type program struct {
	mu    sync.Mutex
	calls []string
	down  bool
}

func (p *program) call(what, person string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return errors.New("the service is away")
	}
	p.calls = append(p.calls, what+" "+person)
	return nil
}

func (p *program) invitations(l *lab) *practice.Invitations {
	return &practice.Invitations{
		Book: l.stores.Vault,
		Register: func(_ context.Context, person string) (command.InviteToProgram, error) {
			return command.InviteToProgram{ProgramID: "com.apple.cloudvpp", InvitationURL: "https://example.com/" + person}, p.call("register", person)
		},
		Assign: func(_ context.Context, person string) error { return p.call("assign", person) },
	}
}

func invited(result string) func(context.Context, mdmtest.Order) mdmtest.Answer {
	return func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		return mdmtest.Answer{Fields: map[string]any{"InvitationResult": result}}
	}
}

func (l *lab) onlyRun(name string, d *mdmtest.Device) workflow.Run {
	l.Helper()
	var out []workflow.Run
	for _, r := range l.runs(name) {
		if r.Enrollment == id(d) {
			out = append(out, r)
		}
	}
	require.Len(l, out, 1)
	return out[0]
}

func TestBP08_LicensesFirstAndInvitedOnce(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		p := &program{down: true}
		v := p.invitations(l)
		l.serve(nil, v.Workflows()...)
		first, second := l.enrolled(mdmtest.Config{Respond: invited("Acknowledged")}), l.enrolled(mdmtest.Config{Respond: invited("Acknowledged")})
		_, err := v.Invite(t.Context(), l.server.Workflows(), id(first), "ada")
		require.NoError(t, err)
		l.settle(first, second)
		assert.Empty(t, took(first), "nothing without licenses")
		p.down = false
		l.advance(time.Minute, first, second)
		assert.Equal(t, []string{"InviteToProgram"}, took(first))
		assert.Equal(t, []string{"register ada", "assign ada"}, p.calls[:2], "before the invitation")
		assert.Equal(t, workflow.Done, l.onlyRun(practice.InvitationName, first).Status)

		_, err = v.Invite(t.Context(), l.server.Workflows(), id(second), "ada")
		require.NoError(t, err)
		l.settle(first, second)
		assert.Empty(t, took(second), "once in an organization")
		r := l.onlyRun(practice.InvitationName, second)
		assert.Equal(t, workflow.Failed, r.Status)
		assert.Contains(t, r.Note, "invited before")
		_, err = v.Invite(t.Context(), l.server.Workflows(), id(second), "")
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	})
}

func TestBP08_WhoSawNoInvitationMayGetAnother(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		p := &program{}
		v := p.invitations(l)
		v.Deadline = 5 * time.Hour
		l.serve(nil, v.Workflows()...)
		answers := 0
		d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			answers++
			switch answers {
			case 1:
				return mdmtest.Fail("MCMDMErrorDomain", 12026, "not now")
			case 2:
				return invited("InvalidInvitationURL")(ctx, o)
			}
			return mdmtest.Fail("MCMDMErrorDomain", 12026, fmt.Sprint("again ", answers))
		}})
		_, err := v.Invite(t.Context(), l.server.Workflows(), id(d), "grace")
		require.NoError(t, err)
		l.settle(d)
		assert.Contains(t, l.onlyRun(practice.InvitationName, d).Note, "failed")
		l.advance(time.Hour, d)
		assert.Contains(t, l.onlyRun(practice.InvitationName, d).Note, "InvalidInvitationURL")
		l.advance(6*time.Hour, d)
		assert.Equal(t, workflow.Failed, l.onlyRun(practice.InvitationName, d).Status)
		other := l.enrolled(mdmtest.Config{Respond: invited("Acknowledged")})
		_, err = v.Invite(t.Context(), l.server.Workflows(), id(other), "grace")
		require.NoError(t, err)
		l.settle(other)
		assert.Equal(t, workflow.Done, l.onlyRun(practice.InvitationName, other).Status)
	})
}

// TestBP08_WokenByHand: who looks at a run does not have the person invited twice.
func TestBP08_WokenByHand(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		v := (&program{}).invitations(l)
		l.serve(nil, v.Workflows()...)
		d := l.enrolled(mdmtest.Config{Respond: invited("Acknowledged")})
		r, err := v.Invite(t.Context(), l.server.Workflows(), id(d), "ada")
		require.NoError(t, err)
		l.flush()
		_, err = l.server.Workflows().Resume(t.Context(), "", r.ID)
		require.NoError(t, err)
		l.flush()
		l.ahead.Add(int64(2 * time.Hour)) // as if a refusal had been waited for
		l.flush()
		assert.Len(t, l.queue(d), 1)
		l.settle(d)
		assert.Equal(t, []string{"InviteToProgram"}, took(d))
		assert.Equal(t, workflow.Done, l.onlyRun(practice.InvitationName, d).Status)
	})
}

// TestBP08_WithdrawnByHand: an invitation that an operator took from the queue is not put there again.
func TestBP08_WithdrawnByHand(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		v := (&program{}).invitations(l)
		l.serve(nil, v.Workflows()...)
		d := l.enrolled(mdmtest.Config{Respond: invited("Acknowledged")})
		_, err := v.Invite(t.Context(), l.server.Workflows(), id(d), "ada")
		require.NoError(t, err)
		l.flush()
		_, err = l.stores.Command.Cancel(t.Context(), l.queue(d)[0].UUID, mdm.IDs(id(d)))
		require.NoError(t, err)
		l.flush()
		l.advance(3*time.Hour, d)
		assert.Empty(t, took(d))
		assert.Equal(t, workflow.Failed, l.onlyRun(practice.InvitationName, d).Status)
	})
}

func TestBP08_SharedStoreAccounts(t *testing.T) {
	assert.Equal(t, [][]string{{"ada", "alan"}, {"bob", "eve"}}, practice.SharedStoreAccounts(map[string]string{
		"ada": "h1", "bob": "h2", "alan": "h1", "eve": "h2 ", "grace": "h3", "nobody": "", "none": " "}))
	assert.Empty(t, practice.SharedStoreAccounts(nil))
}
