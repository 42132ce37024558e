package dep

import (
	"context"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// DefaultAssignEvery is how often Run of an Assigner looks for what is due.
const DefaultAssignEvery = time.Minute

// The pauses of an Assigner, by what Apple says to a device. Most double each time, up to a day.
const (
	claimFor        = 10 * time.Minute // how long devices are one process's
	turnFor         = 5 * time.Minute  // how long Run is at one server before it looks at the others
	failedPause     = 5 * time.Minute
	throttledPause  = time.Hour
	noAccessPause   = time.Hour
	noProfilePause  = time.Hour
	longestPause    = 24 * time.Hour
	triesUntilEvent = 3
)

// Answers of ours in Assignment.Answer, beside Apple's.
const (
	AnswerNone      = "NO_ANSWER"   // Apple said nothing of the device
	AnswerOther     = "NOT_APPLIED" // Apple said SUCCESS, but when asked again it has another profile
	AnswerNoProfile = "NO_PROFILE"  // Apple knows no profile of this UUID
	AnswerRefused   = "REFUSED"     // Apple took the call for a wrong one, and did not say why
)

// Profiles is what an Assigner asks of Apple. A *Client is one.
type Profiles interface {
	DeviceDetails(ctx context.Context, serials []string) (map[string]Device, error)
	AssignProfile(ctx context.Context, uuid string, serials []string) (Assigned, error)
	DefineProfile(ctx context.Context, p Profile) (uuid string, devices map[string]string, err error)
	Profile(ctx context.Context, uuid string) (Profile, error)
}

// Assigner brings the devices of servers to the profile that they ought to have: the Record's Want, else the Server's Profile. A device
// is due when a sync says that it has another one, when the wish changes, and again after a while if Apple did not do it.
//
// Apple is asked before (those that have it are left alone, because Apple limits how often a device is assigned) and
// after it: SUCCESS alone is not believed. Any number of processes may do this at once; they share the devices.
type Assigner struct {
	Store   Store                                          // required
	Connect func(Key) Profiles                             // required
	Servers func(context.Context) iter.Seq2[Server, error] // whose devices Run assigns; nil: those of the servers of the tenant ""
	Every   time.Duration                                  // how often Run looks for what is due; 0: DefaultAssignEvery

	Progress func(Report) // called after each batch; may be nil
	Clock    func() time.Time
	Logger   *slog.Logger // nil: nothing is logged

	calls calls
}

// Report counts what became of devices.
type Report struct {
	Server   Key
	Right    int            // had it already
	Assigned int            // have it now
	Waiting  int            // are tried again later; Refused are among them
	Refused  map[string]int // by Apple's word for why not
}

func (a *Assigner) now() time.Time {
	if a.Clock == nil {
		return time.Now()
	}
	return a.Clock()
}

// SetProfile makes a profile the one of all devices of a server that have no other Want. An empty uuid leaves devices as they are from
// then on. Devices are judged by the next Assign. The error is Malformed if uuid cannot be one.
func (a *Assigner) SetProfile(ctx context.Context, key Key, uuid string) error {
	if uuid != "" && !isUUID(uuid) {
		return badUUID("dep.SetProfile")
	}
	_, err := a.Store.ChangeServer(ctx, key, func(v *Server) error {
		v.Profile, v.Judge = uuid, Judge{Profile: uuid}
		return nil
	})
	return err
}

// Want makes a profile the one that these devices ought to have, whatever the server's is. An empty uuid: the server's again.
// Devices that are not known are returned: nothing is kept of them. The error is Malformed if uuid, or a serial number, cannot be one.
func (a *Assigner) Want(ctx context.Context, key Key, uuid string, serials ...string) (unknown []string, err error) {
	if uuid != "" && !isUUID(uuid) {
		return nil, badUUID("dep.Want")
	}
	for batch := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(serials))), MaxBatch) {
		var missing []string
		err := a.Store.Keep(ctx, key, batch, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
			missing = nil
			for _, serial := range batch {
				r := known[serial]
				if r == nil {
					missing = append(missing, serial)
					continue
				}
				r.Want, r.Era = uuid, v.Era
				r.Judge(v, a.now())
				kept.Records = append(kept.Records, *r)
			}
			return kept, nil
		})
		if err != nil {
			return unknown, err
		}
		unknown = append(unknown, missing...)
	}
	return unknown, nil
}

// Assign does what is due now for the devices of a server. Devices that Apple did not give their profile are due again later:
// they are in the report, and no error. An error is one of the whole call; what was done until then is kept.
func (a *Assigner) Assign(ctx context.Context, key Key) (Report, error) {
	return a.assign(ctx, key, time.Time{})
}

// assign is Assign, which ends after the batch in which it becomes until, unless that is zero.
func (a *Assigner) assign(ctx context.Context, key Key, until time.Time) (Report, error) {
	report := Report{Server: key, Refused: map[string]int{}}
	if err := a.judge(ctx, key); err != nil {
		return report, err
	}
	due := a.now()
	for {
		if now := a.now(); now.Before(due) {
			due = now // the clock was set back: who waits, waits
		}
		claimed, err := a.claim(ctx, key, due)
		if err != nil || len(claimed) == 0 {
			return report, err
		}
		for uuid, serials := range claimed {
			if err := a.batch(ctx, key, uuid, serials, &report); err != nil {
				return report, a.release(ctx, key, slices.Concat(slices.Collect(maps.Values(claimed))...), err)
			}
			delete(claimed, uuid)
		}
		if a.Progress != nil {
			a.Progress(report)
		}
		if !until.IsZero() && !a.now().Before(until) {
			return report, nil
		}
	}
}

// judge holds all devices against a new profile of the server, a batch at a time, and goes on where it was.
func (a *Assigner) judge(ctx context.Context, key Key) error {
	for {
		v, err := a.Store.Server(ctx, key)
		if err != nil || v.Judge.Done || v.Judge.Profile != v.Profile || v.Judge == (Judge{}) {
			return err
		}
		var serials []string
		for r, err := range a.Store.Records(ctx, Query{Server: key, After: v.Judge.After, Limit: MaxBatch}) {
			if err != nil {
				return err
			}
			serials = append(serials, r.Serial)
		}
		at := v.Judge
		err = a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
			if v.Judge != at {
				return kept, nil // somebody else goes on with it, or it begins anew
			}
			if len(serials) == 0 {
				v.Judge.Done = true
				return kept, nil
			}
			v.Judge.After = serials[len(serials)-1]
			for _, serial := range serials {
				if r := known[serial]; r != nil {
					before := r.Assignment
					r.Judge(v, a.now())
					if r.Assignment != before {
						kept.Records = append(kept.Records, *r)
					}
				}
			}
			return kept, nil
		})
		if err != nil {
			return err
		}
	}
}
