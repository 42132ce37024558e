package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/profile"
)

// demoTime bounds the whole tour.
const demoTime = time.Minute

// runDemo takes three simulated devices through everything that the quick start can do, over real HTTPS, SCEP, CMS and
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
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	t := newTour(a, out)
	err = t.run(ctx)
	stop()
	<-ended
	if report := t.report(); err == nil {
		err = report
	}
	return err
}

// tour is the state of a demo.
type tour struct {
	*app
	out                io.Writer
	phone, mac, tablet *mdmtest.Device
	tabletIsLocked     atomic.Bool
	started            time.Time
	rows               []row
}

// row is a line of the table at the end.
type row struct {
	step, device, want, got string
}

func newTour(a *app, out io.Writer) *tour {
	t := &tour{app: a, out: out, started: time.Now()}
	device := func(name, product string, respond func(context.Context, mdmtest.Order) mdmtest.Answer) *mdmtest.Device {
		return mdmtest.NewDevice(mdmtest.Config{Name: name, ProductName: product, APNs: a.apns, Respond: respond})
	}
	t.phone = device("Ada's phone", "iPhone15,2", func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
		if o.RequestType == "SecurityInfo" {
			return mdmtest.Answer{Repeat: 1} // says it twice, as after a lost reply
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
	return t
}

func (t *tour) run(ctx context.Context) error {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"enroll three devices", t.enroll},
		{"DeviceInformation for all of them", t.information},
		{"InstallProfile", t.installProfile},
		{"NotNow, then success", t.notNow},
		{"an Error", t.fail},
		{"a duplicate answer", t.duplicate},
		{"renew an identity", t.renew},
		{"CheckOut", t.checkOut},
	}
	devices, stop := context.WithCancel(ctx)
	defer stop()
	for i, step := range steps {
		_, _ = fmt.Fprintf(t.out, "[%d/%d] %5.1fs  %s\n", i+1, len(steps), time.Since(t.started).Seconds(), step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if i == 0 { // from now on they live by pushes
			for _, d := range []*mdmtest.Device{t.phone, t.mac, t.tablet} {
				go func() { _ = d.Run(devices) }()
			}
		}
	}
	return nil
}

func id(d *mdmtest.Device) mdm.EnrollmentID { return mdm.EnrollmentID{Device: d.ID()} }

func (t *tour) enroll(ctx context.Context) error {
	for _, d := range []*mdmtest.Device{t.phone, t.mac, t.tablet} {
		// The trust profile comes over a connection that nothing vouches for yet; a real device's user accepts that.
		d.TrustCertificate(t.pki.server.Certificate)
		if err := d.Trust(ctx, t.base+"/trust.mobileconfig"); err != nil {
			return err
		}
		if err := d.Enroll(ctx, t.base+"/enroll.mobileconfig"); err != nil {
			return err
		}
		e, err := t.stores.Roster.Enrollment(ctx, id(d))
		if err != nil {
			return err
		}
		t.check("enroll", d, "enrolled, generation 1", fmt.Sprintf("%s, generation %d", e.State, e.Generation))
	}
	return nil
}

func (t *tour) information(ctx context.Context) error {
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{
		Command: command.DeviceInformation{Queries: []string{"DeviceName", "SerialNumber"}},
		To:      mdm.IDs(id(t.phone), id(t.mac), id(t.tablet)),
	})
	if err != nil {
		return err
	}
	for _, d := range []*mdmtest.Device{t.phone, t.mac, t.tablet} {
		e, err := t.wait(ctx, d, receipt.UUID)
		if err != nil {
			return err
		}
		got := e.State.String()
		if strings.Contains(string(e.Result), d.SerialNumber()) {
			got += " with its serial number"
		}
		t.check("DeviceInformation", d, "acknowledged with its serial number", got)
	}
	return nil
}

func (t *tour) installProfile(ctx context.Context) error {
	p := &profile.Profile{Identifier: "com.example.restrictions", DisplayName: "Restrictions", Payloads: []profile.Payload{
		&profile.Raw{Type: "com.apple.applicationaccess", Values: map[string]any{"allowCamera": false}},
	}}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	if data, err = t.signer.Sign(ctx, data); err != nil {
		return err
	}
	e, err := t.send(ctx, t.phone, command.InstallProfile{Payload: data})
	if err != nil {
		return err
	}
	t.check("InstallProfile", t.phone, "acknowledged [com.example.restrictions]", fmt.Sprint(e.State, " ", t.phone.Profiles()))
	return nil
}

