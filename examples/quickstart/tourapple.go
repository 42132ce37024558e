package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// buy has a phone bought: it is synced from Apple, and assigned to the profile that leads it here.
func (t *tour) buy(ctx context.Context) error {
	t.apple.buy(t.fresh.SerialNumber(), models[0])
	r, err := t.untilStatus(ctx, dep.ProfileAssigned)
	if err != nil {
		return err
	}
	server, err := t.stores.DEP.Server(ctx, appleKey)
	if err != nil {
		return err
	}
	t.check("bought", t.fresh, "iPhone 14 Pro, assigned applemdm quick start",
		fmt.Sprintf("%s, %s %s", r.Device.Model, r.Device.ProfileStatus, server.Profiles[r.Device.ProfileUUID].Name))
	return nil
}

// untilStatus waits until a sync told that the profile of the fresh phone is so far.
func (t *tour) untilStatus(ctx context.Context, want dep.ProfileStatus) (r dep.Record, err error) {
	return r, t.until(ctx, func() (bool, error) {
		r, _, err = t.fromApple(ctx, "", t.fresh.SerialNumber())
		return r.Device.ProfileStatus == want, err
	})
}

// setUpFresh switches the phone on: it gets its profile from Apple and opens our page, where its user first mistypes the password.
func (t *tour) setUpFresh(ctx context.Context) error {
	assignment, err := t.apple.activate(t.fresh.SerialNumber())
	if err != nil {
		return err
	}
	typed := signIn("lovelacs", adePassword)
	refused := 0
	report, err := t.fresh.SetupAssistant(ctx, mdmtest.Assistant{Assignment: assignment, Fill: func(p *mdmtest.Page) error {
		if strings.Contains(string(p.Body), "is not right") {
			refused++
		}
		return typed(p)
	}})
	if err != nil {
		return err
	}
	t.check("Setup Assistant", t.fresh, "1 password refused, then the profile after 3 answers", fmt.Sprintf("%d password refused, then the profile after %d answers", refused, len(report.Pages)))
	t.check("held there", t.fresh, "enrolled, awaits its configuration: true, passcode policy: true", t.released)
	t.check("released", t.fresh, "in Setup Assistant: false", fmt.Sprintf("in Setup Assistant: %t", t.fresh.InSetup()))
	return nil
}

// standing is how the server and the device see each other.
func (t *tour) standing(ctx context.Context, d *mdmtest.Device) string {
	e, err := t.stores.Roster.Enrollment(ctx, id(d))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, awaits its configuration: %t, passcode policy: %t", e.State, e.AwaitingConfiguration, slices.Contains(d.Profiles(), policyProfile))
}

// hold asks the phone how it is managed, and holds that against what its profile at Apple promises.
func (t *tour) hold(ctx context.Context) error {
	live, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = t.fresh.Run(live) }()
	defer func() { stop(); <-ended }()
	for _, c := range []command.Command{
		command.DeviceInformation{Queries: []command.DeviceInformationQuery{"IsSupervised"}}, command.SecurityInfo{}, command.ProfileList{},
	} {
		if _, err := t.send(ctx, t.fresh, c); err != nil {
			return err
		}
	}
	r, _, err := t.fromApple(ctx, "", t.fresh.SerialNumber())
	if err != nil {
		return err
	}
	server, err := t.stores.DEP.Server(ctx, appleKey)
	if err != nil {
		return err
	}
	_, h, err := t.holdOf(ctx, &r, &server)
	t.check("hold", t.fresh, "supervised yes, removable no, by the device's list of profiles",
		fmt.Sprintf("supervised %s, removable %s, by %s", inWords(h.Supervised), inWords(h.Removable), word(h.Confirmed, h.Note, "a promise")))
	return err
}

// appleKnows looks at what the next sync told, and at when the token ends by which Apple tells it.
func (t *tour) appleKnows(ctx context.Context) error {
	r, err := t.untilStatus(ctx, dep.ProfilePushed)
	if err != nil {
		return err
	}
	t.check("Apple knows", t.fresh, "pushed", string(r.Device.ProfileStatus))
	server, err := t.stores.DEP.Server(ctx, appleKey)
	if err != nil {
		return err
	}
	items, err := t.mdm.Expiry().Items(ctx)
	noted := slices.ContainsFunc(items, func(i expiry.Item) bool {
		return i.Kind == expiry.DEPToken && i.Name == appleKey.Name && i.NotAfter.Equal(server.Token.Expires)
	})
	days := int(server.Token.Expires.Sub(server.AddedAt).Hours()) / 24
	t.check("token", t.fresh, "good for a year, in the calendar: true", fmt.Sprintf("good for %s, in the calendar: %t", word(days >= 364 && days <= 365, "a year", "another time"), noted))
	return err
}
