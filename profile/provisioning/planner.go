package provisioning

import (
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/command"
)

// The defaults of a Planner.
const (
	DefaultLead      = 30 * 24 * time.Hour
	DefaultRetry     = 24 * time.Hour
	DefaultListEvery = 24 * time.Hour
)

// Goal is what a device should have.
type Goal struct {
	// Profiles are all that are at hand, old versions too: by them a profile that the device lists is known to be of the same app
	// as a newer one. Of those of one app, team, platform and Distribution the one that ends last is wanted.
	Profiles []*Profile
	// Remove lists UUIDs that must not be installed, as of an app that nobody needs any more. It wins over Profiles. Nothing that
	// is neither listed here nor replaced is ever removed.
	Remove []string
	// UDID is that of the device. Profiles for other devices are left out. Empty: not known, and nothing is left out.
	UDID string
}

// Planner says what to do about a device's provisioning profiles. The zero value does it with the defaults. It keeps nothing.
type Planner struct {
	Lead      time.Duration // how long before its end a profile is replaced, if a newer one is at hand; 0: DefaultLead
	Retry     time.Duration // how long after a command that came to nothing it is given again; 0: DefaultRetry
	ListEvery time.Duration // how old a list may be; 0: DefaultListEvery
}

// Action is what a step does.
type Action string

// The actions.
const (
	Install Action = "install" // of one that is there already it is no error
	Remove  Action = "remove"
)

// Step is one command about one profile.
type Step struct {
	Action  Action
	UUID    string
	Profile *Profile // what to install; nil for a removal
	Why     string
}

// Plan is what to do now. There is nothing to do if it has no Steps and List is false.
type Plan struct {
	Steps []Step
	List  bool // ask for a list, after the steps
	// Warnings are what somebody has to see to, as an app whose profile ends and has no successor.
	Warnings []Warning
}

// Warning is about the profile of an app.
type Warning struct {
	UUID string // of the profile that it is about
	Text string
}

// Commands returns the command of each step, in order, and ProvisioningProfileList as the last if List is set. The device needs
// to have granted two rights: see [MissingRights].
func (p *Plan) Commands() []command.Command {
	var out []command.Command
	for _, s := range p.Steps {
		if s.Action == Install {
			out = append(out, command.InstallProvisioningProfile{ProvisioningProfile: s.Profile.Data})
		} else {
			out = append(out, command.RemoveProvisioningProfile{UUID: s.UUID})
		}
	}
	if p.List {
		out = append(out, command.ProvisioningProfileList{})
	}
	return out
}

// Plan says what to do. It is a pure function: once its commands are queued, tell the state by [State.Sent]. Then it gives none of
// them twice, before they are answered and a list has shown what became of them.
//
// A profile is removed for a newer one only when the device has listed the newer one, so the app can run at every moment.
func (p Planner) Plan(g Goal, s State, now time.Time) *Plan {
	r := &round{planner: p, state: s, now: now, plan: &Plan{}, listed: map[string]Installed{}}
	for _, i := range s.Installed {
		r.listed[key(i.UUID)] = i
	}
	if !s.ListedAt.IsZero() {
		r.decide(g)
	}
	r.plan.List = r.listDue()
	return r.plan
}

// round is one plan in the making.
type round struct {
	planner Planner
	state   State
	now     time.Time
	plan    *Plan
	listed  map[string]Installed // by key
	waiting bool                 // for a list that shows what became of an order
}

