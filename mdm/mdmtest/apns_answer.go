package mdmtest

import (
	"encoding/json"
	"net/http"
	"time"
)

// PushAnswer is how an [APNs] treats one push. The zero PushAnswer accepts it.
type PushAnswer struct {
	Status     int           // of HTTP; 0: 200
	Reason     string        // Apple's word, as "Unregistered"
	Timestamp  time.Time     // of a 410: since when the token is dead
	RetryAfter time.Duration // in whole seconds; 0: no Retry-After
	Body       string        // in place of the JSON of Reason and Timestamp
	Delay      time.Duration // take the push now, but answer later; other pushes go on

	// GoAway tells the client with GOAWAY, after the answer, to use this connection no more. What came before is still
	// answered; what comes later on the connection is not looked at.
	GoAway       bool
	GoAwayReason string // in the GOAWAY; "": Shutdown
	GoAwayCode   uint32 // error code of the GOAWAY (RFC 9113, section 7), as 11 for ENHANCE_YOUR_CALM; 0: NO_ERROR

	// At most one of these, in place of an answer. They happen at once: Delay, GoAway and APNs.Latency do nothing with them.
	Refuse bool // reset the stream with REFUSED_STREAM: the push was not looked at and is recorded nowhere
	Reset  bool // take the push as Status says, then reset the stream with INTERNAL_ERROR
	Lose   bool // take the push as Status says, then break the connection
	Drop   bool // break the connection; the push is among the Pushes, but was not taken and wakes nobody
	Stall  bool // give no answer until the client or the APNs gives up; the push wakes nobody
}

// Accepted reports whether the push wakes the device.
func (a PushAnswer) Accepted() bool {
	return !a.Refuse && !a.Drop && !a.Stall && (a.Status == 0 || a.Status == http.StatusOK)
}

// RefusePush returns a PushAnswer with a status and Apple's reason.
func RefusePush(status int, reason string) PushAnswer {
	return PushAnswer{Status: status, Reason: reason}
}

// Unregistered returns the answer for a token that is dead since then.
func Unregistered(since time.Time) PushAnswer {
	return PushAnswer{Status: http.StatusGone, Reason: "Unregistered", Timestamp: since}
}

// Script makes f decide the answer to each push that the queue has none for. nil accepts all. f is called for many
// pushes at once and may wait; if it panics, the push is reset and there is a violation.
func (a *APNs) Script(f func(Push) PushAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = f
}

// Queue appends answers for the next pushes, one each.
func (a *APNs) Queue(answers ...PushAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, answers...)
}

// apnsPlan is how a push is to be decided.
type apnsPlan struct {
	answer    PushAnswer
	script    func(Push) PushAnswer // nil: answer holds
	taken     func(Push)
	delivered func(Push)
}

// instant reports whether the plan runs no code of the user, which may wait.
func (p apnsPlan) instant() bool { return p.script == nil && p.taken == nil && p.delivered == nil }

// plan takes the next answer of the queue, if there is one.
func (a *APNs) plan() apnsPlan {
	a.mu.Lock()
	defer a.mu.Unlock()
	plan := apnsPlan{script: a.script, taken: a.taken, delivered: a.delivered}
	if len(a.queue) > 0 {
		plan.answer, plan.script = a.queue[0], nil
		a.queue = a.queue[1:]
	}
	return plan
}

// status returns what is sent.
func (a PushAnswer) status() int {
	switch {
	case a.Status == 0:
		return http.StatusOK
	case a.Status < 100 || a.Status >= apnsStatuses:
		return http.StatusInternalServerError
	}
	return a.Status
}

// silent reports whether the push itself gets no answer.
func (a PushAnswer) silent() bool { return a.Refuse || a.Reset || a.Lose || a.Drop || a.Stall }

func (a PushAnswer) body() []byte {
	if a.Body != "" {
		return []byte(a.Body)
	}
	if a.Reason == "" {
		return nil
	}
	return apnsReason(a.Reason, a.Timestamp)
}

// apnsReason is the JSON that Apple sends with answers and in GOAWAY.
func apnsReason(reason string, at time.Time) []byte {
	answer := struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp,omitempty"`
	}{Reason: reason}
	if !at.IsZero() {
		answer.Timestamp = at.UnixMilli()
	}
	body, _ := json.Marshal(answer) // of a string and a number
	return body
}
