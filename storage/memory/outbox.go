package memory

import (
	"context"
	"slices"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"

	"crypto/tls"
)

// intent is a push that is due.
type intent struct {
	due    time.Time
	leased time.Time // until then it is in somebody's hands
	renews int       // how often it was asked for again
	given  int       // renews when it was leased
}

// wake leaves an intent, or brings one forward.
func (db *DB) wake(id mdm.EnrollmentID, due time.Time) {
	i := db.intents[id]
	if i == nil {
		i = &intent{due: due}
		db.intents[id] = i
	} else {
		i.renews++
		if due.Before(i.due) {
			i.due = due
		}
	}
	db.changed.Pushes = true
}

// DuePushes implements [push.Store].
func (db *DB) DuePushes(ctx context.Context, at time.Time, max int, lease time.Duration) (out []push.Target, err error) {
	err = db.tx(ctx, func() error {
		for id, i := range db.intents {
			e := db.enrollments[id]
			if len(out) == max {
				break
			}
			if i.due.After(at) || i.leased.After(at) || e == nil || e.State != mdm.Enrolled || len(e.PushToken) == 0 {
				continue
			}
			i.leased, i.given = at.Add(lease), i.renews
			out = append(out, push.Target{Enrollment: id, Topic: e.Topic, Token: slices.Clone(e.PushToken), Magic: e.PushMagic, TokenUpdatedAt: e.TokenUpdatedAt})
		}
		return nil
	})
	return out, err
}

// Feedback implements [push.Store].
func (db *DB) Feedback(ctx context.Context, results []push.Result) error {
	return db.tx(ctx, func() error {
		for _, r := range results {
			db.feedback(r)
		}
		return nil
	})
}

func (db *DB) feedback(r push.Result) {
	id := r.Target.Enrollment
	i, e := db.intents[id], db.enrollments[id]
	if i == nil {
		return
	}
	i.leased = time.Time{}
	renewed := i.renews != i.given
	if r.Outcome == push.Retry {
		if !renewed {
			i.due = r.Retry
		}
		return
	}
	if r.Outcome == push.Invalid && e != nil && !r.Since.Before(e.TokenUpdatedAt) {
		e.PushToken = nil
		db.record(mdm.Event{Type: mdm.EventPushFailed, At: r.At, Enrollment: id, Generation: e.Generation, Reason: r.Reason})
	}
	if !renewed {
		delete(db.intents, id)
	}
}

// Wake implements [push.Store].
func (db *DB) Wake(ctx context.Context, to mdm.Targets, due time.Time) (n int, err error) {
	err = db.tx(ctx, func() error {
		ids := to.List()
		if f, ok := to.Filter(); ok {
			for _, e := range db.matching(f) {
				ids = append(ids, e.ID)
			}
		}
		for _, id := range ids {
			if e := db.enrollments[id]; e != nil && e.State == mdm.Enrolled {
				db.wake(id, due)
				n++
			}
		}
		return nil
	})
	return n, err
}

// PushCertificate implements [push.Certificates].
func (db *DB) PushCertificate(ctx context.Context, topic string) (cert *tls.Certificate, err error) {
	err = db.tx(ctx, func() error {
		c, found := db.pushCerts[topic]
		if !found {
			return mdm.Errorf(mdm.NotFound, "memory.PushCertificate", "no push certificate for topic %q", topic)
		}
		cert = &c.TLS
		return nil
	})
	return cert, err
}

// SavePushCertificate implements [push.CertificateStore].
func (db *DB) SavePushCertificate(ctx context.Context, c push.Certificate) error {
	return db.tx(ctx, func() error { db.pushCerts[c.Topic] = c; return nil })
}

// PushTopics implements [push.CertificateStore].
func (db *DB) PushTopics(ctx context.Context) (out []push.Topic, err error) {
	err = db.tx(ctx, func() error {
		for name, c := range db.pushCerts {
			out = append(out, push.Topic{Name: name, NotAfter: c.NotAfter})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b push.Topic) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out, err
}

// consumer is how far somebody is with the events.
type consumer struct {
	next   int             // index of the first event that was never leased
	leased map[int64]lease // by Seq
}

type lease struct {
	event mdm.Event
	until time.Time
}

// record appends events.
func (db *DB) record(events ...mdm.Event) {
	for _, e := range events {
		e.Seq = int64(len(db.events) + 1)
		db.events = append(db.events, e)
		db.changed.Events = true
	}
}

// Lease implements [event.Log].
func (db *DB) Lease(ctx context.Context, name string, max int, d time.Duration) (out []mdm.Event, err error) {
	err = db.tx(ctx, func() error {
		c := db.consumers[name]
		if c == nil {
			c = &consumer{leased: map[int64]lease{}}
			db.consumers[name] = c
		}
		at := now()
		for ; c.next < len(db.events) && len(c.leased) < max+len(out)+1000; c.next++ {
			e := db.events[c.next]
			c.leased[e.Seq] = lease{event: e} // waits until its turn comes
		}
		held := map[mdm.EnrollmentID]bool{} // an earlier event is in somebody's hands
		seqs := make([]int64, 0, len(c.leased))
		for seq := range c.leased {
			seqs = append(seqs, seq)
		}
		slices.Sort(seqs)
		for _, seq := range seqs {
			l := c.leased[seq]
			if l.until.After(at) || held[l.event.Enrollment] {
				held[l.event.Enrollment] = true
				continue
			}
			if len(out) == max {
				break
			}
			c.leased[seq] = lease{l.event, at.Add(d)}
			out = append(out, l.event)
		}
		return nil
	})
	return out, err
}

// Ack implements [event.Log].
func (db *DB) Ack(ctx context.Context, name string, done []mdm.Event) error {
	return db.tx(ctx, func() error {
		c := db.consumers[name]
		if c == nil {
			return nil
		}
		at := now()
		for _, e := range done {
			if l, found := c.leased[e.Seq]; found && l.until.After(at) {
				delete(c.leased, e.Seq)
			}
		}
		return nil
	})
}

// Events implements [event.Log].
func (db *DB) Events(ctx context.Context, tenant string, after int64, limit int) (out []mdm.Event, err error) {
	err = db.tx(ctx, func() error {
		for _, e := range db.events[min(int64(len(db.events)), max(after, 0)):] {
			if e.Enrollment.Tenant == tenant && (limit <= 0 || len(out) < limit) {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}
