package mdmtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http2"
)

const (
	apnsIdleWorkers = 64
	apnsPurge       = 100_000 // tokens at which old ones are searched for, at least
)

// apnsJob is a push whose plan runs code of the user.
type apnsJob struct {
	conn   *apnsConn
	stream *apnsStream
	plan   apnsPlan
}

// run does j without making the caller wait: code of the user may block for long. Workers are kept for the next job.
func (a *APNs) run(j apnsJob) {
	select {
	case a.jobs <- j:
	default:
		go a.work(j)
	}
}

func (a *APNs) work(j apnsJob) {
	for {
		j.do()
		if a.idle.Add(1) > apnsIdleWorkers {
			a.idle.Add(-1)
			return
		}
		select {
		case j = <-a.jobs:
			a.idle.Add(-1)
		case <-a.closed:
			return
		}
	}
}

// do contains panics of the user's code, and its end by runtime.Goexit, as of a failed test.
func (j apnsJob) do() {
	decided := false
	defer func() {
		if p := recover(); !decided {
			j.conn.apns.violate(fmt.Sprintf("the script or a hook did not return: %v", p))
			j.conn.reset(j.stream, http2.ErrCodeInternal)
			if j.stream.entered {
				j.conn.apns.count.reset.Add(1)
			}
		}
		j.conn.jobs.Add(-1)
		j.conn.urge()
	}()
	if j.plan.script != nil {
		j.plan.answer = j.plan.script(j.stream.push)
	}
	j.conn.settle(j.stream, j.plan)
	decided = true
}

// take decides what becomes of a push that is in order.
func (c *apnsConn) take(st *apnsStream) {
	plan := c.apns.plan()
	if plan.instant() {
		c.settle(st, plan)
		return
	}
	c.jobs.Add(1)
	c.apns.run(apnsJob{c, st, plan})
}

// settle does to a push what its answer says.
func (c *apnsConn) settle(st *apnsStream, plan apnsPlan) {
	a, answer := c.apns, plan.answer
	if answer.Refuse {
		a.count.refused.Add(1)
		c.reset(st, http2.ErrCodeRefusedStream)
		return
	}
	answer = a.enter(st, answer)
	st.entered = !answer.Drop
	if plan.taken != nil && !answer.Drop {
		plan.taken(st.push)
	}
	if plan.delivered != nil && answer.Accepted() {
		plan.delivered(st.push)
	}
	if answer.Drop {
		a.count.dropped.Add(1)
		c.breakOff()
		return
	}
	if answer.status() != http.StatusForbidden {
		c.trust()
	}
	switch {
	case answer.Lose:
		a.count.lost.Add(1)
		c.breakOff()
	case answer.Reset:
		a.count.reset.Add(1)
		c.reset(st, http2.ErrCodeInternal)
	default:
		c.reply(st, apnsReply{PushAnswer: answer, id: st.push.ID, taken: true})
	}
}

// enter notes a push, wakes its device if it is accepted, and returns the answer that it gets in the end.
func (a *APNs) enter(st *apnsStream, answer PushAnswer) PushAnswer {
	p := &st.push
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil && answer.Accepted() && a.tooSoon(p) {
		answer = RefusePush(http.StatusTooManyRequests, "TooManyRequests")
	}
	if !answer.silent() {
		p.Status = answer.status()
	}
	if !answer.Drop {
		a.count.taken.Add(1)
		a.countRepeat(p)
	}
	a.record(p, st.arrival)
	if answer.Accepted() {
		a.count.accepted.Add(1)
		a.wake(p)
	}
	return answer
}

// apnsRecord is a push and its number in the order of arrival.
type apnsRecord struct {
	Push
	arrival uint64
}

func (a *APNs) record(p *Push, arrival uint64) {
	if a.config.Lean {
		return
	}
	if len(a.pushes) >= 2*apnsKept { // not at every push
		a.pushes = append(a.pushes[:0], a.pushes[apnsKept:]...)
	}
	at := len(a.pushes)
	for at > 0 && a.pushes[at-1].arrival > arrival { // scripts and hooks end in any order
		at--
	}
	a.pushes = slices.Insert(a.pushes, at, apnsRecord{*p, arrival})
}

func (a *APNs) countRepeat(p *Push) {
	if a.ids == nil {
		return
	}
	id, err := uuid.Parse(p.ID)
	if err != nil {
		return // checked before
	}
	if _, repeated := a.ids[id]; repeated {
		a.count.repeated.Add(1)
		return
	}
	a.ids[id] = struct{}{}
}

// tooSoon reports whether there was a push to the token of p within the interval, and notes p if not.
func (a *APNs) tooSoon(p *Push) bool {
	fresh := func(at time.Time) bool { return p.At.Sub(at) < a.config.TokenInterval }
	if at, ok := a.last[string(p.Token)]; ok && fresh(at) {
		return true
	}
	if len(a.last) >= max(a.purge, apnsPurge) {
		for token, at := range a.last {
			if !fresh(at) {
				delete(a.last, token)
			}
		}
		a.purge = 2 * len(a.last)
	}
	a.last[string(p.Token)] = p.At
	return false
}

func (a *APNs) violate(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.violations) < apnsKept {
		a.violations = append(a.violations, what)
	}
}
