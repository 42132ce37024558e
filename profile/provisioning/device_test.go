package provisioning_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/profile/provisioning"
)

// device is a simulated one with its queue of commands.
type device struct {
	t        *testing.T
	has      map[string]*provisioning.Profile // by UUID
	queue    []command.Command
	installs []string // what was installed, in order
	removals []string
	refuses  bool // it answers installations with an error
	forgets  bool // it says yes and does nothing
}

// answer does the next command and tells the state.
func (d *device) answer(s *provisioning.State, now time.Time) {
	if len(d.queue) == 0 {
		return
	}
	next := d.queue[0]
	d.queue = d.queue[1:]
	switch c := next.(type) {
	case command.InstallProvisioningProfile:
		p, err := provisioning.Parse(c.ProvisioningProfile)
		require.NoError(d.t, err)
		d.installs = append(d.installs, p.UUID)
		if !d.refuses && !d.forgets {
			d.has[p.UUID] = p
		}
		s.Answered(p.UUID, now)
	case command.RemoveProvisioningProfile:
		d.removals = append(d.removals, c.UUID)
		require.Contains(d.t, d.has, c.UUID)
		delete(d.has, c.UUID)
		s.Answered(c.UUID, now)
	case command.ProvisioningProfileList:
		var r command.ProvisioningProfileListResponse
		for _, p := range d.has {
			r.ProvisioningProfileList = append(r.ProvisioningProfileList,
				command.ProvisioningProfileListItem{Name: p.Name, UUID: p.UUID, ExpiryDate: &p.ExpirationDate})
		}
		s.Listed(r, now)
	default:
		d.t.Fatalf("%T", c)
	}
}

// TestExpiringIsReplacedOnce lives through two years, an hour at a time: one installation at the beginning, one replacement
// thirty days before the end of the first profile, and the removal of that after the device has listed its successor.
func TestExpiringIsReplacedOnce(t *testing.T) {
	t.Parallel()
	first, second := inHouse(t, "first", -10, 355), inHouse(t, "second", 300, 665)
	d := &device{t: t, has: map[string]*provisioning.Profile{}}
	var s provisioning.State
	var replaced, removed time.Time
	warned := 0
	for now := begin; now.Before(day(640)); now = now.Add(time.Hour) {
		goal := provisioning.Goal{Profiles: []*provisioning.Profile{first}, UDID: "UDID"}
		if now.After(day(310)) {
			goal.Profiles = append(goal.Profiles, second) // somebody made it
		}
		before := len(d.installs)
		p := provisioning.Planner{}.Plan(goal, s, now)
		warned += len(p.Warnings)
		d.queue = append(d.queue, p.Commands()...)
		s.Sent(p, now)
		if now.Hour()%5 == 0 { // the device is not always there
			d.answer(&s, now)
		}
		if len(d.installs) > before && len(d.installs) == 2 {
			replaced = now
		}
		if len(d.removals) == 1 && removed.IsZero() {
			removed = now
			require.Contains(t, d.has, "second")
		}
		if now.After(day(1)) {
			require.NotEmpty(t, d.has, "the app can run at every moment")
		}
	}
	require.Equal(t, []string{"first", "second"}, d.installs)
	require.Equal(t, []string{"first"}, d.removals)
	require.WithinRange(t, replaced, day(325), day(326))
	require.WithinRange(t, removed, replaced, replaced.Add(24*time.Hour))
	require.Positive(t, warned, "the second ends in less than thirty days, and there is no third")
	require.Empty(t, s.Orders)
}

// TestNeverTwice lets devices answer when they like, refuse, and forget: no profile is ever twice on its way, and the old one
// goes only when the new one was listed.
func TestNeverTwice(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		d := &device{t: t, has: map[string]*provisioning.Profile{}}
		var s provisioning.State
		profiles := []*provisioning.Profile{inHouse(t, "p0", -10, 40), inHouse(t, "p1", 5, 70), inHouse(t, "p2", 8, 100)}
		for now := begin; now.Before(day(90)); now = now.Add(time.Duration(1+r.IntN(12)) * time.Hour) {
			at := now.Sub(begin) / (24 * time.Hour)
			goal := provisioning.Goal{Profiles: profiles[:1+min(int(at)/20, 2)]}
			p := provisioning.Planner{}.Plan(goal, s, now)
			for _, step := range p.Steps {
				o, known := s.Orders[step.UUID]
				require.False(t, known && o.Answered.IsZero(), "seed %d: %s is outstanding", seed, step.UUID)
				if step.Action == provisioning.Remove {
					best := goal.Profiles[len(goal.Profiles)-1]
					require.True(t, slices.ContainsFunc(s.Installed, func(i provisioning.Installed) bool { return i.UUID == best.UUID }))
				}
			}
			d.queue = append(d.queue, p.Commands()...)
			s.Sent(p, now)
			lists := 0
			for _, c := range d.queue {
				if c.RequestType() == "ProvisioningProfileList" {
					lists++
				}
			}
			require.LessOrEqual(t, lists, 1)
			for range r.IntN(3) {
				d.refuses, d.forgets = r.IntN(3) == 0, r.IntN(4) == 0
				d.answer(&s, now)
			}
		}
		require.Contains(t, d.has, "p2", "seed %d", seed)
		require.Len(t, d.has, 1, "seed %d", seed)
		require.Less(t, len(d.installs), 25, "seed %d: %s", seed, strings.Join(d.installs, " "))
	}
}
