package storagetest

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/storage"
)

func enrollmentSessionCases() []testCase {
	return []testCase{
		{name: "kept as it is",
			why: "enroll.Session: every field comes back, times to the microsecond, and what is not set stays unset",
			run: sessionKept},
		{name: "text of all kinds",
			why: "enroll.Session.Prepared: a user's name and what a device says of itself are text of the world, up to the limits",
			run: sessionText},
		{name: "what cannot be kept is refused",
			why: "enroll.Session.Prepared: a Malformed error, before a database cuts or changes it",
			run: sessionLimits},
		{name: "an ID is used once",
			why: "enroll.Sessions: the ID of a session must be new, whatever its tenant is; the error is Malformed",
			run: sessionTaken},
		{name: "of many that take an ID one gets it",
			why: "enroll.Sessions: the ID of a session must be new, on every handle",
			run: sessionRace},
		{name: "a change",
			why: "enroll.Sessions: it returns what it wrote; ID, Kind, Tenant and BegunAt cannot be changed",
			run: sessionChanged},
		{name: "a change that fails",
			why: "enroll.Sessions: if change fails nothing is written, and its error is returned as it is",
			run: sessionFailed},
		{name: "no such session",
			why: "enroll.Sessions: a NotFound error, also for an ID that a URL made up",
			run: sessionMissing},
		{name: "many changes at once",
			why: "enroll.Sessions: no other change comes between; of two devices that take a session up one gets it",
			run: sessionCounted},
		{name: "another handle goes on", needs: needsDurable,
			why: "enroll.Sessions: a way in takes more than one request, and the server may be started again between them",
			run: sessionRestarted},
		{name: "swept when it is due", needs: needsSweep,
			why: "enroll.Session: the record may be deleted from KeepUntil on, not before; one without is kept",
			run: sessionsSwept},
		{name: "more than a batch is swept", needs: needsSweep,
			why: "storage.Sweeper: one Sweep deletes all that is over, in small transactions",
			run: manySessionsSwept},
	}
}

// openSession returns one that was begun and not taken up.
func openSession(id string) enroll.Session {
	return enroll.Session{ID: id, Kind: "ota", State: enroll.SessionOpen, BegunAt: endOfJuly, OpenUntil: endOfJuly.Add(time.Hour)}
}

// fullSession returns one with all fields set.
func fullSession(id string) enroll.Session {
	at := func(n int) time.Time {
		return endOfJuly.Add(time.Duration(n)*time.Hour + time.Duration(n)*time.Microsecond)
	}
	return enroll.Session{ID: id, Kind: "ota", Tenant: "tenant", User: "anna", Secret: hash("secret"), State: enroll.SessionDelivered,
		Device: map[string]string{"UDID": "8D4C3B2A", "SERIAL": "C02"}, BuiltIn: hash("built-in"), Identity: hash("identity"), Runs: 3,
		BegunAt: at(1), OpenUntil: at(2), DeliveredAt: at(3), UpdateFrom: at(4), KeepUntil: at(5)}
}

func (w *world) begin(s enroll.Session) {
	w.Helper()
	require.NoError(w, w.Sessions.CreateEnrollmentSession(w.Context(), s))
}

// expectSession reads a session and compares it.
func (w *world) expectSession(want enroll.Session) {
	w.Helper()
	got, err := w.Sessions.EnrollmentSession(w.Context(), want.ID)
	require.NoError(w, err)
	w.sameSession(want, got)
}

// sameSession compares two sessions: what has nothing in it is none, and a time is a time wherever it is.
func (w *world) sameSession(want, got enroll.Session) {
	w.Helper()
	flat := func(s enroll.Session) enroll.Session {
		for _, t := range []*time.Time{&s.BegunAt, &s.OpenUntil, &s.DeliveredAt, &s.UpdateFrom, &s.KeepUntil} {
			*t = t.UTC()
		}
		if len(s.Device) == 0 {
			s.Device = nil
		}
		return s
	}
	assert.Equal(w, flat(want), flat(got))
}

