package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/gomdm/applemdm/internal/recur"
	"github.com/gomdm/applemdm/mdm"
)

// FeedbackStore is what a [Poller] settles. A [Store] is one, and has the rule by which an Invalid result counts.
type FeedbackStore interface {
	Feedback(ctx context.Context, results []Result) error
}

// Defaults and limits of a Poller.
const (
	// defaultPoll: Apple asked for once a day. An hour is one connection, which nobody takes for an attack, keeps lists
	// short, and spares a dead token most of its pushes.
	defaultPoll    = time.Hour
	defaultPending = 100_000
	feedbackPage   = 1000             // enrollments looked at in one go
	settleLate     = 30 * time.Second // how long what was read is settled after the context has ended
	maxToken       = 100              // bytes; see Target
)

// Poller asks sources for dead tokens, finds whose they are, and settles them in the Store as Invalid results: such a
// channel is presumed Gone, and nobody pushes to it until it speaks. It ends no enrollment: a dead token proves nothing (Apple's
// "MDM Best Practices").
//
// Reading takes the list from a source for good. So what was read and could not be settled is kept in memory and tried again in
// the next round, and also after ctx has ended for a moment.
//
// A Since of whole seconds, as the Feedback Service tells, may be up to a second too early. A TokenUpdate in that same second
// wins: if the token is dead after all, the next push to it tells. A Since in the future is taken for now.
//
// Sources, Devices and Store are required; without the latter two nothing is asked, and Run ends at once with the error. Panics
// of any of them are errors. It must not be copied after first use.
type Poller struct {
	Sources []FeedbackSource
	Devices Devices // a pass over those enrolled with the topics in question, and only when there is something to find
	Store   FeedbackStore
	// Tenants lists whose devices are looked at. Nil: of the one tenant "".
	Tenants func(ctx context.Context) ([]string, error)

	Interval time.Duration    // between rounds, half of it more or less; 0: 1 h
	Pending  int              // how many tokens are kept before they are settled; sources are not asked beyond; 0: 100 000
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: nothing is logged

	mu      sync.Mutex // held while a round is under way
	pending map[tokenKey]InvalidToken
}

// Run polls now and then until ctx ends, and returns the cause of that. Failures are logged and tried again.
func (p *Poller) Run(ctx context.Context) error {
	if err := p.incomplete(); err != nil {
		p.log(ctx, slog.LevelError, "nobody asks for invalid tokens", slog.Any("error", err))
		return err
	}
	interval := orDefault(p.Interval, defaultPoll)
	return recur.Every(ctx, interval, interval/60, func() {
		if err := p.Poll(ctx); err != nil && ctx.Err() == nil {
			p.log(ctx, slog.LevelWarn, "not all invalid tokens are known or settled", slog.Any("error", err))
		}
	})
}

// Poll asks every source once and settles what they tell, and what is left from the round before. The error has what sources
// could not tell and what could not be settled, joined; the rest is done.
func (p *Poller) Poll(ctx context.Context) error {
	if err := p.incomplete(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	late, stop := afterwards(ctx, settleLate)
	defer stop()
	var errs []error
	for _, s := range p.Sources {
		errs = append(errs, p.ask(ctx, late, s))
	}
	return errors.Join(append(errs, p.settle(late))...)
}

// incomplete tells what is missing, before a list is read that could not be settled.
func (p *Poller) incomplete() error {
	switch {
	case p.Devices == nil:
		return mdm.Errorf(mdm.Internal, "push.Poller", "Devices is not set")
	case p.Store == nil:
		return mdm.Errorf(mdm.Internal, "push.Poller", "Store is not set")
	}
	return nil
}

// afterwards returns a context that ends some time after ctx.
func afterwards(ctx context.Context, d time.Duration) (context.Context, func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return late, func() { stop(); cancel() }
}

var (
	errSourcePanic = errors.New("push: the feedback source panicked")
	errSettlePanic = errors.New("push: the store, the devices or the tenants panicked")
)

// feedbackPanic makes a panic an error that wraps what.
func feedbackPanic(err *error, what error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", what, r)
	}
}

// ask takes what one source has. One that panics does not hold up the others.
func (p *Poller) ask(ctx, late context.Context, s FeedbackSource) (err error) {
	defer feedbackPanic(&err, errSourcePanic)
	if err := p.makeRoom(late); err != nil {
		return fmt.Errorf("push: feedback waits: %w", err)
	}
	now := p.now()
	for t, err := range s.InvalidTokens(ctx) {
		if err != nil {
			return err
		}
		p.keep(t, now)
		if err := p.makeRoom(late); err != nil {
			return fmt.Errorf("push: feedback: no more is read: %w", err)
		}
	}
	return nil
}

