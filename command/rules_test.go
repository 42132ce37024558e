package command_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
)

func allStates() []command.State {
	var states []command.State
	for s := command.Queued; s <= command.Presumed; s++ {
		states = append(states, s)
	}
	return states
}

func TestEligible(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		entry  command.Entry
		traits command.Traits
		setup  bool
		want   bool
	}{
		{"queued", command.Entry{State: command.Queued}, 0, false, true},
		{"sent and not answered", command.Entry{State: command.Sent}, 0, false, true},
		{"deferred", command.Entry{State: command.Deferred}, 0, false, false},
		{"no state", command.Entry{}, 0, false, false},
		{"not due", command.Entry{State: command.Queued, NotBefore: now.Add(1)}, 0, false, false},
		{"just due", command.Entry{State: command.Queued, NotBefore: now}, 0, false, true},
		{"still alive", command.Entry{State: command.Queued, NotAfter: now}, 0, false, true},
		{"overdue", command.Entry{State: command.Queued, NotAfter: now.Add(-1)}, 0, false, false},
		{"in setup", command.Entry{State: command.Queued}, 0, true, false},
		{"erase in setup", command.Entry{State: command.Queued}, command.Erases | command.ReplacesMDM, true, false},
		{"passcode in setup", command.Entry{State: command.Queued}, command.PasscodeOnly, true, true},
		{"end of setup", command.Entry{State: command.Sent}, command.EndsSetup, true, true},
		{"deferred in setup", command.Entry{State: command.Deferred}, command.EndsSetup, true, false},
		{"not due in setup", command.Entry{State: command.Queued, NotBefore: now.Add(1)}, command.EndsSetup, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, command.Eligible(&tt.entry, tt.traits, now, tt.setup))
		})
	}
	for _, s := range allStates() {
		assert.Equal(t, s == command.Queued || s == command.Sent, command.Eligible(&command.Entry{State: s}, 0, now, false), s)
	}
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, s := range allStates() {
		assert.False(t, command.Overdue(&command.Entry{State: s}, now), "no deadline")
		assert.False(t, command.Overdue(&command.Entry{State: s, NotAfter: now}, now), "at the deadline")
		assert.Equal(t, s.Open(), command.Overdue(&command.Entry{State: s, NotAfter: now.Add(-1)}, now), s)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	classes := []command.Priority{command.Security, command.Renewal, command.Profiles, command.Normal, command.Inventory}
	assert.True(t, slices.IsSorted(classes))
	assert.Zero(t, command.Normal)
	var entries []*command.Entry
	for i := range 2 * len(classes) {
		entries = append(entries, &command.Entry{Priority: classes[len(classes)-1-i%len(classes)], Seq: int64(i)})
	}
	slices.SortFunc(entries, command.Compare)
	for i, e := range entries {
		assert.Equal(t, classes[i/2], e.Priority)
		assert.Equal(t, i%2 == 1, e.Seq >= int64(len(classes)), "in the order of the queue within a class")
	}
	assert.Zero(t, command.Compare(entries[0], entries[0]))
}

func TestFinal(t *testing.T) {
	t.Parallel()
	tests := map[command.Status]struct {
		state command.State
		final bool
	}{
		command.StatusAcknowledged:       {command.Acknowledged, true},
		command.StatusError:              {command.Failed, true},
		command.StatusCommandFormatError: {command.FormatError, true},
		command.StatusNotNow:             {command.Deferred, false},
		command.StatusIdle:               {},
		"":                               {},
		"acknowledged":                   {},
		"Dancing":                        {},
	}
	for status, want := range tests {
		state, final := status.Final()
		assert.Equal(t, want.state, state, status)
		assert.Equal(t, want.final, final, status)
		assert.Equal(t, want.final, state != 0 && !state.Open(), "final is what is not open")
	}
}

func TestStateNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range append(allStates(), 0, command.Presumed+1) {
		assert.NotEmpty(t, s.String())
		assert.False(t, seen[s.String()], s)
		seen[s.String()] = true
	}
	assert.Equal(t, "none", command.State(0).String())
	assert.Equal(t, "unknown", command.State(255).String())
	assert.False(t, command.State(0).Open())
}