func (w *world) noSession(id string) {
	w.Helper()
	s, err := w.Sessions.EnrollmentSession(w.Context(), id)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%q", id)
	assert.Equal(w, enroll.Session{}, s)
}

func (w *world) changeSession(id string, change func(*enroll.Session)) enroll.Session {
	w.Helper()
	out, err := w.Sessions.ChangeEnrollmentSession(w.Context(), id, func(s *enroll.Session) error {
		change(s)
		return nil
	})
	require.NoError(w, err)
	return out
}

func sessionKept(w *world) {
	w.begin(fullSession("full"))
	w.begin(openSession("open"))
	w.expectSession(fullSession("full"))
	w.expectSession(openSession("open"))
	bare := enroll.Session{ID: "bare", Kind: "k", State: enroll.SessionIdentified}
	w.begin(bare)
	got, err := w.Sessions.EnrollmentSession(w.Context(), "bare")
	require.NoError(w, err)
	for _, t := range []time.Time{got.BegunAt, got.OpenUntil, got.DeliveredAt, got.UpdateFrom, got.KeepUntil} {
		assert.True(w, t.IsZero())
	}
	w.sameSession(bare, got)
	bare.ID, bare.Device = "empty", map[string]string{}
	w.begin(bare)
	w.expectSession(bare)
	precise := openSession("precise")
	precise.BegunAt = time.Date(2027, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", -7200))
	w.begin(precise)
	precise.BegunAt = precise.BegunAt.Truncate(time.Microsecond)
	w.expectSession(precise)
}

func sessionText(w *world) {
	long := strings.Repeat("x", mdm.MaxIdentifier)
	s := fullSession(long)
	s.Kind, s.Tenant, s.User = long, long, strings.Repeat("ü", mdm.MaxIdentifier/2)
	s.Device = map[string]string{"A": strings.Repeat("x", enroll.MaxSessionDevice-len(`{"A":""}`))}
	w.begin(s)
	w.expectSession(s)
	odd := []string{"'; DROP TABLE sessions; --", "%", `\'"`, "<&>", " spaces ", "日本語 😀", "\u2028\r\n\t", "{\"a\": null}"}
	for i, text := range odd {
		s := openSession(numbered("odd-", i))
		s.User, s.Tenant, s.Device = text, text, map[string]string{text: text, "": ""}
		w.begin(s)
		w.expectSession(s)
	}
	a, b := openSession("CASE"), openSession("case")
	a.User, b.User = "A", "b"
	w.begin(a)
	w.begin(b)
	w.expectSession(a)
	w.expectSession(b)
}

func sessionLimits(w *world) {
	long := strings.Repeat("x", mdm.MaxIdentifier+1)
	w.begin(openSession("there"))
	for name, change := range map[string]func(*enroll.Session){
		"a long user":             func(s *enroll.Session) { s.User = long },
		"a user that is no text":  func(s *enroll.Session) { s.User = "\xff" },
		"a user with a zero byte": func(s *enroll.Session) { s.User = "\x00" },
		"a long device": func(s *enroll.Session) {
			s.Device = map[string]string{"A": strings.Repeat("x", enroll.MaxSessionDevice)}
		},
		"a device of no text":   func(s *enroll.Session) { s.Device = map[string]string{"A": "\xff"} },
		"no state":              func(s *enroll.Session) { s.State = 0 },
		"a time of no calendar": func(s *enroll.Session) { s.KeepUntil = time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		s := openSession("new")
		change(&s)
		err := w.Sessions.CreateEnrollmentSession(w.Context(), s)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		w.noSession("new")
		out, err := w.Sessions.ChangeEnrollmentSession(w.Context(), "there", func(s *enroll.Session) error {
			s.Runs++
			change(s)
			return nil
		})
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		assert.Equal(w, enroll.Session{}, out)
		w.expectSession(openSession("there"))
	}
	for name, s := range map[string]enroll.Session{
		"no ID": openSession(""), "a long ID": openSession(long), "an ID that is none": openSession("a/b"),
		"no kind":       {ID: "new", State: enroll.SessionOpen},
		"a long tenant": {ID: "new", Kind: "ota", Tenant: long, State: enroll.SessionOpen},
	} {
		err := w.Sessions.CreateEnrollmentSession(w.Context(), s)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		w.noSession(s.ID)
	}
}

func sessionTaken(w *world) {
	first := fullSession("a")
	w.begin(first)
	other := openSession("a")
	for _, again := range []enroll.Session{first, other} {
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.Sessions.CreateEnrollmentSession(w.Context(), again)))
	}
	other.Tenant = "another"
	assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.Sessions.CreateEnrollmentSession(w.Context(), other)))
	w.expectSession(first)
}