func (p *Poller) makeRoom(ctx context.Context) error {
	if len(p.pending) < orDefault(p.Pending, defaultPending) {
		return nil
	}
	return p.settle(ctx)
}

// keep remembers t until it is settled, with the latest time at which it was found dead.
func (p *Poller) keep(t InvalidToken, now time.Time) {
	if len(t.Token) == 0 || len(t.Token) > maxToken || len(t.Topic) > maxFeedbackTopic || !plain(t.Topic) {
		return // nobody's
	}
	t.Reason = shortPlain(t.Reason)
	if t.Since.After(now) {
		t.Since = now
	}
	if known, ok := p.pending[t.key()]; ok && !t.Since.After(known.Since) {
		return
	}
	if p.pending == nil {
		p.pending = map[tokenKey]InvalidToken{}
	}
	p.pending[t.key()] = t
}

// settle finds whose the pending tokens are and settles them. Only when all tenants have been looked at they are done; until
// then some may be settled twice, which does nothing.
func (p *Poller) settle(ctx context.Context) (err error) {
	defer feedbackPanic(&err, errSettlePanic)
	if len(p.pending) == 0 {
		return nil
	}
	tenants := []string{""}
	if p.Tenants != nil {
		if tenants, err = p.Tenants(ctx); err != nil {
			return fmt.Errorf("push: tenants: %w", err)
		}
	}
	found := 0
	for _, tenant := range tenants {
		for _, topic := range p.topics() {
			n, err := p.pass(ctx, mdm.Filter{Tenant: tenant, Topic: topic, States: []mdm.State{mdm.Enrolled}, Limit: feedbackPage})
			if found += n; err != nil {
				return err
			}
		}
	}
	p.log(ctx, slog.LevelInfo, "invalid tokens settled", slog.Int("tokens", len(p.pending)), slog.Int("enrollments", found))
	p.pending = nil
	return nil
}

// topics lists those of the pending tokens; if one has none, "", which is all of them.
func (p *Poller) topics() []string {
	var out []string
	for k := range p.pending {
		if k.topic == "" {
			return []string{""}
		}
		if !slices.Contains(out, k.topic) {
			out = append(out, k.topic)
		}
	}
	slices.Sort(out)
	return out
}

// pass goes through the enrollments that f selects and returns how many results were settled.
func (p *Poller) pass(ctx context.Context, f mdm.Filter) (found int, err error) {
	for {
		var dead []Result
		seen := 0
		for e, err := range p.Devices.Enrollments(ctx, f) {
			if err != nil {
				return found, fmt.Errorf("push: feedback: %w", err)
			}
			seen, f.After = seen+1, e.ID
			if r, ok := p.judge(e); ok {
				dead = append(dead, r)
			}
		}
		if len(dead) > 0 {
			if err := p.Store.Feedback(ctx, dead); err != nil {
				return found, fmt.Errorf("push: feedback: %w", err)
			}
		}
		found += len(dead)
		if seen < f.Limit {
			return found, nil
		}
	}
}

// judge returns the Invalid result of e if its token was found dead after it came.
func (p *Poller) judge(e *mdm.Enrollment) (Result, bool) {
	t, ok := p.pending[tokenKey{e.Topic, string(e.PushToken)}]
	other, always := p.pending[tokenKey{"", string(e.PushToken)}]
	if always && (!ok || other.Since.After(t.Since)) {
		t, ok = other, true
	}
	if !ok || !counts(t.Since, e.TokenUpdatedAt) {
		return Result{}, false
	}
	reason := t.Reason
	if reason == "" {
		reason = "Unregistered" // what a 410 answer says of it
	}
	return Result{
		Target:  Target{Enrollment: e.ID, Topic: e.Topic, Token: e.PushToken, Magic: e.PushMagic, TokenUpdatedAt: e.TokenUpdatedAt},
		Outcome: Invalid, Reason: reason, Since: t.Since, At: p.now(),
	}, true
}

// counts reports whether a token that came at updated was found dead since. See Poller for whole seconds.
func counts(since, updated time.Time) bool {
	if since.Nanosecond() == 0 {
		return since.Unix() > updated.Unix()
	}
	return !since.Before(updated)
}

func (p *Poller) now() time.Time {
	if p.Clock != nil {
		return p.Clock()
	}
	return time.Now()
}

func (p *Poller) log(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if p.Logger != nil {
		p.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}
