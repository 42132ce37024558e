package dep

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// The defaults of a Syncer.
const (
	DefaultSyncEvery = 30 * time.Minute
	DefaultFullEvery = 7 * 24 * time.Hour
	DefaultLease     = 2 * time.Minute
)

// ErrHeld is the error of a sync that somebody else is at.
var ErrHeld = errors.New("dep: somebody else is syncing this server")

// ErrLost is the error of a sync that came too late: somebody else took it, or the server was changed under it, as by Full. Nothing of
// the last page was kept.
var ErrLost = errors.New("dep: the sync is somebody else's now")

// ErrLoop is the error of a sync that Apple sends in circles. What was told is kept.
var ErrLoop = errors.New("dep: Apple gives the same cursor again and again")

// Source is what a Syncer asks of Apple. A *Client is one.
type Source interface {
	Account(ctx context.Context) (Account, error)
	FetchDevices(ctx context.Context, cursor string, limit int) (DevicePage, error)
	SyncDevices(ctx context.Context, cursor string, limit int) (DevicePage, error)
	DeviceDetails(ctx context.Context, serials []string) (map[string]Device, error)
}

// Syncer keeps in a Store what Apple tells of the devices of servers. Set it up before it is used, and do not copy it then; its
// methods are safe for concurrent use, in any number of processes.
//
// First all devices are fetched, then changes are asked for, as Apple's cursors allow. A page is kept in one transaction:
// the devices, an event for each that changed, and the cursor after it. So nothing is lost, whenever the process ends, and a
// server is one process's at a time: it has a lease, which each page renews, and no call to Apple outlasts it.
//
// What changed is folded by Apple's dates. A device about which Apple says something that we do not know is looked at by
// itself. From time to time all are fetched again; those that are missing then are looked at, too, before they count as gone.
// A device that is gone is still managed: that only its owner ends.
type Syncer struct {
	Store   Store                                          // required
	Connect func(Key) Source                               // required: the client of a server, the same one each time
	Servers func(context.Context) iter.Seq2[Server, error] // whom Run syncs; nil: those of the tenant ""

	// Handle is told what a page says before it is kept: an error stops the sync there, and the page comes again. It may
	// hear of a page more than once, even of one that never is kept; of devices that have not changed; and of what is older than
	// what is known, by OpDate, and changes nothing. Consumers of the store's events hear of changes only, and need none. Nil:
	// nobody.
	Handle func(ctx context.Context, key Key, told []Told) error

	Every     time.Duration // how long Run waits between syncs of a server; 0: DefaultSyncEvery
	FullEvery time.Duration // how often all devices are fetched; 0: DefaultFullEvery
	Lease     time.Duration // 0: DefaultLease
	PageSize  int           // devices in a page; 0 or more than Apple allows: that

	Progress func(Progress) // called after each page, from the goroutine of the sync; may be nil
	Clock    func() time.Time
	Logger   *slog.Logger // nil: nothing is logged

	calls calls
}

// Told is a device of a page.
type Told struct {
	Device Device
	Gone   bool
}

// Progress is how far a sync is.
type Progress struct {
	Server  Key
	Phase   Phase
	Fetched int // devices in this fetch of all so far
	Pages   int // in this sync
	Tally
}

// Tally counts what a sync changed.
type Tally struct {
	Told     int // devices that Apple told of
	Added    int
	Modified int
	Removed  int
	Odd      int // that cannot be kept, having no serial number, or that Apple says nothing of when it is asked
}

func (s *Syncer) now() time.Time {
	if s.Clock == nil {
		return time.Now()
	}
	return s.Clock()
}

func (s *Syncer) lease() time.Duration { return or(s.Lease, DefaultLease) }

