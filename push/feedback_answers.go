package push

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// ErrForgotten is what [Answers] yields last when more tokens were found dead than it remembers. No harm is done: the next
// push to such a token finds it dead again.
var ErrForgotten = errors.New("push: more tokens were found dead than are remembered")

// maxAnswers is how many tokens an Answers remembers; with their topics some 20 MB.
const maxAnswers = 100_000

// Answers is a [Pusher] that remembers which tokens were found dead by those it handed to another Pusher, and a
// [FeedbackSource] that tells each once. It is for whoever pushes without a [Dispatcher], which settles such results itself. It
// must not be copied after first use.
type Answers struct {
	Pusher Pusher           // required
	Max    int              // how many tokens are remembered until somebody asks; 0: 100 000
	Clock  func() time.Time // nil: time.Now

	mu        sync.Mutex
	dead      map[tokenKey]InvalidToken
	forgotten int
}

// tokenKey tells tokens apart: one may be dead for one topic and not for another.
type tokenKey struct{ topic, token string }

func (t InvalidToken) key() tokenKey { return tokenKey{t.Topic, string(t.Token)} }

// Push implements [Pusher].
func (a *Answers) Push(ctx context.Context, targets []Target) ([]Result, error) {
	asked := time.Now()
	if a.Clock != nil {
		asked = a.Clock()
	}
	results, err := a.Pusher.Push(ctx, targets)
	if err != nil || len(results) != len(targets) {
		return results, err
	}
	for i, r := range results {
		if r.Outcome != Invalid {
			continue
		}
		since := r.Since
		if since.IsZero() {
			since = asked
		}
		a.note(InvalidToken{Token: targets[i].Token, Topic: targets[i].Topic, Since: since, Reason: shortPlain(r.Reason)})
	}
	return results, nil
}

// note remembers t, with the latest time at which it was found dead.
func (a *Answers) note(t InvalidToken) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.dead[t.key()]
	switch {
	case ok && !t.Since.After(known.Since):
	case !ok && len(a.dead) >= orDefault(a.Max, maxAnswers):
		a.forgotten++
	default:
		if a.dead == nil {
			a.dead = map[tokenKey]InvalidToken{}
		}
		a.dead[t.key()] = t
	}
}

// InvalidTokens implements [FeedbackSource]. What the caller does not take is yielded another time. An error that wraps
// [ErrForgotten] says how many were not remembered.
func (a *Answers) InvalidTokens(ctx context.Context) iter.Seq2[InvalidToken, error] {
	return func(yield func(InvalidToken, error) bool) {
		for {
			t, ok := a.take()
			if !ok {
				break
			}
			if !yield(t, nil) {
				return
			}
			if err := ctx.Err(); err != nil {
				yield(InvalidToken{}, err)
				return
			}
		}
		if n := a.takeForgotten(); n > 0 {
			yield(InvalidToken{}, fmt.Errorf("%w: %d of them", ErrForgotten, n))
		}
	}
}

func (a *Answers) take() (InvalidToken, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, t := range a.dead {
		delete(a.dead, k)
		return t, true
	}
	return InvalidToken{}, false
}

func (a *Answers) takeForgotten() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.forgotten
	a.forgotten = 0
	return n
}
