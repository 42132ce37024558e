package dep

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// claim takes devices that are due, by the profile that they ought to have; none if there are none. If this process ends they are due
// again.
func (a *Assigner) claim(ctx context.Context, key Key, due time.Time) (map[string][]string, error) {
	for {
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
		claimed, err := a.take(ctx, key, serials, due)
		if err != nil || len(claimed) > 0 {
			return claimed, err
		}
		// Others were quicker, or the devices are right: there may be more.
	}
}

func (a *Assigner) take(ctx context.Context, key Key, serials []string, due time.Time) (map[string][]string, error) {
	var claimed map[string][]string
	wrote := map[string]Assignment{} // what was claimed, if the answer to the commit was lost
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
		claimed = map[string][]string{}
		for _, serial := range serials {
			r := known[serial]
			if r == nil || r.Gone {
				continue
			}
			mine, again := wrote[serial]
			if again = again && mine.equal(r.Assignment); !again && (r.Assignment.Due.IsZero() || r.Assignment.Due.After(due)) {
				continue
			}
			switch {
			case again:
				claimed[mine.Profile] = append(claimed[mine.Profile], serial)
				continue
			case r.Right(v):
				r.Judge(v, a.now())
			default:
				r.Assignment.Due, r.Assignment.Profile = a.now().Add(claimFor).Truncate(time.Microsecond), r.Wanted(v)
				wrote[serial] = r.Assignment
				claimed[r.Assignment.Profile] = append(claimed[r.Assignment.Profile], serial)
			}
			kept.Records = append(kept.Records, *r)
		}
		return kept, nil
	})
	return claimed, err
}

func (a Assignment) equal(b Assignment) bool {
	return a.Due.Equal(b.Due) && a.At.Equal(b.At) && a.Tries == b.Tries && a.Profile == b.Profile && a.Answer == b.Answer
}

// outcome is what became of devices that ought to have a profile.
type outcome struct {
	uuid          string
	before, after map[string]Device // as Apple says
	begun, given  time.Time         // when Apple was asked for before, and for after
	answer        Assigned
}

// of returns a device as Apple said last, when it was asked that, and what became of it.
func (o *outcome) of(serial string) (d Device, asked time.Time, word string) {
	d, asked = o.before[serial], o.begun
	if d.has(o.uuid) {
		return d, asked, StatusSuccess
	}
	if now, looked := o.after[serial]; looked {
		d, asked = now, o.given
	}
	switch word, said := o.answer.Devices[serial]; {
	case d.has(o.uuid):
		return d, asked, StatusSuccess
	case !said:
		return d, asked, AnswerNone
	case word == StatusSuccess:
		return d, asked, AnswerOther
	default:
		return d, asked, word
	}
}

// batch gives devices a profile.
func (a *Assigner) batch(ctx context.Context, key Key, uuid string, serials []string, report *Report) (err error) {
	at := a.Connect(key)
	o := &outcome{uuid: uuid, begun: a.now()}
	if o.before, err = at.DeviceDetails(ctx, serials); err != nil {
		return err
	}
	var todo []string
	for _, serial := range serials {
		if d := o.before[serial]; !d.has(uuid) {
			todo = append(todo, serial)
		}
	}
	if len(todo) > 0 {
		if err := a.give(ctx, at, o, todo); err != nil {
			return err
		}
	}
	return a.settle(ctx, key, serials, o, report)
}

// give asks Apple for the profile, and then whether it was given to those to whom that may have happened.
func (a *Assigner) give(ctx context.Context, at Profiles, o *outcome, todo []string) (err error) {
	if o.answer, err = at.AssignProfile(ctx, o.uuid, todo); err != nil {
		word := refusedWord(err)
		if word == "" {
			return err
		}
		o.answer = Assigned{Devices: map[string]string{}}
		for _, serial := range todo {
			o.answer.Devices[serial] = word
		}
	}
	var look []string
	for _, serial := range todo {
		if word, said := o.answer.Devices[serial]; !said || word == StatusSuccess {
			look = append(look, serial)
		}
	}
	if len(look) == 0 {
		return nil
	}
	o.given = a.now()
	o.after, err = at.DeviceDetails(ctx, look)
	return err
}

// refusedWord returns why Apple does not take a call for this profile, which does not hold up those for others; empty if it is a trouble
// of all calls.
func refusedWord(err error) string {
	var e *Error
	switch {
	case errors.Is(err, ErrNotFound):
		return AnswerNoProfile
	case errors.As(err, &e):
		if e.Status != http.StatusBadRequest || e.Help() != "" {
			return ""
		}
		if e.Code == "" {
			return AnswerRefused
		}
		return string(e.Code)
	case mdm.CodeOf(err) == mdm.Malformed: // what was kept as a UUID is none
		return AnswerNoProfile
	}
	return ""
}

// settle keeps what became of claimed devices.
func (a *Assigner) settle(ctx context.Context, key Key, serials []string, o *outcome, report *Report) error {
	var tally Report
	now := a.now().Truncate(time.Microsecond)
	wrote := map[string]Assignment{} // if the answer to the commit was lost
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
		tally = Report{Refused: map[string]int{}}
		for _, serial := range serials {
			r := known[serial]
			if r == nil {
				continue
			}
			d, asked, word := o.of(serial)
			right := o.before[serial]
			switch {
			case word != StatusSuccess:
				tally.Waiting++
				tally.Refused[word]++
			case right.has(o.uuid):
				tally.Right++
			default:
				tally.Assigned++
			}
			if mine, again := wrote[serial]; again && mine.equal(r.Assignment) {
				continue
			}
			told := r.SeenAt.After(asked) && !r.SeenAt.After(now) // by a sync, meanwhile
			if d.SerialNumber != "" && d.ResponseStatus != StatusNotFound && !r.Gone && !told {
				d.SerialNumber, d.OpDate = serial, time.Time{} // it is as of now
				r.Tell(d, false, now)
			}
			kept.Events = append(kept.Events, r.answered(v, word, o, now)...)
			wrote[serial] = r.Assignment
			kept.Records = append(kept.Records, *r)
		}
		kept.Events = append(kept.Events, v.refused(nil, now)...)
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

// answered keeps a word about a device, and when it is due again, and returns the event of that.
func (r *Record) answered(v *Server, word string, o *outcome, now time.Time) (events []mdm.Event) {
	tries := r.Assignment.Tries
	r.Assignment.Answer, r.Assignment.At = word, now
	if word == StatusSuccess {
		r.Assignment.Tries, r.Assignment.Due = 0, time.Time{}
		if d := o.before[r.Serial]; !d.has(o.uuid) {
			events = append(events, r.Event(mdm.EventDeviceAssigned, now, o.uuid))
		}
	} else {
		if word == StatusNotAccessible && now.Sub(r.Date()).Abs() < noAccessPause {
			word = StatusFailed // it is so new that not all of Apple knows it
		}
		r.Assignment.Tries, r.Assignment.Due = tries+1, now.Add(pause(word, tries, o.answer.RetryAfter))
		if tries+1 == triesUntilEvent || tries == 0 && word != StatusThrottled && word != StatusFailed {
			events = append(events, r.Event(mdm.EventDeviceRefused, now, r.Assignment.Answer))
		}
	}
	if word == StatusSuccess || r.Wanted(v) != o.uuid {
		r.Judge(v, now) // the wish may be another one since, or the device
	}
	if r.Gone {
		r.Assignment.Due = time.Time{}
	}
	return events
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
	now := a.now()
	err := a.Store.Keep(ctx, key, serials, func(v *Server, known map[string]*Record) (kept Kept, _ error) {
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
