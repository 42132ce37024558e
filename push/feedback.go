package push

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// InvalidToken is a device token that was found dead, and when.
type InvalidToken struct {
	Token  []byte
	Since  time.Time
	Topic  string // that the token is dead for; empty: not known
	Reason string // APNs' word, as "Unregistered"; empty: none. More than 64 bytes of printable ASCII are none, too
}

// What is taken of a source or a Pusher that is not ours: it goes into logs, and into columns of that size.
const (
	maxWord          = 64 // bytes of a reason or an apns-id
	maxFeedbackTopic = 255
)

// shortPlain returns s if it can be a reason or an apns-id, else nothing.
func shortPlain(s string) string {
	if len(s) > maxWord || !plain(s) {
		return ""
	}
	return s
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// FeedbackSource tells which tokens were found dead since it was asked last (Apple's "MDM Best Practices": poll for invalid
// tokens). What was yielded is not yielded again; what was not, because the caller stopped, may be lost. An error ends what is
// yielded, and what came before it counts. It is safe for concurrent use, and returns when ctx ends. A [Poller] asks it.
type FeedbackSource interface {
	InvalidTokens(ctx context.Context) iter.Seq2[InvalidToken, error]
}

// ReadFeedback yields what the Feedback Service of APNs' former binary interface sent: Apple's "MDM Best Practices" ask
// to poll it. Apple shut it down on 31 March 2021 and tells the same in 410 answers, which push/apns turns into
// Invalid results; this is for recordings and simulations, and for [FeedbackService]. A tuple is a time in seconds (4 bytes,
// big-endian), a length (2 bytes) and a token. An input that ends within a tuple yields io.ErrUnexpectedEOF last.
//
// One tuple at a time is in memory, 64 KiB at most. How many there are is for the caller to bound.
//
// Act upon a token only if its Since is not before the last TokenUpdate that brought it.
func ReadFeedback(r io.Reader) iter.Seq2[InvalidToken, error] {
	return func(yield func(InvalidToken, error) bool) {
		for {
			token, err := readFeedback(r)
			if errors.Is(err, io.EOF) || !yield(token, err) || err != nil {
				return
			}
		}
	}
}

func readFeedback(r io.Reader) (InvalidToken, error) {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF {
			return InvalidToken{}, err
		}
		return InvalidToken{}, fmt.Errorf("push: feedback: %w", err)
	}
	token := make([]byte, binary.BigEndian.Uint16(head[4:]))
	if _, err := io.ReadFull(r, token); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return InvalidToken{}, fmt.Errorf("push: feedback: %w", err)
	}
	since := time.Unix(int64(binary.BigEndian.Uint32(head[:])), 0).UTC()
	return InvalidToken{Token: token, Since: since}, nil
}