func or(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

func (s *Syncer) log(ctx context.Context, level slog.Level, msg string, key Key, attrs ...slog.Attr) {
	if s.Logger != nil {
		s.Logger.LogAttrs(ctx, level, msg, append([]slog.Attr{slog.String("server", key.String())}, attrs...)...)
	}
}

// Sync asks Apple until there is nothing more to be told of a server, and returns what that changed. It returns ErrHeld if
// somebody else is at it. After any error what was kept until then is kept, and the next Sync goes on from there.
//
// What Apple refuses until somebody does something, as new terms, is kept as Server.Stopped, with an event.
func (s *Syncer) Sync(ctx context.Context, key Key) (Progress, error) {
	t := &turn{Syncer: s, holder: rand.Text(), source: s.Connect(key), progress: Progress{Server: key}}
	server, err := t.take(ctx, key)
	if err != nil {
		return t.progress, err
	}
	end := context.WithoutCancel(ctx)
	held, release := t.hold(ctx, key)
	if err = t.all(held, server); err != nil && errors.Is(context.Cause(held), ErrLost) {
		err = ErrLost
	}
	release()
	if err := t.over(end, key, err); err != nil {
		s.log(end, slog.LevelWarn, "how a sync ended could not be kept", key, slog.Any("error", err))
	}
	return t.progress, err
}

// Full makes the next sync of a server fetch all devices.
func (s *Syncer) Full(ctx context.Context, key Key) error {
	_, err := s.Store.ChangeServer(ctx, key, func(v *Server) error {
		v.Sync.restart(s.now())
		return nil
	})
	return err
}

// restart begins to fetch all. Who is at the sync notices, and stops.
func (s *Sync) restart(now time.Time) {
	s.Phase, s.Cursor, s.Swept, s.Fetched, s.FetchBegunAt = PhaseFetch, "", "", 0, now
	s.Round++
}

// turn is one sync of one server.
type turn struct {
	*Syncer
	holder   string
	source   Source
	progress Progress

	server   Server // as it was kept last
	restarts int    // by bad cursors
	fetched  bool   // all, in this sync
	repeats  int    // of pages with nothing in them
	mark     string // a cursor that was there: see circles
	steps    int    // since then
	span     int    // until another one is marked
}

// take gets the lease.
func (t *turn) take(ctx context.Context, key Key) (Server, error) {
	return t.Store.ChangeServer(ctx, key, func(v *Server) error {
		now := t.now()
		switch {
		case v.Token.ConsumerKey == "":
			return mdm.Errorf(mdm.Forbidden, "dep.Sync", "server %q: %w", key, ErrNoToken)
		case now.Before(v.Sync.NotBefore) && v.Sync.NotBefore.Sub(now) <= maxRetryAfter+oddClock: // else a clock was wrong
			return &Error{Call: "sync", RetryAfter: v.Sync.NotBefore.Sub(now), Code: ErrThrottled}
		case !v.Sync.Take(t.holder, now, t.lease()):
			return ErrHeld
		case v.Sync.Round == 0:
			v.Sync.restart(now)
		}
		return nil
	})
}

// hold renews the lease while a step takes long, as one that looks for missing devices among very many, until release is called.
// If the lease is somebody else's, the context that it returns ends with ErrLost.
func (t *turn) hold(ctx context.Context, key Key) (held context.Context, release func()) {
	held, cancel := context.WithCancelCause(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(t.lease() / 3)
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			_, err := t.Store.ChangeServer(held, key, func(v *Server) error {
				if v.Sync.Holder != t.holder {
					return ErrLost
				}
				v.Sync.HeldUntil = t.now().Add(t.lease())
				return nil
			})
			if errors.Is(err, ErrLost) {
				cancel(ErrLost)
			}
		}
	})
	return held, func() {
		cancel(nil)
		done.Wait()
	}
}

// over gives the lease back and keeps how the sync ended.
func (t *turn) over(ctx context.Context, key Key, failed error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return t.Store.Keep(ctx, key, nil, func(v *Server, _ map[string]*Record) (Kept, error) {
		now := t.now()
		v.Sync.Release(t.holder)
		if wait := RetryAfter(failed); wait > 0 {
			v.Sync.NotBefore = now.Add(wait)
		}
		return Kept{Events: v.refused(failed, now)}, nil
	})
}

// RetryAfter returns how long Apple wants us to wait after an error, 0 if it does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// refused keeps what Apple refused, or that it does so no longer, and returns an event if that is news.
func (v *Server) refused(err error, now time.Time) []mdm.Event {
	event := mdm.Event{At: now, Enrollment: mdm.EnrollmentID{Tenant: v.Tenant}, Subject: v.Name}
	p, ok := AsProblem(err)
	switch {
	case err == nil && v.Stopped != nil:
		event.Type, event.Reason = mdm.EventServerGoesOn, v.Stopped.Code
		v.Stopped = nil
		return []mdm.Event{event}
	case !ok:
		return nil // an outage says nothing of what was refused before
	case v.Stopped != nil && v.Stopped.Code == p.Code:
		v.Stopped.At = now
		return nil
	}
	p.Since, p.At = now, now
	v.Stopped = p
	event.Type, event.Reason = mdm.EventServerStopped, p.Code+": "+p.Text
	return []mdm.Event{event}
}
