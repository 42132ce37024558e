// Package server turns the parts of the library into an http.Handler that devices talk to.
//
//	h, err := server.New(server.Config{
//		Stores:    db.Stores(),
//		Extractor: identity.TLS(),
//		Validator: issuedByUs,
//		Pusher:    &apns.Client{Certificates: db.Stores().PushCertificates},
//	})
//
// The handler serves both halves of the protocol on one URL and tells them apart by content type, as devices send them.
// [Server.Run] does the work that is not anybody's request: it sends pushes, takes the steps of workflows, looks which devices are still there, tells of
// credentials whose end comes near, delivers events, finishes orders for many whose process is gone, and deletes what is over.
//
// The way of a request: its size is limited, then the certificate is extracted, then the property list is scanned in
// one bounded pass, then the certificate is validated, and only then is it decoded and applied, in one call of a store.
// It is the one place where an error becomes an HTTP status; see [StatusOf].
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/storage"
)

// Defaults of [Config].
const (
	DefaultMaxBody     = 8 << 20
	DefaultReadTimeout = 30 * time.Second
)

// Config says what a server is made of.
type Config struct {
	Stores    storage.Stores     // Checkin and Command are required; others switch features on
	Extractor identity.Extractor // required: where the client certificate is taken from
	Validator identity.Validator // required: whether it is acceptable
	Pusher    push.Pusher        // nil: no pushes are sent; devices connect when they please

	// Identity holds the choices about who may speak for an enrollment; the zero value is the careful one.
	Identity identity.Policy
	// Checkin has the hooks of the check-in protocol. Its Store, Escrow, Identity and Clock are filled in by New where they
	// are not set.
	Checkin checkin.Service
	// Wrap, if not nil, puts a handler of yours around the check-in service: to see every message, or to answer some.
	Wrap func(checkin.Handler) checkin.Handler

	// Cooks make the commands of recipes, by the name of the recipe; see [command.Recipe].
	Cooks map[string]command.Cook

	// Workflows run on every enrollment that they begin on; see package workflow. Stores.Runs, Roster and Events are required
	// for it.
	Workflows []workflow.Any

	// Consumers get the events, each by its own name and at its own pace. Stores.Events is required for it.
	Consumers map[string]event.Consumer

	// Pacing says how fast pushes go; the zero value has defaults.
	Pacing push.Pacing
	// Presence says what the silence of a device means, and PresenceFor for which devices it means something else (nil:
	// presence.Headsets). Stores.Presence nil: nobody is missed.
	Presence    presence.Policy
	PresenceFor func(*mdm.Enrollment, presence.Policy) presence.Policy

	// Expiry are the credentials that end, besides the push certificates of Stores, which are known: the device CA, the chain
	// of the server, tokens of other services. Each leaves events and log lines as its end comes near; Stores.Expiry nil: none.
	Expiry []expiry.Source
	// Feedback are asked for dead push tokens now and then, besides what Pusher answers, which is known. Stores.Push and Roster
	// are required for it, and Tenants if there is more than one: their devices are looked through for the tokens.
	Feedback []push.FeedbackSource
	Tenants  func(context.Context) ([]string, error)

	// Retention says how long what is over is kept; the zero value has defaults. Stores.Sweep nil: for ever.
	Retention storage.Retention

	Tenant      func(*http.Request) string // nil: one tenant, ""
	MaxBody     int64                      // bytes; 0: DefaultMaxBody
	ReadTimeout time.Duration              // for the whole body; 0: DefaultReadTimeout, negative: none
	Logger      *slog.Logger               // what goes on in the background, and a record for each request; nil: nothing is logged
	Requests    *slog.Logger               // for the latter, where that is another; nil: Logger
	Clock       func() time.Time           // nil: time.Now
}

// Server answers devices. Make it with New; it is safe for concurrent use.
type Server struct {
	cfg     Config
	checkin checkin.Handler
	service *checkin.Service
	command *command.Service
	pushes  *push.Dispatcher
	events  []*event.Dispatcher
	watcher *presence.Watcher
	expiry  *expiry.Calendar
	engine  *workflow.Engine // nil: there are no workflows
}

