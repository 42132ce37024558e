package practice

import (
	"errors"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// ComplianceTimes says when a device is asked whether it is compliant. The zero value has defaults.
type ComplianceTimes struct {
	// Waits are the times between the first askings, the first of which is at once; empty: 5, 10, 20 and 60 minutes. After
	// these it is asked each Recheck. They begin again when a device answers that was silent before.
	Waits []time.Duration
	// Recheck is the time between two askings of a device that is compliant, or is not for long; 0: a day.
	Recheck time.Duration
	// Grace is how long a device lets its user put a new passcode off; 0: 60 minutes, Apple's. It begins when the device
	// acknowledges the policy, and what it answers meanwhile is no loss of compliance.
	Grace time.Duration
}

func (c ComplianceTimes) filled() ComplianceTimes {
	if len(c.Waits) == 0 {
		c.Waits = []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour}
	}
	if c.Recheck <= 0 {
		c.Recheck = 24 * time.Hour
	}
	if c.Grace <= 0 {
		c.Grace = time.Hour
	}
	return c
}

// compliancePoll is a device that is asked for SecurityInfo, in the state of a run. One question is on the queue at most.
type compliancePoll struct {
	Ask     installErrand `json:",omitzero"`
	AskedAt time.Time     `json:",omitzero"`  // or when it was heard again; the waits count from then
	Rung    int           `json:",omitempty"` // questions since the waits began
	Missed  bool          `json:",omitempty"` // a question had no answer
	Errors  int           `json:",omitempty"` // answers in a row that were none
	Verdict mdm.Tristate  `json:",omitempty"` // of the last answer
	Text    string        `json:",omitempty"` // what is missing
	Checked time.Time     `json:",omitzero"`  // when it said so
}

const complianceAsk = "security"

// complianceJudge tells from an answer whether it is enough, and what is missing.
type complianceJudge func(command.SecurityInfoResponse) (mdm.Tristate, string)

// take takes in the answer. The bool says that there is a new verdict.
func (c *compliancePoll) take(t *workflow.Turn, times ComplianceTimes, judge complianceJudge) bool {
	answer, ok := c.Ask.take(t, complianceAsk, workflow.Retry{First: times.Recheck, Most: times.Recheck})
	if !ok {
		return false
	}
	c.Ask.Due = time.Time{}                                     // it is asked by the times
	if c.Missed || t.Now.After(c.AskedAt.Add(times.Waits[0])) { // it was silent
		c.Rung, c.Missed, c.AskedAt = 1, false, t.Now
	}
	var said command.SecurityInfoResponse
	err := errors.New("answered with " + installReason(answer))
	if answer.State == command.Acknowledged {
		err = command.DecodeResult(answer.Result, &said)
	}
	if _, partly := errors.AsType[schema.Mismatches](err); err != nil && !partly {
		return c.wrong(err.Error(), t.Now, times)
	}
	before := c.Verdict
	c.Verdict, c.Text = judge(said)
	c.Checked, c.Errors = answer.FinishedAt, 0
	if before == mdm.Yes && c.Verdict != mdm.Yes {
		c.Rung = 1
	}
	return true
}

// wrong counts an answer that says nothing. That alone is no loss; to go on without an answer is one.
func (c *compliancePoll) wrong(why string, now time.Time, times ComplianceTimes) bool {
	if c.Errors++; c.Errors == 1 && c.Verdict == mdm.Yes {
		c.Rung = 1
	}
	if c.Errors <= len(times.Waits) && c.Verdict == mdm.Yes {
		return false
	}
	c.Verdict, c.Text, c.Checked = mdm.Unsaid, "it does not say: "+said(why), now
	return true
}

// wait is the time until the next question.
func (c *compliancePoll) wait(times ComplianceTimes) time.Duration {
	if c.Verdict == mdm.Yes && c.Errors == 0 || c.Rung > len(times.Waits) {
		return times.Recheck
	}
	return times.Waits[max(c.Rung, 1)-1]
}

// serve asks if it is time, or at once. A question without an answer is asked anew, so that the device is pushed again.
func (c *compliancePoll) serve(a *installAgenda, now time.Time, times ComplianceTimes, atOnce bool) {
	if c.AskedAt.IsZero() || !now.Before(c.AskedAt.Add(c.wait(times))) || atOnce && !c.Ask.Out {
		if c.Ask.Out {
			a.drop(&c.Ask, complianceAsk)
			c.Missed = true
		}
		c.AskedAt = now
		c.Rung++
		a.send(&c.Ask, complianceAsk, command.Order{Command: command.SecurityInfo{}, Priority: command.Profiles})
	}
	a.await(&c.Ask, complianceAsk)
	a.at(c.AskedAt.Add(c.wait(times)))
}
