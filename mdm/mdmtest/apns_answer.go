package mdmtest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// PushAnswer is how an [APNs] treats one push. The zero PushAnswer accepts it.
type PushAnswer struct {
	Status     int           // of HTTP; 0: 200
	Reason     string        // Apple's word, as "Unregistered"
	Timestamp  time.Time     // of a 410: since when the token is dead
	RetryAfter time.Duration // in whole seconds; 0: no Retry-After
	Body       string        // in place of the JSON of Reason and Timestamp

	GoAway bool // answer, and tell the client with GOAWAY to use this connection no more
	Drop   bool // break the connection, give no answer
	Stall  bool // give no answer until the client or the APNs gives up
}

// Accepted reports whether the push is taken.
func (a PushAnswer) Accepted() bool {
	return !a.Drop && !a.Stall && (a.Status == 0 || a.Status == http.StatusOK)
}

// RefusePush returns a PushAnswer with a status and Apple's reason.
func RefusePush(status int, reason string) PushAnswer {
	return PushAnswer{Status: status, Reason: reason}
}

// Unregistered returns the answer for a token that is dead since then.
func Unregistered(since time.Time) PushAnswer {
	return PushAnswer{Status: http.StatusGone, Reason: "Unregistered", Timestamp: since}
}

// Script makes f decide the answer to each push that the queue has none for. nil accepts all.
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

// decide takes the answer to p from the queue or the script.
func (a *APNs) decide(p Push) PushAnswer {
	a.mu.Lock()
	if len(a.queue) > 0 {
		answer := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		return answer
	}
	script := a.script
	a.mu.Unlock()
	if script == nil {
		return PushAnswer{}
	}
	return script(p)
}

// status returns what is sent.
func (a PushAnswer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

func (a PushAnswer) write(w http.ResponseWriter, id string) {
	header := w.Header()
	header.Set("Apns-Id", id)
	if seconds := int(a.RetryAfter / time.Second); seconds > 0 {
		header.Set("Retry-After", strconv.Itoa(seconds))
	}
	if a.GoAway {
		header.Set("Connection", "close") // net/http sends GOAWAY for it
	}
	w.WriteHeader(a.status())
	_, _ = w.Write(a.body())
}

func (a PushAnswer) body() []byte {
	if a.Body != "" {
		return []byte(a.Body)
	}
	if a.Reason == "" {
		return nil
	}
	answer := struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp,omitempty"`
	}{Reason: a.Reason}
	if !a.Timestamp.IsZero() {
		answer.Timestamp = a.Timestamp.UnixMilli()
	}
	body, _ := json.Marshal(answer) // of a string and a number
	return body
}
