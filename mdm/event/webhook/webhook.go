// Package webhook sends events to a URL, each as an HTTP POST of a small JSON document that is signed.
//
//	hook, err := webhook.New(webhook.Config{URL: "https://example.com/mdm", Secrets: []mdm.Secret{secret}})
//	server.Config{…, Consumers: map[string]event.Consumer{"webhook": hook}}
//
// # What a receiver can rely on
//
// Every event that is wanted arrives at least once, those of one enrollment in order. It may arrive twice: [IDHeader], which is
// also the id in the body, is the same then. An answer 2xx takes the event; everything else has it sent again. A receiver checks
// a request with [Verify] and reads it as a [Delivery]. It should take the event and answer, and do the work afterwards.
//
// # What happens when it fails
//
// A receiver that is down (no answer, 5xx, 429, a redirect, an answer that tells of a wrong address or wrong credentials) is
// left alone for a while that doubles each time, from [Retry].First to [Retry].Most. An event waits meanwhile, and goes first
// when it is back. Nothing else waits: consumers have a pace of their own. What is older than Config.MaxAge when the receiver has
// been down for so long that the pauses are the longest goes to Config.Dead, so that an outage does not pile up events for ever.
// The age is that of the event, so this does not depend on how often the server was restarted.
//
// An event that the receiver refuses (400, 413, 422 and other 4xx that are about the request) is sent again whenever the lease of
// the [event.Dispatcher] ends, and goes to Config.Dead after Config.Attempts. Only the events of its enrollment wait for it.
//
// An answer 410 does not end anything: a proxy that is set up wrong must not be able to throw events away. The receiver counts as
// down, and is asked again after the longest pause. Who wants no events takes the consumer away.
//
// Dead events are still in the [event.Log] until it is swept: [Webhook.Send] sends one again.
//
// # What is in it
//
// An [mdm.Event] holds no secrets. The answer to a command is added only with Config.Results, and without the keys that Apple's
// schema calls secret and those that it does not know, unless Config.Reveal says otherwise.
//
// [event.Dispatcher]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm/event#Dispatcher
// [event.Log]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm/event#Log
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Config says where events go. Only URL is required; the zero value of everything else is useful.
type Config struct {
	URL string // http or https; no more than its host is ever logged
	// Secrets sign, each by itself. To replace one, add the new one, have the receivers know it, and take away the old one. None:
	// requests are not signed, and a receiver cannot tell who sent them. None may be shorter than MinSecret.
	Secrets       []mdm.Secret
	Authorization mdm.Secret // the value of the header Authorization; zero: none

	Types   []mdm.EventType // only these; "command.*" is a family of them; empty: all
	Tenants []string        // only these; nil: all

	// Results adds what a device answered to commands, from Commands. Reveal leaves the secrets in it: recovery keys, bypass
	// codes, and what the schema does not know.
	Results   bool
	Reveal    bool
	Commands  command.Inspector // required with Results
	MaxResult int               // bytes of an answer; one that is larger is left out; 0: 1 MiB

	MicroMDM bool   // the body is that of MicroMDM; see MicroEvent for what of it there is
	Roster   Roster // with MicroMDM: fills in what devices said of themselves; may be nil

	// Client has the TLS options, a proxy, and so on; nil: a plain one. Redirects are never followed.
	Client *http.Client
	// PublicOnly refuses to connect to addresses that are not on the public Internet, whatever a name resolves to: for URLs that
	// customers enter. Proxies are not used then. It needs a Client whose Transport is nil, or an *http.Transport without
	// dialers of its own.
	PublicOnly bool
	// Timeout is for a request and its answer; 0: 10 s. It must be at most MaxTimeout, so that a call is over before the lease of
	// a dispatcher is.
	Timeout time.Duration

	Retry    Retry
	MaxAge   time.Duration // of an event that cannot be delivered; 0: 72 h
	Attempts int           // of an event that the receiver refuses, counted in memory; 0: 10

	// Dead gets an event that is given up, and why. Its error leaves the event for later. Nil: it is only logged.
	Dead func(ctx context.Context, e mdm.Event, reason string) error

	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
}

// Retry says for how long a receiver that is down is left alone. The pauses double from First to Most, and are shortened by up to
// a half at random. A Retry-After of the receiver makes them longer, up to Most.
type Retry struct {
	First time.Duration // 0: 1 s
	Most  time.Duration // 0: 5 min
}

// MaxTimeout bounds Config.Timeout.
const MaxTimeout = 20 * time.Second

