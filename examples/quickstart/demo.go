package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// demoTime bounds the whole tour.
const demoTime = time.Minute

// runDemo takes four simulated devices through everything that the quick start can do, over real HTTPS, SCEP, CMS and
// SQLite, and fails if anything comes out differently from what it should.
func runDemo(ctx context.Context, o options, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, errors.New("the demo took longer than a minute"))
	defer cancel()
	dir, err := os.MkdirTemp("", "applemdm-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	o.data, o.listen, o.admin, o.token, o.publicURL, o.pushCert, o.tlsCert = dir, "127.0.0.1:0", "127.0.0.1:0", randomToken(), "", "", ""
	a, err := newApp(ctx, o, true)
	if err != nil {
		return err
	}
	defer a.Close()
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(running) }() // ends when it is stopped
	t := newTour(a, out)
	err = t.run(ctx)
	stop()
	<-ended
	return t.report(err)
}

// tour is the state of a demo.
type tour struct {
	*app
	out                io.Writer
	phone, mac, tablet *mdmtest.Device
	fresh              *mdmtest.Device // in its box
	tabletIsLocked     atomic.Bool
	phoneHasNoPasscode atomic.Bool
	released           string // what was known of the fresh device when it was let go on
	macOff             func()
	started            time.Time
	rows               []row
}

// row is a line of the table at the end.
type row struct {
	step, device, want, got string
}

func newTour(a *app, out io.Writer) *tour {
	t := &tour{app: a, out: out, started: time.Now(), macOff: func() {}}
	device := func(name, product string, respond func(context.Context, mdmtest.Order) mdmtest.Answer) *mdmtest.Device {
		return mdmtest.NewDevice(mdmtest.Config{Name: name, ProductName: product, APNs: a.apns, Respond: respond, BuiltIn: a.factory})
	}
	t.phone = device("Ada's phone", "iPhone15,2", func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "SecurityInfo" {
			answer := mdmtest.Answer{Repeat: 1} // says it twice, as after a lost reply
			if t.phoneHasNoPasscode.Load() {
				answer.Fields = map[string]any{"SecurityInfo": map[string]any{"PasscodePresent": false, "PasscodeCompliant": false, "PasscodeCompliantWithProfiles": false}}
			}
			return answer
		}
		return mdmtest.Answer{}
	})
	t.mac = device("Grace's Mac", "Mac14,2", func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "RemoveProfile" {
			return mdmtest.Fail("MCMDMErrorDomain", 12075, "The profile is not installed.")
		}
		return mdmtest.Answer{}
	})
	t.tablet = device("Alan's tablet", "iPad14,1", func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "ProfileList" && t.tabletIsLocked.Load() {
			return mdmtest.NotNow()
		}
		return mdmtest.Answer{}
	})
	t.fresh = device("Hedy's phone", models[0].product, func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "DeviceConfigured" {
			t.released = t.standing(ctx, t.fresh)
		}
		return mdmtest.Answer{}
	})
	// It trusts who signs its profile, as a public CA would have it; whom it trusts for TLS, Apple tells it.
	t.fresh.TrustCertificate(a.pki.server.Certificate)
	return t
}

func (t *tour) run(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"enroll three devices, one of them over the air", t.enroll},
		{"DeviceInformation for all of them", t.information},
		{"InstallProfile", t.installProfile},
		{"a network with its passcode, encrypted for one device", t.encrypted},
		{"NotNow, then success", t.notNow},
		{"a command that a Mac does not have", t.refuse},
		{"an Error", t.fail},
		{"a duplicate answer", t.duplicate},
		{"renew an identity", t.renew},
		{"a network waits for a passcode", t.gate},
		{"a passcode is cleared, on record", t.clearPasscode},
		{"a Mac falls silent for a week, and comes back", t.silence},
		{"a phone is bought, and Apple says so", t.buy},
		{"it is unpacked, and sets itself up", t.setUpFresh},
		{"how firmly it is held", t.hold},
		{"what Apple knows, and until when it tells", t.appleKnows},
		{"CheckOut", t.checkOut},
	}
	devices, stop := context.WithCancel(ctx)
	defer stop()
	defer func() { t.macOff() }()
	for i, step := range steps {
		_, _ = fmt.Fprintf(t.out, "[%d/%d] %5.1fs  %s\n", i+1, len(steps), time.Since(t.started).Seconds(), step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if i == 0 { // from now on they live by pushes
			for _, d := range []*mdmtest.Device{t.phone, t.tablet} {
				go func() { _ = d.Run(devices) }()
			}
			t.macOn(devices)
		}
	}
	return nil
}

// send queues a command for one device and waits for its final answer.
func (t *tour) send(ctx context.Context, d *mdmtest.Device, c command.Command) (command.Entry, error) {
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{Command: c, To: mdm.IDs(id(d))})
	if err != nil {
		return command.Entry{}, err
	}
	return t.wait(ctx, d, receipt.UUID)
}

func (t *tour) wait(ctx context.Context, d *mdmtest.Device, uuid string) (command.Entry, error) {
	return t.waitFor(ctx, d, uuid, func(e command.Entry) bool { return !e.State.Open() })
}

func (t *tour) waitFor(ctx context.Context, d *mdmtest.Device, uuid string, done func(command.Entry) bool) (command.Entry, error) {
	for {
		for e, err := range t.stores.Command.Entries(ctx, command.Query{From: id(d), UUID: uuid, Results: true}) {
			if err != nil {
				return e, err
			}
			if done(e) {
				return e, nil
			}
		}
		select {
		case <-ctx.Done():
			return command.Entry{}, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *tour) happened(ctx context.Context, d *mdmtest.Device, kind mdm.EventType) (bool, error) {
	events, err := t.stores.Events.Events(ctx, "", 0, 10_000)
	for _, e := range events {
		if e.Enrollment == id(d) && e.Type == kind {
			return true, nil
		}
	}
	return false, err
}

func (t *tour) check(step string, d *mdmtest.Device, want, got string) {
	t.rows = append(t.rows, row{step: step, device: d.ID(), want: want, got: got})
}

// report prints the table of what happened and fails if a row is not as it should be, or the tour ended early.
func (t *tour) report(ended error) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\n\tSTEP\tDEVICE\tRESULT")
	wrong := 0
	for _, r := range t.rows {
		mark, result := "ok", r.got
		if r.got != r.want {
			mark, result = "WRONG", fmt.Sprintf("%s (expected: %s)", r.got, r.want)
			wrong++
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, r.step, r.device, result)
	}
	_ = w.Flush()
	if ended != nil {
		return ended
	}
	if violations := t.apns.Violations(); len(violations) > 0 {
		return fmt.Errorf("pushes were not as Apple asks for: %v", violations)
	}
	if t.apple != nil {
		if violations := t.apple.abm.Violations(); len(violations) > 0 {
			return fmt.Errorf("calls were not as Apple asks for: %v", violations)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d checks came out wrong", wrong, len(t.rows))
	}
	_, _ = fmt.Fprintf(t.out, "\n%d checks, %d pushes, %.1f s: all as expected\n", len(t.rows), len(t.apns.Pushes()), time.Since(t.started).Seconds())
	return nil
}
