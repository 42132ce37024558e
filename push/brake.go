package push

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// brakes hold up the pushes of topics of which none gets through, as in an outage of APNs, or with a certificate whose key cannot
// be opened: those that are due are put off untried, and a few find out whether it is over. Other topics go on. The zero brakes
// are ready.
type brakes struct {
	mu     sync.Mutex
	topics map[string]*brake // of those whose last push did not get through
}

type brake struct {
	failed  int // pushes in a row
	rests   int // in a row; 0: it does not hold yet
	until   time.Time
	probing bool // some are under way that find out
}

const (
	brakeAfter = 10 // failures in a row: one device may be the only one that APNs does not answer for
	firstRest  = 2 * time.Second
	maxRest    = 2 * time.Minute
	probe      = 10 // pushes that find out
)

// hold returns until when each of the targets is to be put off; the zero time is not at all.
func (b *brakes) hold(targets []Target, now time.Time) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	off := make([]time.Time, len(targets))
	if len(b.topics) == 0 {
		return off
	}
	probes := map[*brake]int{}
	for i, t := range targets {
		br := b.topics[t.Topic]
		switch {
		case br == nil || br.rests == 0:
			continue
		case !now.Before(br.until) && (!br.probing || probes[br] > 0) && probes[br] < probe:
			br.probing = true
			probes[br]++
			continue
		}
		end := br.until
		if end.Before(now) {
			end = now // soon: it may be over
		}
		off[i] = end.Add(firstRest + rand.N(max(br.until.Sub(now), firstRest)))
	}
	return off
}

// note learns from the results of pushes that were tried. It returns the topics that are held from now on, and those that are
// not any more.
func (b *brakes) note(results []Result, now time.Time) (held, freed []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed, reached := map[string]int{}, map[string]bool{}
	for _, r := range results {
		switch {
		case r.Outcome == Delivered || r.Status != 0 && r.Status < http.StatusInternalServerError:
			reached[r.Target.Topic] = true
		case r.Outcome == Retry || r.Outcome == Unsent:
			failed[r.Target.Topic]++
		}
	}
	for topic := range reached {
		if br := b.topics[topic]; br != nil && br.rests > 0 {
			freed = append(freed, topic)
		}
		delete(b.topics, topic)
		delete(failed, topic)
	}
	for topic, n := range failed {
		if b.topics == nil {
			b.topics = map[string]*brake{}
		}
		br := b.topics[topic]
		if br == nil {
			br = &brake{}
			b.topics[topic] = br
		}
		br.failed += n
		if br.failed < brakeAfter || br.rests > 0 && !br.probing && now.Before(br.until) {
			continue // what fails during a rest began before it
		}
		br.rests++
		br.until, br.probing = now.Add(halved(firstRest, maxRest, br.rests)), false
		if br.rests == 1 {
			held = append(held, topic)
		}
	}
	b.unprobe(results)
	return held, freed
}

// release is for results that tell nothing.
func (b *brakes) release(results []Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unprobe(results)
}

// unprobe lets others find out.
func (b *brakes) unprobe(results []Result) {
	for _, r := range results {
		if br := b.topics[r.Target.Topic]; br != nil {
			br.probing = false
		}
	}
}
