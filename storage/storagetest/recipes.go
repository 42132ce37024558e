package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func recipeCases() []testCase {
	return []testCase{
		{name: "made when the device asks", needs: needsDurable,
			why: "command.Recipe: made when the device asks for it, also by another process than the one that queued it",
			run: recipeMade},
		{name: "what cannot be made", needs: needsPush,
			why: "command.Cook: put off as if the device had answered NotNow, the next one is offered, and the device is pushed after DeferredPush",
			run: recipePutOff},
		{name: "what is called off", needs: needsEvents,
			why: "command.ErrCalledOff: canceled with the error as its note, and the next one is offered in the same session",
			run: recipeCalledOff},
		{name: "what was not made was not sent",
			why: "command.Unsent: it does not count as sent, nor as an erase or a replacement",
			run: recipeUnsent},
		{name: "canceled while it is made", needs: needsEvents,
			why: "command.Unsent: if the command is not open any more, nothing happens",
			run: recipeCanceled},
		{name: "during Setup Assistant",
			why: "command.Report: a Mac in UserConfiguration is offered commands with the Traits for it, by what the recipe says",
			run: recipeInSetup},
	}
}

type cooks = map[string]command.Cook

// connect is try with cooks.
func (d *device) connect(cooks cooks, r command.Request) *command.Offer {
	d.w.Helper()
	r.ID, r.Channel, r.Certificate, r.Fingerprint, r.Raw = d.id, d.channel, d.cert, d.fingerprint(), []byte(r.Status)
	if r.At.IsZero() {
		r.At = d.w.now()
	}
	offer, err := (&command.Service{Store: d.w.Command, Cooks: cooks}).Report(d.w.Context(), &r)
	require.NoError(d.w, err)
	return offer
}

func fails(err error) command.Cook {
	return func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) { return nil, err }
}

func makes(c command.Command) command.Cook {
	return func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) { return c, nil }
}

func recipe(kind, cook string) command.Recipe { return command.Recipe{Type: kind, Name: cook} }

var idle = command.Request{Status: command.StatusIdle}

func recipeMade(w *world) {
	var d *device
	var uuid string
	w.session(0, func(w *world) {
		d = w.enrolled("D")
		uuid = w.queued(command.Recipe{Type: "InstallProfile", Name: "fresh", Args: map[string]string{"for": "ü & <you>"}}, d)
	})
	w.session(0, func(w *world) {
		d.w = w
		times := 0
		cooks := cooks{"fresh": func(_ context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
			times++
			assert.Equal(w, d.id, id)
			return command.InstallProfile{Payload: fmt.Appendf(nil, "%s, %d", args["for"], times)}, nil
		}}
		for n := range 2 { // the first one got lost
			offer := d.connect(cooks, idle)
			d.expect(offer, uuid)
			want, err := command.Prepare(command.Order{UUID: uuid, Command: command.InstallProfile{Payload: fmt.Appendf(nil, "ü & <you>, %d", n+1)}})
			require.NoError(w, err)
			assert.Equal(w, string(want.Body), string(offer.Body))
		}
		d.expect(d.connect(cooks, command.Request{Status: command.StatusAcknowledged, CommandUUID: uuid}), "")
		assert.Equal(w, command.Acknowledged, w.state(d, uuid))
		assert.Equal(w, 2, w.entry(d, uuid).Sends)
	})
}

func recipePutOff(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(recipe("ProfileList", "down"), d), w.queued(security(), d)
	last := w.queued(recipe("CertificateList", "nobody"), d)
	w.drain()
	down := cooks{"down": fails(errors.New("the CA is down"))}
	d.expect(d.connect(down, idle), b)
	at := w.now()
	d.expect(d.connect(down, command.Request{Status: command.StatusAcknowledged, CommandUUID: b, At: at}), "")
	for _, uuid := range []string{a, last} {
		e := w.entry(d, uuid)
		assert.Equal(w, command.Deferred, e.State)
		assert.Equal(w, 1, e.Deferrals)
		assert.Zero(w, e.Sends)
	}
	assert.Empty(w, w.due(at.Add(command.DeferredPush-time.Second)))
	assert.Equal(w, []mdm.EnrollmentID{d.id}, w.woken(at.Add(command.DeferredPush+time.Second)), "NotNow was not the device's word: it will not poll")
	up := cooks{"down": makes(command.ProfileList{}), "nobody": makes(command.CertificateList{})}
	d.expect(d.connect(up, idle), a)
	d.expect(d.connect(up, command.Request{Status: command.StatusAcknowledged, CommandUUID: a}), last)
}

func recipeCalledOff(w *world) {
	d := w.enrolled("D")
	a, b := w.queued(recipe("ProfileList", "off"), d), w.queued(security(), d)
	off := cooks{"off": fails(fmt.Errorf("%w: it has a passcode", command.ErrCalledOff))}
	d.expect(d.connect(off, idle), b)
	e := w.entry(d, a)
	assert.Equal(w, command.Canceled, e.State)
	assert.Contains(w, e.Note, "it has a passcode")
	w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
	w.expectEvents(d.id, mdm.EventCommandNotNow, 0)
	d.expect(d.connect(off, command.Request{Status: command.StatusAcknowledged, CommandUUID: b}), "")
}

func recipeUnsent(w *world) {
	d := w.enrolled("D")
	erase := w.queued(recipe("EraseDevice", "unwise"), d)
	renew := w.queued(command.Recipe{Type: "InstallProfile", Name: "down", Traits: command.ReplacesMDM}, d)
	refuse := cooks{"unwise": fails(command.ErrCalledOff), "down": fails(errors.New("down"))}
	d.expect(d.connect(refuse, idle), "")
	s := w.situation(d.id, d.fingerprint())
	assert.False(w, s.EraseSent)
	assert.False(w, s.ReplacementSent)
	assert.Equal(w, command.Canceled, w.state(d, erase))
	assert.Equal(w, command.Deferred, w.state(d, renew))
	erase = w.queued(recipe("EraseDevice", "wise"), d)
	d.expect(d.connect(cooks{"down": fails(errors.New("down")), "wise": makes(command.EraseDevice{})}, idle), erase)
	assert.True(w, w.situation(d.id, d.fingerprint()).EraseSent)
}

func recipeCanceled(w *world) {
	for i, err := range []error{command.ErrCalledOff, errors.New("down")} {
		d := w.enrolled(fmt.Sprint("D", i))
		a, b := w.queued(recipe("ProfileList", "slow"), d), w.queued(security(), d)
		slow := cooks{"slow": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) {
			assert.Equal(w, 1, w.cancel(a, mdm.IDs(d.id)))
			return nil, err
		}}
		d.expect(d.connect(slow, idle), b)
		assert.Equal(w, command.Canceled, w.state(d, a))
		w.expectEvents(d.id, mdm.EventReportAside, 0)
		w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
	}
}

func recipeInSetup(w *world) {
	d := w.enrolled("D")
	w.queued(recipe("ProfileList", "list"), d)
	passcode := w.queued(command.Recipe{Type: "InstallProfile", Name: "down", Traits: command.PasscodeOnly}, d)
	end := w.queued(recipe("DeviceConfigured", "end"), d)
	setup := command.Request{Status: command.StatusIdle, UserConfiguration: true}
	all := cooks{"list": makes(command.ProfileList{}), "down": fails(errors.New("down")), "end": makes(command.DeviceConfigured{})}
	d.expect(d.connect(all, setup), end)
	assert.Equal(w, command.Deferred, w.state(d, passcode))
}
