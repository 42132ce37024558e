package webhook

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// failure is a delivery that came to nothing.
type failure struct {
	text    string
	refused bool          // the receiver is there, and does not want this event
	after   time.Duration // when the receiver wants to be asked again; 0: it did not say
	gone    bool          // 410
}

func (f *failure) Error() string { return "webhook: " + f.text }

// Unwrap classifies the failure.
func (f *failure) Unwrap() error {
	code := mdm.Unavailable
	if f.refused {
		code = mdm.Malformed
	}
	return mdm.Errorf(code, "webhook.Send", "%s", f.text)
}

// errPaused is the error of an event that was not sent, because the receiver is left alone.
var errPaused = errors.New("webhook: the receiver was down, and is left alone for a while")

// await waits for the end of a pause, but no longer than hold. An event that is given up now does not wait.
func (w *Webhook) await(ctx context.Context, e *mdm.Event) error {
	left := w.left()
	if left <= 0 {
		return nil
	}
	if w.hopeless(e, errPaused) {
		return errPaused
	}
	w.sleep(ctx, min(left, hold))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.left() > 0 {
		return errPaused
	}
	return nil
}

// left is how long the pause still is.
func (w *Webhook) left() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until.Sub(w.cfg.Clock())
}

// note remembers what came of a delivery, and returns err.
func (w *Webhook) note(ctx context.Context, e *mdm.Event, err error) error {
	failed, ok := errors.AsType[*failure](err)
	if err != nil && !ok { // a store of ours could not be read
		return err
	}
	w.mu.Lock()
	before := w.failures
	if err == nil || failed.refused {
		w.failures, w.until = 0, time.Time{}
	} else {
		w.until = w.cfg.Clock().Add(w.pause(failed))
		w.failures++
	}
	w.count(eventID(e), err == nil, ok && failed.refused)
	after := w.failures
	w.mu.Unlock()
	switch {
	case before > 0 && after == 0:
		w.log(ctx, slog.LevelInfo, "the receiver of the webhook is back", slog.Int("failures", before))
	case before == 0 && after > 0:
		w.log(ctx, slog.LevelWarn, "the receiver of the webhook is down", slog.String("reason", failed.text))
	}
	return err
}

// count counts how often an event was refused.
func (w *Webhook) count(id string, delivered, refused bool) {
	switch {
	case delivered:
		delete(w.refusals, id)
	case refused:
		if len(w.refusals) >= maxRefusals {
			clear(w.refusals)
		}
		w.refusals[id]++
	}
}

// pause is how long a receiver that is down is left alone now.
func (w *Webhook) pause(failed *failure) time.Duration {
	r := w.cfg.Retry
	if failed.gone {
		return r.Most
	}
	d := r.Most
	if w.failures < w.toMost() {
		d = r.First << w.failures
	}
	d -= time.Duration(float64(d/2) * w.random())
	return min(max(d, failed.after), r.Most)
}

// toMost is after how many failures the pauses are the longest.
func (w *Webhook) toMost() int {
	n := 0
	for d := w.cfg.Retry.First; d < w.cfg.Retry.Most && n < 40; d *= 2 {
		n++
	}
	return n
}

// hopeless reports whether an event is given up after err: it was refused too often, or it is too old and the receiver has been
// down for long. A short outage must not cost those that waited for another reason.
func (w *Webhook) hopeless(e *mdm.Event, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	failed, ok := errors.AsType[*failure](err)
	if ok && failed.refused {
		return w.refusals[eventID(e)] >= w.cfg.Attempts
	}
	return (ok || errors.Is(err, errPaused)) && w.failures > w.toMost() && w.cfg.Clock().Sub(e.At) > w.cfg.MaxAge
}

func (w *Webhook) forget(e *mdm.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.refusals, eventID(e))
}