func sessionRace(w *world) {
	handles := []*world{w, w.again()}
	var won []enroll.Session
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			s := openSession("a")
			s.User = numbered("user-", i)
			err := handles[i%2].Sessions.CreateEnrollmentSession(w.Context(), s)
			if err != nil {
				assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), "%v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, s)
		})
	}
	group.Wait()
	require.Len(w, won, 1)
	w.expectSession(won[0])
}

func sessionChanged(w *world) {
	want := fullSession("a")
	for _, id := range []string{"a", "b"} {
		before := openSession(id)
		before.Tenant, before.BegunAt = want.Tenant, want.BegunAt
		w.begin(before)
	}
	got := w.changeSession("a", func(s *enroll.Session) {
		assert.Equal(w, enroll.SessionOpen, s.State, "it sees what is there")
		*s = fullSession("other")
		s.Device = maps.Clone(want.Device)
		s.Kind, s.Tenant, s.BegunAt = "other", "other", endOfJuly.AddDate(1, 0, 0)
	})
	w.sameSession(want, got)
	w.expectSession(want)
	w.noSession("other")
	other, err := w.Sessions.EnrollmentSession(w.Context(), "b")
	require.NoError(w, err)
	assert.Equal(w, enroll.SessionOpen, other.State, "another session is none of its business")

	got.Device["UDID"] = "mine"
	w.expectSession(want)
	want.Device["SERIAL"] = "C03"
	w.sameSession(want, w.changeSession("a", func(s *enroll.Session) { s.Device["SERIAL"] = "C03" }))
	w.expectSession(want)
	same := w.changeSession("a", func(*enroll.Session) {})
	w.sameSession(want, same)
	want = enroll.Session{ID: "a", Kind: want.Kind, Tenant: want.Tenant, BegunAt: want.BegunAt, State: enroll.SessionOpen}
	w.sameSession(want, w.changeSession("a", func(s *enroll.Session) { *s = enroll.Session{State: enroll.SessionOpen} }))
	w.expectSession(want)
	finer := w.changeSession("a", func(s *enroll.Session) { s.KeepUntil = endOfJuly.Add(1999) })
	want.KeepUntil = endOfJuly.Add(1000)
	w.sameSession(want, finer)
}

func sessionFailed(w *world) {
	before := fullSession("a")
	w.begin(before)
	for _, failure := range []error{errors.New("not yours"), mdm.Errorf(mdm.Forbidden, "test", "another device's"), mdm.Errorf(mdm.Internal, "test", "broken")} {
		out, err := w.Sessions.ChangeEnrollmentSession(w.Context(), "a", func(s *enroll.Session) error {
			s.State, s.Runs, s.User = enroll.SessionOpen, 9, "bert"
			s.Device["UDID"] = "mine"
			return failure
		})
		assert.Same(w, failure, err, "as it is")
		assert.Equal(w, enroll.Session{}, out)
		w.expectSession(before)
	}
}

func sessionMissing(w *world) {
	w.begin(openSession("a"))
	for _, id := range []string{"", "b", "A", "a ", " a", "a/b", "%", "\x00", "\xff", strings.Repeat("a", 1000)} {
		w.noSession(id)
		_, err := w.Sessions.ChangeEnrollmentSession(w.Context(), id, func(*enroll.Session) error {
			w.Errorf("there is nothing to change")
			return nil
		})
		assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%q", id)
	}
}