// hold is the longest that a call waits for the end of a pause: so nobody asks and logs in a loop while there is one.
const hold = 10 * time.Second

// Webhook is an event.Consumer. Make it with [New]. It is safe for concurrent use.
type Webhook struct {
	cfg    Config
	client *http.Client
	sleep  func(context.Context, time.Duration)
	random func() float64 // from 0 to 1

	mu       sync.Mutex
	failures int // of the receiver, in a row
	until    time.Time
	refusals map[string]int // by the ID of an event
}

// maxRefusals bounds what is remembered of events that were refused: others may deliver them meanwhile.
const maxRefusals = 10_000

// New checks cfg and returns a consumer.
func New(cfg Config) (*Webhook, error) {
	target, err := url.Parse(cfg.URL)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, errors.New("webhook: Config.URL is no http or https URL")
	}
	for _, s := range cfg.Secrets {
		if len(s.Reveal()) < MinSecret {
			return nil, fmt.Errorf("webhook: a secret must have %d bytes at least", MinSecret)
		}
	}
	if cfg.Results && cfg.Commands == nil {
		return nil, errors.New("webhook: Config.Results needs Commands")
	}
	orDefault(&cfg.Timeout, 10*time.Second)
	orDefault(&cfg.MaxAge, 72*time.Hour)
	orDefault(&cfg.Attempts, 10)
	orDefault(&cfg.MaxResult, 1<<20)
	orDefault(&cfg.Retry.First, time.Second)
	orDefault(&cfg.Retry.Most, 5*time.Minute)
	cfg.Retry.First = min(cfg.Retry.First, cfg.Retry.Most)
	if cfg.Timeout > MaxTimeout {
		return nil, fmt.Errorf("webhook: Config.Timeout is over %v", MaxTimeout)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	client, err := clientOf(&cfg)
	if err != nil {
		return nil, err
	}
	return &Webhook{cfg: cfg, client: client, sleep: sleep, random: rand.Float64, refusals: map[string]int{}}, nil
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Consume implements event.Consumer. It returns nil for an event that was delivered, that is not wanted, or that Dead has.
func (w *Webhook) Consume(ctx context.Context, e mdm.Event) error {
	if !w.wants(&e) {
		return nil
	}
	if err := w.await(ctx, &e); err != nil {
		return w.orDead(ctx, &e, err)
	}
	err := w.Send(ctx, e)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // it says nothing about the receiver
	}
	return w.orDead(ctx, &e, w.note(ctx, &e, err))
}

// wants reports whether an event passes the filters.
func (w *Webhook) wants(e *mdm.Event) bool {
	if w.cfg.Tenants != nil && !slices.Contains(w.cfg.Tenants, e.Enrollment.Tenant) {
		return false
	}
	if w.cfg.MicroMDM && topicOf(e.Type) == "" {
		return false
	}
	return len(w.cfg.Types) == 0 || slices.ContainsFunc(w.cfg.Types, func(t mdm.EventType) bool {
		family, ok := strings.CutSuffix(string(t), "*")
		return t == e.Type || ok && strings.HasPrefix(string(e.Type), family)
	})
}

// Send sends an event once, whatever the filters and pauses say: for an operator, and for events that were given up. The error is
// Unavailable if the receiver is down, Malformed if it refuses the event.
func (w *Webhook) Send(ctx context.Context, e mdm.Event) error {
	id := eventID(&e)
	body, err := w.body(ctx, id, &e)
	if err != nil {
		return err
	}
	return w.post(ctx, id, body)
}

// orDead gives up an event if it is time, and returns err otherwise.
func (w *Webhook) orDead(ctx context.Context, e *mdm.Event, err error) error {
	if err == nil || !w.hopeless(e, err) {
		return err
	}
	reason := err.Error()
	if failed, ok := errors.AsType[*failure](err); ok {
		reason = failed.text
	}
	if w.cfg.Dead != nil {
		if err := w.cfg.Dead(ctx, *e, reason); err != nil {
			return fmt.Errorf("webhook: Config.Dead: %w", err)
		}
	}
	w.log(ctx, slog.LevelError, "an event was not delivered and is given up", slog.String("type", string(e.Type)), slog.Int64("seq", e.Seq),
		slog.String("enrollment", e.Enrollment.String()), slog.String("id", eventID(e)), slog.String("reason", reason))
	w.forget(e)
	return nil
}

func (w *Webhook) log(ctx context.Context, level slog.Level, text string, attrs ...slog.Attr) {
	if w.cfg.Logger != nil {
		w.cfg.Logger.LogAttrs(ctx, level, text, attrs...)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
