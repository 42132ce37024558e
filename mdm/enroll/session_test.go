package enroll_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
)

func begun() enroll.Session {
	return enroll.Session{ID: enroll.NewSessionID("ota"), Kind: "ota", Tenant: "tenant", User: "jürgen", State: enroll.SessionOpen,
		BegunAt: time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))}
}

func TestPreparedSession(t *testing.T) {
	t.Parallel()
	in := begun()
	in.Device = map[string]string{"UDID": "x"}
	out, err := in.Prepared()
	require.NoError(t, err)
	assert.Equal(t, time.Date(2026, 3, 1, 11, 0, 0, 123_456_000, time.UTC), out.BegunAt)
	assert.Equal(t, time.Time{}, out.KeepUntil)
	again, err := out.Prepared()
	require.NoError(t, err)
	assert.Equal(t, out, again)
	in.Device["UDID"] = "y"
	assert.Equal(t, "x", out.Device["UDID"], "a copy")
	in.Device = map[string]string{}
	out, err = in.Prepared()
	require.NoError(t, err)
	assert.Nil(t, out.Device)
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", mdm.MaxIdentifier)
	device := func(text string) func(*enroll.Session) {
		return func(s *enroll.Session) { s.Device = map[string]string{"A": text} }
	}
	room := enroll.MaxSessionDevice - len(`{"A":""}`)
	for name, c := range map[string]struct {
		change func(*enroll.Session)
		ok     bool
	}{
		"the longest names":        {func(s *enroll.Session) { s.ID, s.Kind, s.Tenant, s.User = long, long, long, long }, true},
		"nobody":                   {func(s *enroll.Session) { s.User, s.Tenant = "", "" }, true},
		"no ID":                    {func(s *enroll.Session) { s.ID = "" }, false},
		"a long ID":                {func(s *enroll.Session) { s.ID = long + "x" }, false},
		"an ID of two parts":       {func(s *enroll.Session) { s.ID = "a/b" }, false},
		"an ID that means a place": {func(s *enroll.Session) { s.ID = ".." }, false},
		"an ID with an umlaut":     {func(s *enroll.Session) { s.ID = "ü" }, false},
		"no kind":                  {func(s *enroll.Session) { s.Kind = "" }, false},
		"a long tenant":            {func(s *enroll.Session) { s.Tenant = long + "x" }, false},
		"a tenant that is no text": {func(s *enroll.Session) { s.Tenant = "\xff" }, false},
		"a long user":              {func(s *enroll.Session) { s.User = long + "x" }, false},
		"a user with a zero byte":  {func(s *enroll.Session) { s.User = "a\x00" }, false},
		"no state":                 {func(s *enroll.Session) { s.State = 0 }, false},
		"an unknown state":         {func(s *enroll.Session) { s.State = enroll.SessionDelivered + 1 }, false},
		"runs below zero":          {func(s *enroll.Session) { s.Runs = -1 }, false},
		"the most of a device":     {device(strings.Repeat("x", room)), true},
		"more of a device":         {device(strings.Repeat("x", room+1)), false},
		"much more of a device":    {device(strings.Repeat("x", enroll.MaxSessionDevice)), false},
		"longer as JSON":           {device(strings.Repeat("\"", room)), false},
		"a device with no text":    {device("\xff"), false},
		"the epoch":                {func(s *enroll.Session) { s.KeepUntil = time.Unix(0, 999) }, false},
		"before the epoch":         {func(s *enroll.Session) { s.DeliveredAt = time.Unix(-1, 0) }, false},
		"the last moment":          {func(s *enroll.Session) { s.KeepUntil = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, true},
		"after that":               {func(s *enroll.Session) { s.KeepUntil = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begun()
			c.change(&s)
			_, err := s.Prepared()
			if c.ok {
				assert.NoError(t, err)
			} else {
				assert.Error(t, err)
				assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			}
		})
	}
}

func TestChangedSession(t *testing.T) {
	t.Parallel()
	before, err := begun().Prepared()
	require.NoError(t, err)
	before.Device = map[string]string{"UDID": "x"}
	after, err := before.Changed(func(s *enroll.Session) error {
		s.ID, s.Kind, s.Tenant, s.BegunAt = "other", "other", "other", time.Now()
		s.State = enroll.SessionIdentified
		s.Device["UDID"] = "y"
		return nil
	})
	require.NoError(t, err)
	want := before
	want.State, want.Device = enroll.SessionIdentified, map[string]string{"UDID": "y"}
	assert.Equal(t, want, after)
	assert.Equal(t, "x", before.Device["UDID"], "it stays as it is")

	failure := errors.New("no")
	_, err = before.Changed(func(s *enroll.Session) error {
		s.State = 0
		return failure
	})
	assert.Equal(t, failure, err, "as it is")
	_, err = before.Changed(func(s *enroll.Session) error {
		s.State = 0
		return nil
	})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
}

func TestSessionIDs(t *testing.T) {
	t.Parallel()
	a, b := enroll.NewSessionID("ota"), enroll.NewSessionID("ota")
	assert.NotEqual(t, a, b)
	assert.True(t, strings.HasPrefix(a, "ota-"))
	assert.True(t, enroll.IsSessionID(a))
	assert.False(t, enroll.IsSessionID("a b"))
}

func TestSessionStates(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "identified", enroll.SessionIdentified.String())
	assert.Equal(t, "unknown", enroll.SessionState(200).String())
}