func sessionCounted(w *world) {
	const n = 32
	w.begin(openSession("a"))
	handles := []*world{w, w.again()}
	var first, failed atomic.Int64
	var group sync.WaitGroup
	busy := errors.New("taken up")
	for i := range n {
		group.Go(func() {
			_, err := handles[i%2].Sessions.ChangeEnrollmentSession(w.Context(), "a", func(s *enroll.Session) error {
				s.Runs++
				return nil
			})
			assert.NoError(w, err)
			_, err = handles[i%2].Sessions.ChangeEnrollmentSession(w.Context(), "a", func(s *enroll.Session) error {
				if s.State != enroll.SessionOpen {
					return busy
				}
				s.State, s.User = enroll.SessionIdentified, numbered("device-", i)
				return nil
			})
			if err == nil {
				first.Add(1)
			} else if assert.ErrorIs(w, err, busy) {
				failed.Add(1)
			}
		})
	}
	group.Wait()
	s, err := w.Sessions.EnrollmentSession(w.Context(), "a")
	require.NoError(w, err)
	assert.Equal(w, n, s.Runs)
	assert.Equal(w, []int64{1, n - 1}, []int64{first.Load(), failed.Load()})
}

func sessionRestarted(w *world) {
	want := fullSession("a")
	w.session(needsSessions, func(w *world) { w.begin(want) })
	w.session(needsSessions, func(w *world) {
		w.expectSession(want)
		want.Runs++
		w.changeSession("a", func(s *enroll.Session) { s.Runs++ })
	})
	w.session(needsSessions, func(w *world) {
		w.expectSession(want)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.Sessions.CreateEnrollmentSession(w.Context(), want)))
	})
}

func sessionsSwept(w *world) {
	sweep := func(at time.Time) int {
		w.Helper()
		done, err := w.Sweep.Sweep(w.Context(), at, storage.Retention{})
		require.NoError(w, err)
		return done.Sessions
	}
	at := func(id string, t time.Time) enroll.Session {
		s := openSession(id)
		s.KeepUntil = t
		w.begin(s)
		return s
	}
	at("first", endOfJuly)
	second, later, kept := at("second", endOfJuly.Add(time.Hour)), at("later", endOfJuly), at("for-ever", time.Time{})
	later.KeepUntil = endOfJuly.AddDate(1, 0, 0)
	w.changeSession("later", func(s *enroll.Session) { s.KeepUntil = later.KeepUntil })
	assert.Zero(w, sweep(endOfJuly.Add(-time.Microsecond)))
	assert.Equal(w, 1, sweep(endOfJuly.Add(time.Minute)))
	w.noSession("first")
	w.expectSession(second)
	w.expectSession(later)
	w.expectSession(kept)
	assert.Zero(w, sweep(endOfJuly.Add(time.Minute)))
	assert.Equal(w, 1, sweep(endOfJuly.Add(2*time.Hour)))
	w.noSession("second")
	assert.Equal(w, 1, sweep(endOfJuly.AddDate(50, 0, 0)))
	w.expectSession(kept)
	at("first", endOfJuly)
}

func manySessionsSwept(w *world) {
	const n = 600
	var group sync.WaitGroup
	for part := range 4 { // many connections are quicker than one
		group.Go(func() {
			for i := part; i < n; i += 4 {
				s := openSession(numbered("s-", i))
				s.KeepUntil = endOfJuly.Add(time.Duration(i%7) * time.Second)
				assert.NoError(w, w.Sessions.CreateEnrollmentSession(w.Context(), s))
			}
		})
	}
	group.Wait()
	w.begin(openSession("kept"))
	done, err := w.Sweep.Sweep(w.Context(), endOfJuly.Add(time.Hour), storage.Retention{})
	require.NoError(w, err)
	assert.Equal(w, n, done.Sessions)
	w.noSession(numbered("s-", n-1))
	w.expectSession(openSession("kept"))
}