func (t *tour) notNow(ctx context.Context) error {
	t.tabletIsLocked.Store(true)
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{Command: command.ProfileList{}, To: mdm.IDs(id(t.tablet))})
	if err != nil {
		return err
	}
	if _, err := t.waitFor(ctx, t.tablet, receipt.UUID, func(e command.Entry) bool { return e.Deferrals > 0 }); err != nil {
		return err
	}
	t.tabletIsLocked.Store(false)
	if err := t.tablet.Poll(ctx); err != nil { // unlocked: after NotNow a device connects by itself
		return err
	}
	e, err := t.wait(ctx, t.tablet, receipt.UUID)
	if err != nil {
		return err
	}
	t.check("NotNow, then success", t.tablet, "acknowledged after 1 NotNow", fmt.Sprintf("%s after %d NotNow", e.State, e.Deferrals))
	return nil
}

func (t *tour) fail(ctx context.Context) error {
	e, err := t.send(ctx, t.mac, command.RemoveProfile{Identifier: "com.example.absent"})
	if err != nil {
		return err
	}
	result, err := command.ParseResult(e.Result)
	if err != nil {
		return err
	}
	got := e.State.String()
	if len(result.ErrorChain) > 0 {
		got = fmt.Sprintf("%s, %s %d", got, result.ErrorChain[0].ErrorDomain, result.ErrorChain[0].ErrorCode)
	}
	t.check("an Error", t.mac, "failed, MCMDMErrorDomain 12075", got)
	return nil
}

func (t *tour) duplicate(ctx context.Context) error {
	e, err := t.send(ctx, t.phone, command.SecurityInfo{})
	if err != nil {
		return err
	}
	answers, aside := 0, 0
	events, err := t.stores.Events.Events(ctx, "", 0, 10_000)
	if err != nil {
		return err
	}
	for _, event := range events {
		if event.CommandUUID == e.UUID && event.Type == mdm.EventCommandAcknowledged {
			answers++
		}
	}
	for _, err := range t.stores.Command.Aside(ctx, "", 0, 0) {
		if err != nil {
			return err
		}
		aside++
	}
	t.check("a duplicate answer", t.phone, "acknowledged once, 0 reports aside", fmt.Sprintf("%s %s, %d reports aside", e.State, times(answers), aside))
	return nil
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func (t *tour) renew(ctx context.Context) error {
	before := mdm.FingerprintOf(t.phone.Certificate())
	data, err := t.signedEnrollment(ctx, mdm.PurposeRenew, t.phone.ID())
	if err != nil {
		return err
	}
	// A command that waits behind the renewal must survive it.
	if _, err := t.stores.Command.Enqueue(ctx, command.Order{Command: command.InstallProfile{Payload: data}, To: mdm.IDs(id(t.phone)), NoPush: true}); err != nil {
		return err
	}
	e, err := t.send(ctx, t.phone, command.DeviceInformation{Queries: []string{"OSVersion"}})
	if err != nil {
		return err
	}
	enrollment, err := t.stores.Roster.Enrollment(ctx, id(t.phone))
	if err != nil {
		return err
	}
	renewed, err := t.happened(ctx, t.phone, mdm.EventRenewed)
	if err != nil {
		return err
	}
	changed := mdm.FingerprintOf(t.phone.Certificate()) != before
	t.check("renewal", t.phone, "renewed true, new identity true, generation 1, queue acknowledged",
		fmt.Sprintf("renewed %t, new identity %t, generation %d, queue %s", renewed, changed, enrollment.Generation, e.State))
	return nil
}

func (t *tour) checkOut(ctx context.Context) error {
	if err := t.tablet.CheckOut(ctx); err != nil {
		return err
	}
	e, err := t.stores.Roster.Enrollment(ctx, id(t.tablet))
	if err != nil {
		return err
	}
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(id(t.tablet))})
	if err != nil {
		return err
	}
	t.check("CheckOut", t.tablet, "ended, 0 commands queued", fmt.Sprintf("%s, %d commands queued", e.State, receipt.Queued))
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

// report prints the table of what happened and fails if a row is not as it should be.
func (t *tour) report() error {
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
	if violations := t.apns.Violations(); len(violations) > 0 {
		return fmt.Errorf("pushes were not as Apple asks for: %v", violations)
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d checks came out wrong", wrong, len(t.rows))
	}
	_, _ = fmt.Fprintf(t.out, "\n%d checks, %d pushes, %.1f s: all as expected\n", len(t.rows), len(t.apns.Pushes()), time.Since(t.started).Seconds())
	return nil
}