func (r *round) decide(g Goal) {
	remove := map[string]bool{}
	for _, uuid := range g.Remove {
		remove[key(uuid)] = true
	}
	for _, uuid := range slices.Sorted(maps.Keys(remove)) {
		if i, ok := r.listed[uuid]; ok {
			r.order(Step{Action: Remove, UUID: i.UUID, Why: "it must not be installed"})
		}
	}
	families := map[string][]*Profile{}
	seen := map[string]bool{}
	for _, p := range g.Profiles {
		if !remove[key(p.UUID)] && !seen[key(p.UUID)] {
			seen[key(p.UUID)] = true
			families[p.family()] = append(families[p.family()], p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		all := families[name]
		slices.SortFunc(all, newer)
		r.family(all, g.UDID)
	}
}

// family decides about profiles of which one is enough, the best last.
func (r *round) family(all []*Profile, udid string) {
	newest := all[len(all)-1]
	usable := slices.DeleteFunc(slices.Clone(all), func(p *Profile) bool {
		return !r.now.Before(r.end(p)) || udid != "" && !p.Covers(udid)
	})
	if len(usable) == 0 {
		r.warn(newest, "no profile for this app and this device is valid, and none is at hand")
		return
	}
	best := usable[len(usable)-1]
	if r.ends(best) {
		r.warn(best, "it ends on "+date(r.end(best))+", and none that is newer is at hand")
	}
	if r.has(best) {
		r.supersede(best, all)
		return
	}
	if why := r.needed(usable); why != "" && !r.installing(all) {
		r.order(Step{Action: Install, UUID: best.UUID, Profile: best, Why: why})
	}
}

// needed says why the best of the usable profiles, which is not installed, has to be now.
func (r *round) needed(usable []*Profile) string {
	for _, p := range slices.Backward(usable) {
		if !r.has(p) {
			continue
		}
		if r.ends(p) {
			return "it replaces " + p.UUID + ", which ends on " + date(r.end(p))
		}
		return ""
	}
	return "no valid profile for this app is installed"
}

// supersede removes the others when the best is listed.
func (r *round) supersede(best *Profile, all []*Profile) {
	for _, p := range all {
		if i, ok := r.listed[key(p.UUID)]; ok && p != best {
			r.order(Step{Action: Remove, UUID: i.UUID, Why: best.UUID + " has replaced it"})
		}
	}
}

// installing reports whether one of them is on its way.
func (r *round) installing(all []*Profile) bool {
	return slices.ContainsFunc(all, func(p *Profile) bool {
		o, ok := r.state.Orders[key(p.UUID)]
		return ok && o.Action == Install && o.outstanding()
	})
}

// order adds a step, unless the same profile has one that is not over.
func (r *round) order(step Step) {
	if o, ok := r.state.Orders[key(step.UUID)]; ok {
		switch {
		case o.outstanding():
			return
		case !r.state.ListedAt.After(o.Answered):
			r.waiting = true
			return
		case o.Action == step.Action && r.now.Sub(o.Sent) < or(r.planner.Retry, DefaultRetry):
			return
		}
	}
	r.plan.Steps = append(r.plan.Steps, step)
}

// listDue says whether to ask for a list: to see what the steps will have done, or what was done, or because time went by.
func (r *round) listDue() bool {
	switch {
	case r.state.Listing:
		return false
	case !r.state.FailedAt.IsZero() && r.now.Sub(r.state.FailedAt) < or(r.planner.Retry, DefaultRetry):
		return false
	}
	return r.waiting || len(r.plan.Steps) > 0 || r.state.ListedAt.IsZero() ||
		r.now.Sub(r.state.ListedAt) >= or(r.planner.ListEvery, DefaultListEvery)
}

func (r *round) has(p *Profile) bool {
	_, ok := r.listed[key(p.UUID)]
	return ok
}

// end returns when a profile ends: as the device says, or as it says itself.
func (r *round) end(p *Profile) time.Time {
	if i, ok := r.listed[key(p.UUID)]; ok && !i.Expiry.IsZero() {
		return i.Expiry
	}
	return p.ExpirationDate
}

// ends reports whether it is time to replace a profile.
func (r *round) ends(p *Profile) bool {
	return !r.now.Before(r.end(p).Add(-or(r.planner.Lead, DefaultLead)))
}

func (r *round) warn(p *Profile, text string) {
	r.plan.Warnings = append(r.plan.Warnings, Warning{UUID: p.UUID, Text: text})
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func or(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}
