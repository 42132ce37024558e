package practice_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// profileShelf is a ProfileSource: any profile that is asked for, but for those that are withdrawn.
type profileShelf struct {
	mu        sync.Mutex
	withdrawn map[string]bool
}

func (s *profileShelf) withdraw(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.withdrawn == nil {
		s.withdrawn = map[string]bool{}
	}
	s.withdrawn[name] = true
}

func (s *profileShelf) Profile(_ context.Context, _ *mdm.Enrollment, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.withdrawn[name] {
		return nil, practice.ErrWithdrawn
	}
	return profileShelved(name, &profile.WebClip{URL: "https://example.com", Label: name})
}

func profileShelved(name string, payloads ...profile.Payload) ([]byte, error) {
	return (&profile.Profile{Identifier: name, DisplayName: name, Payloads: payloads}).Encode()
}

// practiceWithCooks is a practice with cooks.
type practiceWithCooks interface {
	Workflows() []workflow.Any
	Cooks() map[string]command.Cook
}

// follow serves these practices.
func (l *lab) followPractices(practices ...practiceWithCooks) {
	l.Helper()
	cooks := map[string]command.Cook{}
	var workflows []workflow.Any
	for _, p := range practices {
		workflows = append(workflows, p.Workflows()...)
		maps.Copy(cooks, p.Cooks())
	}
	l.serve(func(c *server.Config) { c.Cooks = cooks }, workflows...)
}

// gotProfiles returns what a device was sent, profiles with their identifiers.
func gotProfiles(d *mdmtest.Device) []string {
	var out []string
	for _, done := range d.History() {
		what := done.Order.RequestType
		switch what {
		case "InstallProfile":
			payload, _ := done.Order.Command["Payload"].([]byte)
			if parsed, err := profile.Parse(payload); err == nil {
				what = "+" + parsed.Profile.Identifier
			}
		case "RemoveProfile":
			id, _ := done.Order.Command["Identifier"].(string)
			what = "-" + id
		}
		out = append(out, what)
	}
	return out
}

// installRoster has one enrollment, or an error.
type installRoster struct {
	e   *mdm.Enrollment
	err error
}

func (r installRoster) Enrollment(context.Context, mdm.EnrollmentID) (*mdm.Enrollment, error) {
	return r.e, r.err
}

func TestInstallCook(t *testing.T) {
	managed := installRoster{e: &mdm.Enrollment{State: mdm.Enrolled}}
	fine := func(context.Context, *mdm.Enrollment, string) error { return nil }
	source := func(data []byte, err error) practice.ProfileFunc {
		return func(context.Context, *mdm.Enrollment, string) ([]byte, error) { return data, err }
	}
	good, err := profileShelved("a", &profile.WebClip{URL: "https://example.com", Label: "a"})
	require.NoError(t, err)
	takeover, err := profileShelved("a", &profile.MDM{Topic: topic, ServerURL: "https://example.com", IdentityCertificateUUID: "X"})
	require.NoError(t, err)
	down := errors.New("down")
	for name, tt := range map[string]struct {
		roster installRoster
		still  func(context.Context, *mdm.Enrollment, string) error
		source practice.ProfileFunc
		off    bool
		code   mdm.Code
		is     error
	}{
		"good":             {roster: managed, still: fine, source: source(good, nil)},
		"no precondition":  {roster: managed, source: source(good, nil)},
		"unknown":          {roster: installRoster{err: mdm.Errorf(mdm.NotFound, "roster", "nobody")}, source: source(good, nil), off: true},
		"ended":            {roster: installRoster{e: &mdm.Enrollment{State: mdm.Ended}}, source: source(good, nil), off: true},
		"no database":      {roster: installRoster{err: down}, source: source(good, nil), is: down},
		"not so any more":  {roster: managed, still: func(context.Context, *mdm.Enrollment, string) error { return command.ErrCalledOff }, source: source(good, nil), off: true},
		"withdrawn":        {roster: managed, source: source(nil, practice.ErrWithdrawn), off: true},
		"source is down":   {roster: managed, source: source(nil, down), is: down},
		"no profile":       {roster: managed, source: source([]byte("x"), nil), code: mdm.Malformed},
		"under other name": {roster: managed, source: source(shelfMust(profileShelved("b", &profile.WebClip{URL: "https://example.com", Label: "b"})), nil), code: mdm.Malformed},
		"takes over":       {roster: managed, source: source(takeover, nil), code: mdm.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			recipe := practice.InstallRecipe("cook", "a", 0)
			c, err := practice.InstallCook(tt.roster, tt.source, tt.still)(t.Context(), mdm.EnrollmentID{Device: "D"}, recipe.Args)
			assert.Equal(t, tt.off, errors.Is(err, command.ErrCalledOff), "%v", err)
			switch {
			case tt.code != 0:
				assert.Equal(t, tt.code, mdm.CodeOf(err))
			case tt.is != nil:
				assert.ErrorIs(t, err, tt.is)
			case !tt.off:
				require.NoError(t, err)
				assert.Equal(t, command.InstallProfile{Payload: good}, c)
			}
		})
	}
}

func shelfMust[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// meet lets a device connect a few times, for devices that are never quiet.
func (l *lab) meetOften(d *mdmtest.Device) {
	l.Helper()
	for range 6 {
		l.flush()
		require.NoError(l, d.Poll(l.Context()))
	}
	l.flush()
}