// New checks cfg and returns a server. The error has a line for each thing that is missing.
func New(cfg Config) (*Server, error) {
	var missing []error
	require := func(ok bool, what string) {
		if !ok {
			missing = append(missing, fmt.Errorf("server: %s", what))
		}
	}
	require(cfg.Stores.Checkin != nil, "Config.Stores.Checkin is required")
	require(cfg.Stores.Command != nil, "Config.Stores.Command is required")
	require(cfg.Extractor != nil, "Config.Extractor is required")
	require(cfg.Validator != nil, "Config.Validator is required")
	require(cfg.Pusher == nil || cfg.Stores.Push != nil, "Config.Pusher needs Stores.Push")
	require(len(cfg.Feedback) == 0 || cfg.Stores.Push != nil && cfg.Stores.Roster != nil, "Config.Feedback needs Stores.Push and Stores.Roster")
	require(len(cfg.Workflows) == 0 || cfg.Stores.Runs != nil && cfg.Stores.Roster != nil && cfg.Stores.Events != nil,
		"Config.Workflows needs Stores.Runs, Stores.Roster and Stores.Events")
	require(len(cfg.Consumers) == 0 || cfg.Stores.Events != nil, "Config.Consumers needs Stores.Events")
	if len(missing) > 0 {
		return nil, errors.Join(missing...)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Requests == nil {
		cfg.Requests = cfg.Logger
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = DefaultReadTimeout
	}
	s := &Server{cfg: cfg}
	if err := s.workflows(); err != nil {
		return nil, err
	}
	s.wire()
	return s, nil
}

// workflows makes the engine. It takes part in the events under a name of its own.
func (s *Server) workflows() (err error) {
	if len(s.cfg.Workflows) == 0 {
		return nil
	}
	s.engine, err = workflow.New(workflow.Config{Store: s.cfg.Stores.Runs, Commands: s.cfg.Stores.Command, Roster: s.cfg.Stores.Roster,
		Clock: s.cfg.Clock, Logger: s.cfg.Logger}, s.cfg.Workflows...)
	if err != nil {
		return fmt.Errorf("server: Config.Workflows: %w", err)
	}
	s.events = append(s.events, &event.Dispatcher{Log: s.cfg.Stores.Events, Name: "workflows", Consumer: s.engine, Logger: s.cfg.Logger})
	return nil
}

// Workflows returns the engine of Config.Workflows, to begin runs and to change them; nil if there are none.
func (s *Server) Workflows() *workflow.Engine { return s.engine }

// wire makes the parts out of the configuration.
func (s *Server) wire() {
	service := s.cfg.Checkin
	if service.Store == nil {
		service.Store = s.cfg.Stores.Checkin
	}
	if service.Escrow == nil {
		service.Escrow = s.cfg.Stores.Escrow
	}
	if service.Clock == nil {
		service.Clock = s.cfg.Clock
	}
	service.Identity = s.cfg.Identity
	s.service = &service
	s.checkin = s.service
	if s.cfg.Wrap != nil {
		s.checkin = s.cfg.Wrap(s.checkin)
	}
	s.command = &command.Service{Store: s.cfg.Stores.Command, Policy: s.cfg.Identity, Cooks: s.cfg.Cooks, Logger: s.cfg.Logger}
	if s.cfg.Pusher != nil {
		s.pushes = &push.Dispatcher{Store: s.cfg.Stores.Push, Pusher: s.cfg.Pusher, Pacing: s.cfg.Pacing, Clock: s.cfg.Clock, Logger: s.cfg.Logger}
	}
	if s.cfg.Stores.Presence != nil {
		s.watcher = &presence.Watcher{Store: s.cfg.Stores.Presence, Policy: s.cfg.Presence, For: s.cfg.PresenceFor, Clock: s.cfg.Clock, Logger: s.cfg.Logger}
	}
	s.expiry = &expiry.Calendar{Sources: slices.Clone(s.cfg.Expiry)}
	if certificates := s.cfg.Stores.PushCertificates; certificates != nil {
		s.expiry.Sources = append(s.expiry.Sources, expiry.PushCertificates(certificates))
	}
	for name, consumer := range s.cfg.Consumers {
		s.events = append(s.events, &event.Dispatcher{Log: s.cfg.Stores.Events, Name: name, Consumer: consumer, Logger: s.cfg.Logger})
	}
}

// Expiry returns the calendar of what ends: Config.Expiry and the push certificates.
func (s *Server) Expiry() *expiry.Calendar { return s.expiry }

// Checkin returns the check-in service, for what operators ask of it, as ending an enrollment.
func (s *Server) Checkin() *checkin.Service { return s.service }

// Uses says which optional parts of the protocol this server answers, for the capabilities in an enrollment profile.
func (s *Server) Uses() profile.Uses {
	return profile.Uses{
		UserChannels:   true,
		BootstrapToken: s.service.Escrow != nil,
		GetToken:       len(s.service.Tokens) > 0,
	}
}

// Run does the work in the background until ctx ends, and returns the cause of that. Any number of processes may run it
// on one database.
func (s *Server) Run(ctx context.Context) error {
	if w := s.cfg.Stores.Watch; w != nil {
		defer w.Watch(s.changed)()
	}
	var group sync.WaitGroup
	for _, run := range s.runners() {
		group.Go(func() { _ = run(ctx) }) // ends with ctx only
	}
	<-ctx.Done()
	group.Wait()
	return context.Cause(ctx)
}

func (s *Server) runners() []func(context.Context) error {
	var all []func(context.Context) error
	if s.pushes != nil {
		all = append(all, s.pushes.Run)
		if waves := s.cfg.Stores.Waves; waves != nil {
			all = append(all, (&push.WaveRunner{Store: waves, Clock: s.cfg.Clock, Logger: s.cfg.Logger}).Run)
		}
	}
	for _, d := range s.events {
		all = append(all, d.Run)
	}
	if s.engine != nil {
		all = append(all, s.engine.Run)
	}
	if s.watcher != nil {
		all = append(all, s.watcher.Run)
	}
	if s.cfg.Stores.Expiry != nil {
		all = append(all, (&expiry.Notifier{Calendar: s.expiry, Store: s.cfg.Stores.Expiry, Clock: s.cfg.Clock, Logger: s.cfg.Logger}).Run)
	}
	if len(s.cfg.Feedback) > 0 {
		all = append(all, (&push.Poller{Sources: s.cfg.Feedback, Devices: s.cfg.Stores.Roster, Store: s.cfg.Stores.Push, Tenants: s.cfg.Tenants,
			Clock: s.cfg.Clock, Logger: s.cfg.Logger}).Run)
	}
	if s.cfg.Stores.FanOuts != nil {
		all = append(all, s.resume)
	}
	if s.cfg.Stores.Sweep != nil {
		all = append(all, s.sweep)
	}
	return all
}

// changed passes on what a store has committed, so that nothing waits for the next look.
func (s *Server) changed(c storage.Change) {
	if c.Pushes && s.pushes != nil {
		s.pushes.Notify()
	}
	if c.Events {
		for _, d := range s.events {
			d.Notify()
		}
	}
}

// Flush looks at the devices, delivers the events, takes the steps of workflows and sends the pushes that are due now, and returns when that is done. Run
// does the same in the background; Flush is for tests and for shutting down. A push that waits for the end of
// Config.Pacing.Spacing is not due: tests set a negative one.
func (s *Server) Flush(ctx context.Context) error {
	var errs []error
	if s.watcher != nil {
		errs = append(errs, s.watcher.Flush(ctx))
	}
	for range 2 { // what workflows do leaves events, too
		for _, d := range s.events {
			errs = append(errs, d.Flush(ctx))
		}
		if s.engine == nil {
			break
		}
		errs = append(errs, s.engine.Flush(ctx))
	}
	if s.pushes != nil {
		errs = append(errs, s.pushes.Flush(ctx))
	}
	return errors.Join(errs...)
}
