package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/lint"
)

func id(d *mdmtest.Device) mdm.EnrollmentID { return mdm.EnrollmentID{Device: d.ID()} }

func (t *tour) enroll(ctx context.Context) error {
	for _, d := range []*mdmtest.Device{t.phone, t.mac, t.tablet} {
		// The trust profile comes over a connection that nothing vouches for yet; a real device's user accepts that.
		d.TrustCertificate(t.pki.server.Certificate)
		if err := d.Trust(ctx, t.base+"/trust.mobileconfig"); err != nil {
			return err
		}
		way := "enroll"
		if d == t.tablet { // signed by the factory's certificate, and its profile is encrypted to it
			way = "enroll over the air"
			if err := d.EnrollOverTheAir(ctx, t.base+"/ota.mobileconfig"); err != nil {
				return err
			}
		} else if err := d.Enroll(ctx, t.base+"/enroll.mobileconfig"); err != nil {
			return err
		}
		e, err := t.stores.Roster.Enrollment(ctx, id(d))
		if err != nil {
			return err
		}
		t.check(way, d, "enrolled, generation 1", fmt.Sprintf("%s, generation %d", e.State, e.Generation))
	}
	return nil
}

func (t *tour) information(ctx context.Context) error {
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{
		Command: command.DeviceInformation{Queries: []command.DeviceInformationQuery{"DeviceName", "SerialNumber"}},
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
		&profile.Restrictions{AllowCamera: new(false)},
	}}
	e, _, err := t.install(ctx, t.phone, p)
	if err != nil {
		return err
	}
	t.check("InstallProfile", t.phone, "acknowledged [com.example.restrictions]", fmt.Sprint(e.State, " ", t.phone.Profiles()))
	return nil
}

// install sends a profile to a device and waits for its final answer. It returns the profile as it was sent, too.
func (t *tour) install(ctx context.Context, d *mdmtest.Device, p *profile.Profile) (command.Entry, []byte, error) {
	data, err := t.signed(ctx, p)
	if err != nil {
		return command.Entry{}, nil, err
	}
	e, err := t.send(ctx, d, command.InstallProfile{Payload: data})
	return e, data, err
}

// encrypted sends a network together with the passcode that it asks for, readable by the phone alone.
func (t *tour) encrypted(ctx context.Context) error {
	pair, err := profile.Pair(
		&profile.Profile{Identifier: "com.example.office", DisplayName: "Passcode", Payloads: []profile.Payload{
			&profile.Passcode{ForcePIN: new(true), MinLength: new(int64(6))},
		}},
		&profile.Profile{Identifier: "com.example.office", DisplayName: "Office Wi-Fi", Payloads: []profile.Payload{
			&profile.WiFi{SSIDStr: new("Office"), EncryptionType: new(profile.WiFiEncryptionTypeWPA2), Password: mdm.SecretString("correct horse")},
		}})
	if err != nil {
		return err
	}
	findings := lint.Linter{Encrypted: true}.Check(pair)
	sealed, err := pair.Encrypt(t.phone.Certificate())
	if err != nil {
		return err
	}
	e, data, err := t.install(ctx, t.phone, sealed)
	if err != nil {
		return err
	}
	t.check("a pair, encrypted", t.phone, "acknowledged, installed true, password on the way false, 0 findings", fmt.Sprintf(
		"%s, installed %t, password on the way %t, %d findings", e.State, slices.Contains(t.phone.Profiles(), pair.Identifier),
		bytes.Contains(data, []byte("correct horse")), len(findings)))
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

// refuse queues what a Mac cannot do, as JSON: the reason comes back, and the device never sees it.
func (t *tour) refuse(ctx context.Context) error {
	c, err := command.DecodeJSON([]byte(`{"RequestType": "EnableLostMode", "Message": "Please call", "PhoneNumber": "555"}`))
	if err != nil {
		return err
	}
	receipt, err := t.stores.Command.Enqueue(ctx, command.Order{Command: c, To: mdm.IDs(id(t.mac))})
	if err != nil {
		return err
	}
	got := fmt.Sprintf("%d queued", receipt.Queued)
	if len(receipt.Refused) == 1 {
		var findings schema.Findings
		errors.As(receipt.Refused[0].Err, &findings)
		got += ", " + findings.Error()
	}
	t.check("a command for others", t.mac, "0 queued, platform: not on macOS", got)
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
	data, err := t.renewal(ctx, t.phone.ID())
	if err != nil {
		return err
	}
	// A command that waits behind the renewal must survive it.
	if _, err := t.stores.Command.Enqueue(ctx, command.Order{Command: command.InstallProfile{Payload: data}, To: mdm.IDs(id(t.phone)), NoPush: true}); err != nil {
		return err
	}
	e, err := t.send(ctx, t.phone, command.DeviceInformation{Queries: []command.DeviceInformationQuery{"OSVersion"}})
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

// macOn lets the Mac live by pushes until macOff is called.
func (t *tour) macOn(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = t.mac.Run(ctx) }()
	t.macOff = func() { cancel(); <-ended }
}

// silence switches the Mac off and lets the server's clock run ahead. The others are silent, too, but answer when they are
// pushed.
func (t *tour) silence(ctx context.Context) error {
	t.macOff()
	var seen []string
	later := func(d time.Duration) error {
		t.ahead.Add(int64(d))
		if err := t.mdm.Flush(ctx); err != nil {
			return err
		}
		e, err := t.stores.Roster.Enrollment(ctx, id(t.mac))
		if err == nil && (len(seen) == 0 || seen[len(seen)-1] != e.Presence.String()) {
			seen = append(seen, e.Presence.String())
		}
		return err
	}
	for hours := 0; hours < 8*24; hours += 4 {
		if err := later(4 * time.Hour); err != nil {
			return err
		}
		if err := t.untilPresent(ctx, later, t.phone, t.tablet); err != nil {
			return err
		}
	}
	t.macOn(ctx) // APNs has kept the last push for it
	if err := t.untilPresent(ctx, later, t.mac); err != nil {
		return err
	}
	if err := t.until(ctx, func() (bool, error) { return strings.Contains(t.practices.access.of(t.mac.ID()), "restored"), nil }); err != nil {
		return err
	}
	t.check("silence", t.mac, "active, quiet, inactive, active; access [limited restored]",
		strings.Join(seen, ", ")+"; access "+t.practices.access.of(t.mac.ID()))
	missed, err := t.happened(ctx, t.phone, mdm.EventInactive)
	t.check("silence", t.phone, "missed: false", fmt.Sprintf("missed: %t", missed))
	return err
}

// untilPresent waits until devices are active. Minutes go by, as it may be that a push is not due yet.
func (t *tour) untilPresent(ctx context.Context, later func(time.Duration) error, devices ...*mdmtest.Device) error {
	for _, d := range devices {
		for {
			e, err := t.stores.Roster.Enrollment(ctx, id(d))
			if err != nil {
				return err
			}
			if e.Presence == mdm.Active {
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(20 * time.Millisecond):
			}
			if err := later(time.Minute); err != nil {
				return err
			}
		}
	}
	return later(0)
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
