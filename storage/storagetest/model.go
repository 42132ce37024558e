package storagetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func modelCases() []testCase {
	return []testCase{
		{name: "random sessions",
			why: "MDM protocol, commands: whatever is queued, answered and canceled in whatever order, a store does what the rules say",
			run: randomSessions},
	}
}

// modelEntry and model are the rules of one queue in the plainest way: a list that is sorted whenever it is asked.
type modelEntry struct {
	uuid     string
	priority command.Priority
	seq      int
	collapse string
	state    command.State
	final    command.Status // the answer that finished it
	sends    int
}

type model struct {
	entries []*modelEntry
	aside   int
}

func (m *model) find(uuid string) *modelEntry {
	for _, e := range m.entries {
		if e.uuid == uuid {
			return e
		}
	}
	return nil
}

// enqueue returns whether the command is on the queue.
func (m *model) enqueue(o command.Order) bool {
	if m.find(o.UUID) != nil {
		return true
	}
	for _, e := range m.entries {
		switch {
		case o.Collapse == "" || e.collapse != o.Collapse || !e.state.Open():
		case !o.Supersede:
			return false
		case e.sends == 0:
			e.state = command.Canceled
		}
	}
	m.entries = append(m.entries, &modelEntry{uuid: o.UUID, priority: o.Priority, seq: len(m.entries), collapse: o.Collapse, state: command.Queued})
	return true
}

// report returns the UUID of what is offered.
func (m *model) report(status command.Status, uuid string) string {
	state, final := status.Final()
	e := m.find(uuid)
	switch {
	case status == command.StatusIdle:
		for _, e := range m.entries {
			if e.state == command.Deferred {
				e.state = command.Queued
			}
		}
	case state == 0 || e == nil || !e.state.Open() && e.final != status:
		m.aside++
	case e.state.Open() && final:
		e.state, e.final = state, status
	case e.state.Open():
		e.state = command.Deferred
	}
	return m.offer()
}

func (m *model) offer() string {
	eligible := slices.DeleteFunc(slices.Clone(m.entries), func(e *modelEntry) bool { return e.state != command.Queued && e.state != command.Sent })
	if len(eligible) == 0 {
		return ""
	}
	first := slices.MinFunc(eligible, func(a, b *modelEntry) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.seq, b.seq))
	})
	first.state = command.Sent
	first.sends++
	return first.uuid
}

func randomSessions(w *world) {
	rounds, steps := 4, 250
	if testing.Short() {
		rounds, steps = 2, 100
	}
	for seed := range rounds {
		p := &player{w: w, d: w.enrolled(numbered("device-", seed)), m: &model{}, rand: rand.New(rand.NewPCG(uint64(seed), 1))}
		for step := range steps {
			p.step = fmt.Sprintf("seed %d, step %d", seed, step)
			p.play()
		}
		p.compare()
	}
}

// player does the same to a store and to a model.
type player struct {
	w       *world
	d       *device
	m       *model
	rand    *rand.Rand
	step    string
	offered string
}

func (p *player) play() {
	p.w.Helper()
	switch n := p.rand.IntN(100); {
	case n < 25:
		p.enqueue(fmt.Sprintf("%s/%d", p.d.id.Device, len(p.m.entries)))
	case n < 30:
		p.enqueue(p.anyUUID()) // the same again
	case n < 35:
		p.cancel(p.anyUUID())
	case n < 45:
		p.report(command.StatusIdle, "")
	case n < 50:
		p.report("Dancing", p.anyUUID())
	case n < 60:
		p.report(p.anyStatus(), p.anyUUID())
	default:
		p.report(p.anyStatus(), p.offered)
	}
}

func (p *player) anyUUID() string {
	if len(p.m.entries) == 0 || p.rand.IntN(10) == 0 {
		return p.d.id.Device + "/unknown"
	}
	return p.m.entries[p.rand.IntN(len(p.m.entries))].uuid
}

func (p *player) anyStatus() command.Status {
	return []command.Status{command.StatusAcknowledged, command.StatusAcknowledged, command.StatusError, command.StatusCommandFormatError,
		command.StatusNotNow, command.StatusNotNow}[p.rand.IntN(6)]
}

func (p *player) enqueue(uuid string) {
	p.w.Helper()
	o := to(security(), p.d)
	o.UUID, o.Priority = uuid, command.Priority(p.rand.IntN(3)*10-10)
	if n := p.rand.IntN(6); n < 2 {
		o.Collapse, o.Supersede = numbered("key-", n), p.rand.IntN(2) == 0
	}
	receipt := p.w.enqueue(o)
	queued := p.m.enqueue(o)
	require.Equal(p.w, queued, receipt.Queued == 1, "%s: %+v", p.step, o)
	require.Equal(p.w, !queued, receipt.Collapsed == 1, "%s: %+v", p.step, o)
}

func (p *player) cancel(uuid string) {
	p.w.Helper()
	want := 0
	if e := p.m.find(uuid); e != nil && e.state.Open() {
		e.state, want = command.Canceled, 1
	}
	require.Equal(p.w, want, p.w.cancel(uuid, mdm.IDs(p.d.id)), p.step)
}

func (p *player) report(status command.Status, uuid string) {
	p.w.Helper()
	offer := p.d.answer(status, uuid)
	p.offered = p.m.report(status, uuid)
	got := ""
	if offer != nil {
		got = offer.UUID
	}
	require.Equal(p.w, p.offered, got, "%s: offered after %s %s", p.step, status, uuid)
}

// compare looks at what is left.
func (p *player) compare() {
	p.w.Helper()
	entries := p.w.queue(p.d)
	require.Len(p.w, entries, len(p.m.entries))
	for i, e := range entries {
		want := p.m.entries[i]
		require.Equal(p.w, want.uuid, e.UUID, p.step)
		require.Equal(p.w, want.state.Open(), e.State.Open(), "%s: %s is %s", p.step, e.UUID, e.State)
		if !e.State.Open() {
			require.Equal(p.w, want.state, e.State, "%s: %s", p.step, e.UUID)
		}
		require.Equal(p.w, want.sends, e.Sends, "%s: %s", p.step, e.UUID)
	}
	aside := 0
	for _, a := range p.w.aside("") {
		if a.Enrollment == p.d.id {
			aside++
		}
	}
	require.Equal(p.w, p.m.aside, aside, p.step)
}
