package dep

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

const (
	maxRestarts = 3 // of a fetch in one sync, by cursors that Apple does not take
	maxRepeats  = 5 // pages that bring nothing new
	loopPause   = 10 * time.Minute
	badPause    = time.Hour // after a cursor that Apple gave and does not take
	callPart    = 0.75      // of the lease, which a call to Apple may take
)

// all goes on until there is nothing more to be told.
func (t *turn) all(ctx context.Context, server Server) error {
	t.server = server
	if err := t.account(ctx); err != nil {
		return err
	}
	if why := t.server.Sync.stale(t.now(), or(t.FullEvery, DefaultFullEvery)); why != "" {
		if err := t.refetch(ctx, why); err != nil {
			return err
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := t.step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// stale returns why all devices have to be fetched, empty if changes are enough.
func (s *Sync) stale(now time.Time, every time.Duration) string {
	since := now.Sub(s.FetchedAt)
	switch {
	case s.Phase != PhaseChange:
		return "" // they are being fetched
	case s.Cursor == "":
		return "Apple gave no cursor to ask for changes with"
	case since >= every, since < -oddClock:
		return "it is time"
	}
	return ""
}

// call makes a call to Apple that does not outlast the lease, which is renewed first if something took long since it was last.
func (t *turn) call(ctx context.Context, do func(context.Context) error) error {
	limit := time.Duration(float64(t.lease()) * callPart)
	if t.server.Sync.HeldUntil.Sub(t.now()) < limit {
		if err := t.keep(ctx, nil, func(*Server, map[string]*Record) (Kept, error) { return Kept{}, nil }); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, mdm.Errorf(mdm.Unavailable, "dep.Sync", "Apple gave no answer within %v", limit))
	defer cancel()
	err := do(ctx)
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// account reads whom the token is for, and what may be asked for at once.
func (t *turn) account(ctx context.Context) error {
	var a Account
	err := t.call(ctx, func(ctx context.Context) (err error) {
		a, err = t.source.Account(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return t.keep(ctx, nil, func(v *Server, _ map[string]*Record) (Kept, error) {
		was := v.Account.ServerUUID
		if was != "" && a.ServerUUID != "" && was != a.ServerUUID { // Import would have noticed another consumer key
			return Kept{}, ErrOtherServer
		}
		if was == "" || a.ServerUUID != "" { // an answer that says nothing does not make us forget whom we serve
			v.Account = a.bounded()
		}
		return Kept{}, nil
	})
}

// keep writes to the server and its records if the sync is still this one's and where it was, and renews the lease. What it finds written
// by itself, as the answer to a commit can be lost, it leaves as it is.
func (t *turn) keep(ctx context.Context, serials []string, do func(*Server, map[string]*Record) (Kept, error)) error {
	var next Server
	var wrote time.Time // HeldUntil, which is another one each time
	err := t.Store.Keep(ctx, t.progress.Server, serials, func(v *Server, known map[string]*Record) (Kept, error) {
		at := &t.server.Sync
		if !wrote.IsZero() && v.Sync.Holder == t.holder && v.Sync.HeldUntil.Equal(wrote) {
			next = *v
			return Kept{}, nil
		}
		if v.Sync.Holder != t.holder || v.Sync.Round != at.Round || v.Sync.Phase != at.Phase || v.Sync.Cursor != at.Cursor {
			return Kept{}, ErrLost
		}
		kept, err := do(v, known)
		if err != nil {
			return Kept{}, err
		}
		wrote = t.now().Add(t.lease()).UTC().Truncate(time.Microsecond)
		if wrote.Equal(v.Sync.HeldUntil) {
			wrote = wrote.Add(time.Microsecond)
		}
		v.Sync.HeldUntil = wrote
		next = *v
		return kept, nil
	})
	if err == nil {
		t.server = next
	}
	return err
}

// refetch begins to fetch all devices.
func (t *turn) refetch(ctx context.Context, why string) error {
	t.mark, t.steps, t.span = "", 0, 0
	t.log(ctx, slog.LevelInfo, "all devices are fetched", t.progress.Server, slog.String("why", why))
	return t.keep(ctx, nil, func(v *Server, _ map[string]*Record) (Kept, error) {
		v.Sync.restart(t.now())
		return Kept{}, nil
	})
}

func (t *turn) step(ctx context.Context) (more bool, err error) {
	if t.server.Sync.Phase == PhaseSweep {
		return true, t.sweep(ctx)
	}
	if t.server.Sync.Phase == PhaseChange && t.server.Sync.Cursor == "" {
		return false, nil // all were fetched, and changes cannot be asked for
	}
	page, err := t.page(ctx)
	switch {
	case errors.Is(err, ErrExhaustedCursor):
		page = DevicePage{} // all was told
	case errors.Is(err, ErrExpiredCursor), errors.Is(err, ErrInvalidCursor), errors.Is(err, ErrCursorRequired):
		if t.restarts++; t.fetched || t.restarts > maxRestarts {
			return false, paused(err) // another fetch of all would not help
		}
		return true, t.refetch(ctx, err.Error())
	case err != nil:
		return false, err
	}
	told, err := t.told(ctx, page)
	if err != nil {
		return false, err
	}
	if t.Handle != nil && len(told) > 0 {
		if err := t.Handle(ctx, t.progress.Server, told); err != nil {
			return false, err
		}
	}
	same := page.Cursor == "" || page.Cursor == t.server.Sync.Cursor
	if err := t.keepPage(ctx, page, told); err != nil {
		return false, err
	}
	if !page.More {
		return t.server.Sync.Phase == PhaseSweep, nil
	}
	if same || t.circles(page.Cursor) {
		return false, &loopError{}
	}
	if t.repeats++; len(page.Devices) > 0 {
		t.repeats = 0
	}
	if t.repeats > maxRepeats {
		return false, &loopError{}
	}
	return true, nil
}

// circles reports whether a cursor was there before. It remembers one only, a later one as the way gets longer (Brent's algorithm).
func (t *turn) circles(cursor string) bool {
	if cursor == t.mark {
		return true
	}
	if t.steps++; t.steps > t.span {
		t.mark, t.steps, t.span = cursor, 0, 2*t.span+1
	}
	return false
}

// paused is an error with a pause before the next sync.
func paused(err error) error {
	e := &Error{Call: "sync", Reason: ErrUnavailable, Err: err}
	var given *Error
	if errors.As(err, &given) {
		*e = *given
	}
	e.RetryAfter = max(e.RetryAfter, badPause)
	return e
}

// loopError is ErrLoop, with a pause.
type loopError struct{}

func (*loopError) Error() string { return ErrLoop.Error() }
func (*loopError) Unwrap() []error {
	return []error{ErrLoop, &Error{Call: "sync", RetryAfter: loopPause}}
}

// page asks for the next page.
func (t *turn) page(ctx context.Context) (page DevicePage, err error) {
	at := &t.server.Sync
	ask, uri := t.source.SyncDevices, "/devices/sync"
	if at.Phase == PhaseFetch {
		ask, uri = t.source.FetchDevices, "/server/devices"
	}
	err = t.call(ctx, func(ctx context.Context) (err error) {
		page, err = ask(ctx, at.Cursor, t.pageSize(uri))
		return err
	})
	return page, err
}

func (t *turn) pageSize(uri string) int {
	size := Limits(t.server.Account.URLs).Max(http.MethodPost, uri)
	if t.PageSize > 0 {
		size = min(size, t.PageSize)
	}
	return max(size, 1)
}

// keepPage writes what a page says, and the cursor after it. Of a page with more devices than were asked for the cursor comes with
// the last of them.
func (t *turn) keepPage(ctx context.Context, page DevicePage, told []Told) error {
	for len(told) > MaxBatch {
		if err := t.keepTold(ctx, told[:MaxBatch], nil); err != nil {
			return err
		}
		told = told[MaxBatch:]
	}
	return t.keepTold(ctx, told, &page)
}

// keepTold writes what Apple says of devices, and if page is not nil how far the sync is after it.
func (t *turn) keepTold(ctx context.Context, told []Told, page *DevicePage) error {
	serials := make([]string, len(told))
	for i := range told {
		serials[i] = told[i].Device.SerialNumber
	}
	var tally Tally
	err := t.keep(ctx, serials, func(v *Server, known map[string]*Record) (Kept, error) {
		tally = Tally{}
		now := t.now()
		kept := fold(v, known, told, now, &tally)
		if v.Sync.Phase == PhaseFetch {
			v.Sync.Fetched += len(told)
		}
		if page != nil {
			v.Sync.turn(*page, now)
		}
		return kept, nil
	})
	if err == nil {
		t.show(ctx, tally)
	}
	return err
}

// turn is how far the sync is after a page.
func (s *Sync) turn(page DevicePage, now time.Time) {
	s.At = now
	if page.Cursor != "" {
		s.Cursor = page.Cursor
	}
	if !page.FetchedUntil.IsZero() {
		s.Until = page.FetchedUntil
	}
	if s.Phase == PhaseFetch && !page.More {
		s.Phase, s.Swept = PhaseSweep, ""
	}
}

// show counts and shows what was kept.
func (t *turn) show(ctx context.Context, tally Tally) {
	p := &t.progress
	p.Told, p.Added, p.Modified, p.Removed = p.Told+tally.Told, p.Added+tally.Added, p.Modified+tally.Modified, p.Removed+tally.Removed
	p.Pages++
	p.Phase, p.Fetched = t.server.Sync.Phase, t.server.Sync.Fetched
	if t.Progress != nil {
		t.Progress(*p)
	}
	t.log(ctx, slog.LevelDebug, "a page of devices", p.Server, slog.String("phase", p.Phase.String()), slog.Int("devices", p.Told),
		slog.Int("added", p.Added), slog.Int("modified", p.Modified), slog.Int("removed", p.Removed))
}

// fold tells records what Apple says, and returns those that have to be written.
func fold(v *Server, known map[string]*Record, told []Told, now time.Time, tally *Tally) Kept {
	var kept Kept
	for _, m := range told {
		r := known[m.Device.SerialNumber]
		if r == nil {
			r = &Record{Server: v.Key, Serial: m.Device.SerialNumber}
		}
		before := *r
		tally.Told++
		change := r.Tell(m.Device, m.Gone, now)
		if v.Sync.Phase == PhaseFetch && !m.Gone {
			r.Round = v.Sync.Round
		}
		r.Judge(v, now)
		switch change {
		case Added:
			tally.Added++
		case Modified:
			tally.Modified++
		case Removed:
			tally.Removed++
		}
		if change != Unchanged {
			kept.Events = append(kept.Events, r.Event(changeEvents[change], now, ""))
		}
		if change != Unchanged || r.Round != before.Round || r.Assignment != before.Assignment || !r.Device.OpDate.Equal(before.Device.OpDate) {
			kept.Records = append(kept.Records, *r)
		}
	}
	return kept
}

// sweep looks at devices that a fetch of all did not bring, a batch at a time, and marks those as gone that are.
func (t *turn) sweep(ctx context.Context) error {
	at := t.server.Sync
	var missing []string
	for r, err := range t.Store.Records(ctx, Query{Server: t.progress.Server, After: at.Swept, NotRound: at.Round, Limit: t.pageSize("/devices")}) {
		if err != nil {
			return err
		}
		missing = append(missing, r.Serial)
	}
	if len(missing) == 0 {
		t.fetched = true
		return t.keep(ctx, nil, func(v *Server, _ map[string]*Record) (Kept, error) {
			v.Sync.Phase, v.Sync.Swept, v.Sync.FetchedAt = PhaseChange, "", t.now()
			return Kept{}, nil
		})
	}
	found, err := t.details(ctx, missing)
	if err != nil {
		return err
	}
	told := make([]Told, 0, len(found))
	for _, serial := range missing {
		if m, ok := found[serial]; ok {
			told = append(told, m)
		}
	}
	if t.Handle != nil && len(told) > 0 {
		if err := t.Handle(ctx, t.progress.Server, told); err != nil {
			return err
		}
	}
	var tally Tally
	err = t.keep(ctx, missing, func(v *Server, known map[string]*Record) (Kept, error) {
		tally = Tally{}
		v.Sync.Swept = missing[len(missing)-1]
		return fold(v, known, told, t.now(), &tally), nil
	})
	if err == nil {
		t.show(ctx, tally)
	}
	return err
}
