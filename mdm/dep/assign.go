package dep

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// DefaultAssignEvery is how often Run of an Assigner looks for what is due.
const DefaultAssignEvery = time.Minute

// The pauses of an Assigner, by what Apple says to a device. Most double each time, up to a day.
const (
	claimFor        = 10 * time.Minute // how long devices are one process's
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

// Define defines a profile at Apple, and remembers what it says. It gives it to no device: that is for SetProfile, and Want. Apple
// keeps each definition as it is; a profile that is changed gets another UUID.
func (a *Assigner) Define(ctx context.Context, key Key, p Profile) (uuid string, err error) {
	p.Devices = nil
	if err := p.Check(); err != nil {
		return "", err
	}
	if uuid, _, err = a.Connect(key).DefineProfile(ctx, p); err != nil {
		return "", err
	}
	return uuid, a.remember(ctx, key, uuid, p)
}

// Learn reads a profile from Apple that was defined elsewhere, and remembers what it says.
func (a *Assigner) Learn(ctx context.Context, key Key, uuid string) (Profile, error) {
	p, err := a.Connect(key).Profile(ctx, uuid)
	if err != nil {
		return Profile{}, err
	}
	p.Devices = nil
	return p, a.remember(ctx, key, uuid, p)
}

func (a *Assigner) remember(ctx context.Context, key Key, uuid string, p Profile) error {
	_, err := a.Store.ChangeServer(ctx, key, func(v *Server) error {
		profiles := maps.Clone(v.Profiles)
		if profiles == nil {
			profiles = map[string]Profile{}
		}
		profiles[uuid] = p
		v.Profiles = profiles
		return nil
	})
	return err
}

// SetProfile makes a profile the one of all devices of a server that have no other Want. An empty uuid leaves devices as they are from
// then on. Devices are judged by the next Assign.
func (a *Assigner) SetProfile(ctx context.Context, key Key, uuid string) error {
	_, err := a.Store.ChangeServer(ctx, key, func(v *Server) error {
		v.Profile, v.Judge = uuid, Judge{Profile: uuid}
		return nil
	})
	return err
}

// Want makes a profile the one that these devices ought to have, whatever the server's is. An empty uuid: the server's again.
// Devices that are not known are returned: nothing is kept of them.
func (a *Assigner) Want(ctx context.Context, key Key, uuid string, serials ...string) (unknown []string, err error) {
	for batch := range slices.Chunk(serials, MaxBatch) {
		var missing []string
		err := a.Store.Keep(ctx, key, batch, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
			missing = nil
			for _, serial := range batch {
				r := known[serial]
				if r == nil {
					missing = append(missing, serial)
					continue
				}
				r.Want = uuid
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
	report := Report{Server: key, Refused: map[string]int{}}
	if err := a.judge(ctx, key); err != nil {
		return report, err
	}
	begun := a.now()
	for {
		claimed, err := a.claim(ctx, key, begun)
		if err != nil || len(claimed) == 0 {
			return report, err
		}
		for uuid, serials := range claimed {
			if err := a.batch(ctx, key, uuid, serials, &report); err != nil {
				return report, err
			}
		}
		if a.Progress != nil {
			a.Progress(report)
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

// claim takes devices that are due, by the profile that they ought to have. If this process ends they are due again.
func (a *Assigner) claim(ctx context.Context, key Key, due time.Time) (map[string][]string, error) {
	var serials []string
	for r, err := range a.Store.Records(ctx, Query{Server: key, DueBefore: due, Limit: MaxBatch}) {
		if err != nil {
			return nil, err
		}
		serials = append(serials, r.Serial)
	}
	if len(serials) == 0 {
		return nil, nil
	}
	var claimed map[string][]string
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
		claimed = map[string][]string{"": nil} // not empty, even if others were quicker: there may be more
		for _, serial := range serials {
			r := known[serial]
			if r == nil || r.Gone || r.Assignment.Due.IsZero() || r.Assignment.Due.After(due) {
				continue
			}
			if r.Right(v) {
				r.Judge(v, a.now())
			} else {
				r.Assignment.Due, r.Assignment.Profile = a.now().Add(claimFor), r.Wanted(v)
				claimed[r.Assignment.Profile] = append(claimed[r.Assignment.Profile], serial)
			}
			kept.Records = append(kept.Records, *r)
		}
		return kept, nil
	})
	delete(claimed, "")
	if err == nil && len(claimed) == 0 {
		return a.claim(ctx, key, due)
	}
	return claimed, err
}

// batch gives devices a profile.
func (a *Assigner) batch(ctx context.Context, key Key, uuid string, serials []string, report *Report) error {
	at := a.Connect(key)
	before, err := at.DeviceDetails(ctx, serials)
	if err != nil {
		return a.release(ctx, key, serials, err)
	}
	var todo []string
	for _, serial := range serials {
		if !has(before[serial], uuid) {
			todo = append(todo, serial)
		}
	}
	var answer Assigned
	after := before
	if len(todo) > 0 {
		switch answer, err = at.AssignProfile(ctx, uuid, todo); {
		case errors.Is(err, ErrNotFound):
			answer = Assigned{Devices: map[string]string{}}
			for _, serial := range todo {
				answer.Devices[serial] = AnswerNoProfile
			}
		case err != nil:
			return a.release(ctx, key, serials, err)
		default:
			if after, err = at.DeviceDetails(ctx, todo); err != nil {
				return a.release(ctx, key, serials, err)
			}
		}
	}
	return a.settle(ctx, key, uuid, serials, func(serial string) (Device, string) {
		switch word, asked := answer.Devices[serial]; {
		case has(before[serial], uuid):
			return before[serial], StatusSuccess
		case has(after[serial], uuid):
			return after[serial], StatusSuccess
		case !asked:
			return after[serial], AnswerNone
		case word == StatusSuccess:
			return after[serial], AnswerOther
		default:
			return after[serial], word
		}
	}, before, answer.RetryAfter, report)
}

// has reports whether Apple says that a device has a profile.
func has(d Device, uuid string) bool {
	return d.ProfileUUID == uuid && (d.ProfileStatus == ProfileAssigned || d.ProfileStatus == ProfilePushed)
}

// settle keeps what became of claimed devices.
func (a *Assigner) settle(ctx context.Context, key Key, uuid string, serials []string, became func(string) (Device, string), before map[string]Device,
	wait time.Duration, report *Report) error {
	var tally Report
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
		now := a.now()
		tally = Report{Refused: map[string]int{}}
		for _, serial := range serials {
			r := known[serial]
			if r == nil {
				continue
			}
			d, word := became(serial)
			if d.ResponseStatus == StatusSuccess && !r.Gone {
				d.SerialNumber = serial
				r.Tell(d, false, now)
			}
			r.Assignment.Answer, r.Assignment.At = word, now
			tries := r.Assignment.Tries
			if word == StatusSuccess {
				r.Assignment.Tries, r.Assignment.Due = 0, time.Time{}
				if has(before[serial], uuid) {
					tally.Right++
				} else {
					tally.Assigned++
					kept.Events = append(kept.Events, r.Event(mdm.EventDeviceAssigned, now, uuid))
				}
			} else {
				r.Assignment.Tries, r.Assignment.Due = tries+1, now.Add(pause(word, tries, wait))
				tally.Waiting++
				tally.Refused[word]++
				if tries+1 == triesUntilEvent || tries == 0 && word != StatusThrottled && word != StatusFailed {
					kept.Events = append(kept.Events, r.Event(mdm.EventDeviceRefused, now, word))
				}
			}
			if r.Wanted(v) != uuid {
				r.Judge(v, now) // the wish is another one since
			}
			if r.Gone {
				r.Assignment.Due = time.Time{}
			}
			kept.Records = append(kept.Records, *r)
		}
		return kept, nil
	})
	if err != nil {
		return err
	}
	report.Right, report.Assigned, report.Waiting = report.Right+tally.Right, report.Assigned+tally.Assigned, report.Waiting+tally.Waiting
	for word, n := range tally.Refused {
		report.Refused[word] += n
	}
	return nil
}

// pause is how long a device waits after a word of Apple's.
func pause(word string, tries int, wait time.Duration) time.Duration {
	first := failedPause
	switch word {
	case StatusThrottled:
		return max(wait, throttledPause) // Apple says when, and it is no fault of the device
	case StatusNotAccessible:
		first = noAccessPause
	case AnswerNoProfile:
		first = noProfilePause
	}
	return max(wait, min(first<<min(tries, 10), longestPause))
}

// release makes claimed devices due again after a failure of the whole call, which is no fault of theirs.
func (a *Assigner) release(ctx context.Context, key Key, serials []string, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
		now := a.now()
		for _, r := range known {
			if !r.Assignment.Due.IsZero() {
				r.Assignment.Due = now.Add(max(RetryAfter(failed), failedPause))
				kept.Records = append(kept.Records, *r)
			}
		}
		kept.Events = v.refused(failed, now)
		return kept, nil
	})
	return errors.Join(failed, err)
}
