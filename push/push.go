// Package push wakes devices. A push tells a device to connect; it carries nothing else (Apple: the payload is the
// PushMagic alone).
//
// Whoever queues a command leaves an intent to push in the same transaction. A [Dispatcher] takes what is due from the
// [Store], after that transaction is committed, and hands it to a [Pusher]; push/apns has the one that talks to Apple.
// Intents of one enrollment are coalesced, and an enrollment that ended has none.
package push

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Pusher wakes targets and returns one Result each, in the order of targets. The error is for failures of the whole
// call: if it is not nil there are no results. It returns soon after ctx has ended, as the pushes are somebody else's then.
// It is safe for concurrent use.
type Pusher interface {
	Push(ctx context.Context, targets []Target) ([]Result, error)
}

// Certificates finds the push certificate of a topic. It is called often and answers quickly; callers do not cache.
// Without one for the topic it returns a NotFound error.
type Certificates interface {
	PushCertificate(ctx context.Context, topic string) (*tls.Certificate, error)
}

// Store is the outbox of pushes.
type Store interface {
	// DuePushes takes up to max intents that are due and leases them until lease from now: they are not handed out again
	// before. Channels that are not enrolled are left out.
	DuePushes(ctx context.Context, now time.Time, max int, lease time.Duration) ([]Target, error)
	// Feedback settles leased intents and notes what became of them: it removes those that were delivered or can never be,
	// and puts off the others (outcomes Retry, BadCertificate and Unsent) until Result.Again. Of an Unsent one nothing is
	// noted: it was not tried. A push that was asked for since an intent was leased is due on its own, but nothing is due to
	// the channel before Result.Rest. A result whose lease another has now, or which was not leased, is only noted.
	//
	// An Invalid result is acted upon only if its Since is not before the channel's last TokenUpdate. Then the channel is
	// Gone: an EventPushFailed and an EventGone are left, and there are no pushes to it, and so no commands, until its next
	// accepted request. The intent stays: whatever it was for, the device was not woken. It is due at the next TokenUpdate;
	// after a request for commands only if its time had not come, since the device is there.
	Feedback(ctx context.Context, results []Result) error
	// Wake leaves an intent for every target that is enrolled, due at due (the zero time is now). It returns how many. Who is
	// Gone and named, or selected by a filter that asks for Gone, is tried again: he becomes Quiet. Many are woken in several
	// transactions: after an error some are, and calling again does no harm.
	Wake(ctx context.Context, to mdm.Targets, due time.Time) (int, error)
	// LastPush returns what is known of the pushes to a channel, and no error if nothing is.
	LastPush(ctx context.Context, id mdm.EnrollmentID) (Record, error)
}

// CertificateStore keeps push certificates, their private keys sealed.
type CertificateStore interface {
	Certificates
	// SavePushCertificate stores c under its topic, in place of a former one.
	SavePushCertificate(ctx context.Context, c Certificate) error
	// PushTopics lists the topics that have a certificate, in order, with the end of each certificate's validity.
	PushTopics(ctx context.Context) ([]Topic, error)
}

// Topic is a push topic and how long its certificate is valid.
type Topic struct {
	Name     string
	NotAfter time.Time
}

// Target is a channel to wake.
type Target struct {
	Enrollment     mdm.EnrollmentID
	Topic          string
	Token          []byte // APNs device token, 1 to 100 bytes
	Magic          string // PushMagic
	TokenUpdatedAt time.Time
	Failures       int // pushes in a row that APNs did not accept, before this one
	// Lease is until when the push is the caller's, as the store wrote it; zero for one that was not taken from a store. Pass it
	// back with the Result: that of a lease that is over settles nothing, as another may have the push in hand.
	Lease time.Time
}

// Record is what a store knows of the pushes to a channel.
type Record struct {
	Enrollment mdm.EnrollmentID

	At      time.Time // when the last one was settled; zero: none was
	Outcome Outcome   // of that, and the rest, too
	Status  int
	Reason  string
	APNsID  string

	Delivered time.Time // when APNs last accepted one
	Failures  int       // in a row, since then

	Due  time.Time // when the next is due; zero: none is wanted
	Held bool      // but it waits until the channel can be pushed
}

// Outcome classifies what became of a push.
type Outcome uint8

// The outcomes.
const (
	Delivered      Outcome = iota + 1 // accepted by APNs, which does not mean that the device has it
	Invalid                           // the token is dead or belongs to another topic: wait for a TokenUpdate
	Retry                             // a passing failure; again at Result.Retry
	Rejected                          // a bug or a wrong configuration: a retry would fail alike
	BadCertificate                    // the push certificate is missing, expired, revoked or wrong: stop and tell the operator
	Unsent                            // not tried, as the process ends or APNs cannot be reached; again at Result.Retry
)

var outcomeNames = [...]string{"none", "delivered", "invalid", "retry", "rejected", "bad-certificate", "unsent"}

// String returns the outcome in a word.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Result is what became of a push.
type Result struct {
	Target  Target
	Outcome Outcome
	Status  int    // of HTTP; 0 if no answer came
	Reason  string // APNs' word, as "BadDeviceToken"
	APNsID  string
	Since   time.Time // Invalid: since when APNs knows (410), or when it was asked
	Retry   time.Time // Retry, BadCertificate, Unsent: when to try again
	Rest    time.Time // no push to the channel before, whatever for; zero: as one likes
	At      time.Time
	Err     error // the cause, where no answer came
}

// Again returns when a push is to be tried again that was not delivered: at Retry, or now where nobody said when, but not before
// Rest. It is for stores.
func (r Result) Again(now time.Time) time.Time {
	at := r.Retry
	if at.IsZero() {
		at = now
	}
	if at.Before(r.Rest) {
		at = r.Rest
	}
	return at
}
