package practice_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile/provisioning"
	"github.com/gomdm/applemdm/storage"
)

// bp05 is a lab with devices that have provisioning profiles.
type bp05 struct {
	*lab
	practice *practice.Provisioning
	goal     provisioning.Goal
	wrong    error // of the hook
}

func newBP05(l *lab, rights mdm.AccessRights) *bp05 {
	b := &bp05{lab: l}
	b.practice = &practice.Provisioning{Roster: l.stores.Roster, Goal: func(context.Context, *mdm.Enrollment) (provisioning.Goal, error) {
		return b.goal, b.wrong
	}}
	l.serve(func(c *server.Config) {
		c.Cooks = b.practice.Cooks()
		c.Checkin.Rights = func(*checkin.Request) mdm.AccessRights { return rights }
	}, b.practice.Workflows()...)
	return b
}

// bp05Profile makes a provisioning profile that is valid from one day of the lab to another.
func (b *bp05) profile(uuid string, from, to int) *provisioning.Profile {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Signing"}, NotBefore: b.start, NotAfter: b.start.AddDate(9, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(b, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(b, err)
	content, err := plistx.MarshalIndent(map[string]any{"UUID": uuid, "Name": "Example " + uuid, "CreationDate": b.start.AddDate(0, 0, from),
		"ExpirationDate": b.start.AddDate(0, 0, to), "Platform": []any{"iOS"}, "ProvisionsAllDevices": true, "TeamIdentifier": []any{"A1B2C3D4E5"},
		"Entitlements": map[string]any{"application-identifier": "A1B2C3D4E5.com.example.app", "get-task-allow": false}})
	require.NoError(b, err)
	data, err := cms.Sign(content, cert, key, cms.SignOptions{})
	require.NoError(b, err)
	p, err := provisioning.Parse(data)
	require.NoError(b, err)
	return p
}

// bp05Phone has provisioning profiles.
type bp05Phone struct {
	mu       sync.Mutex
	has      map[string]*provisioning.Profile
	installs []string
	removals []string
	fails    bool
}

func (p *bp05Phone) respond(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch o.RequestType {
	case "InstallProvisioningProfile":
		data, _ := o.Command["ProvisioningProfile"].([]byte)
		parsed, err := provisioning.Parse(data)
		if err != nil || p.fails {
			return mdmtest.Fail("MCProvisioningErrorDomain", 1, "no")
		}
		p.has[parsed.UUID] = parsed
		p.installs = append(p.installs, parsed.UUID)
	case "RemoveProvisioningProfile":
		uuid, _ := o.Command["UUID"].(string)
		delete(p.has, uuid)
		p.removals = append(p.removals, uuid)
	case "ProvisioningProfileList":
		list := []any{}
		for _, profile := range p.has {
			list = append(list, map[string]any{"UUID": profile.UUID, "Name": profile.Name, "ExpiryDate": profile.ExpirationDate})
		}
		return mdmtest.Answer{Fields: map[string]any{"ProvisioningProfileList": list}}
	}
	return mdmtest.Answer{}
}

func (p *bp05Phone) uuids() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for uuid := range p.has {
		out = append(out, uuid)
	}
	slices.Sort(out)
	return out
}

func (b *bp05) phone() (*bp05Phone, *mdmtest.Device) {
	p := &bp05Phone{has: map[string]*provisioning.Profile{}}
	d := b.enrolled(mdmtest.Config{Respond: p.respond})
	b.settle(d)
	return p, d
}

func (b *bp05) days(n int, devices ...*mdmtest.Device) {
	b.Helper()
	for range n {
		b.ahead.Add(int64(24 * time.Hour))
		b.settle(devices...)
	}
}

// TestBP05_ReplacedOnceBeforeItEnds lives through two months: installed, replaced thirty days before it ends, by a successor that was at
// hand for long, and the old one removed after that.
func TestBP05_ReplacedOnceBeforeItEnds(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights)
		first, second := b.profile("FIRST", -300, 50), b.profile("SECOND", 1, 400)
		b.goal.Profiles = []*provisioning.Profile{first}
		p, d := b.phone()
		assert.Equal(t, []string{"FIRST"}, p.uuids())
		b.days(5, d)
		b.goal.Profiles = append(b.goal.Profiles, second)
		b.days(14, d)
		assert.Equal(t, []string{"FIRST"}, p.uuids(), "it lasts for more than thirty days")
		for range 40 {
			b.ahead.Add(int64(12 * time.Hour)) // it is not asked whenever it connects
			b.settle(d)
			b.ahead.Add(int64(12*time.Hour + time.Minute))
			b.settle(d)
			require.NotEmpty(t, p.uuids(), "the app can run at every moment")
		}
		assert.Equal(t, []string{"FIRST", "SECOND"}, p.installs)
		assert.Equal(t, []string{"FIRST"}, p.removals)
		lists := 0
		for _, kind := range took(d) {
			if kind == "ProvisioningProfileList" {
				lists++
			}
		}
		assert.InDelta(t, 61, lists, 4, "once a day")
		runs := b.runs("provisioning")
		require.Len(t, runs, 1)
		assert.Equal(t, workflow.Open, runs[0].Status)
		assert.Contains(t, runs[0].Note, "1 profiles are installed")
	})
}

// TestBP05_RightsAreMissing ends the run when there is something to do, and says why.
func TestBP05_RightsAreMissing(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights&^mdm.InstallProvisioning)
		p, d := b.phone()
		assert.Equal(t, workflow.Open, b.runs("provisioning")[0].Status, "nothing is wanted yet")
		b.goal.Profiles = []*provisioning.Profile{b.profile("FIRST", -30, 200)}
		b.days(3, d)
		runs := b.runs("provisioning")
		require.Len(t, runs, 1)
		assert.Equal(t, workflow.Failed, runs[0].Status)
		assert.Contains(t, runs[0].Note, "128 of AccessRights")
		assert.Empty(t, took(d))
		assert.Empty(t, p.uuids())
	})
}

// TestBP05_DeletedCommandsAreOver deletes the commands before the run has heard of their answers, as after an outage of a quarter.
func TestBP05_DeletedCommandsAreOver(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights)
		p := &bp05Phone{has: map[string]*provisioning.Profile{}}
		d := b.enrolled(mdmtest.Config{Respond: p.respond})
		b.goal.Profiles = []*provisioning.Profile{b.profile("FIRST", -30, 900)}
		sweep := func() {
			b.ahead.Add(int64(100 * 24 * time.Hour))
			swept, err := l.stores.Sweep.Sweep(t.Context(), l.now(), storage.Retention{Events: -1})
			require.NoError(t, err)
			require.Positive(t, swept.Commands)
		}
		b.flush()
		require.NoError(t, d.Poll(t.Context())) // the list, of which the run does not hear
		sweep()
		b.flush()
		require.NoError(t, d.Poll(t.Context())) // another list
		b.flush()
		require.NoError(t, d.Poll(t.Context())) // the installation, and a list
		require.Equal(t, []string{"FIRST"}, p.uuids())
		sweep()
		b.settle(d)
		assert.Equal(t, []string{"FIRST"}, p.installs, "it shows in the list that it is there")
		assert.Contains(t, b.runs("provisioning")[0].Note, "1 profiles are installed")
		p.mu.Lock()
		delete(p.has, "FIRST")
		p.mu.Unlock()
		b.days(3, d)
		assert.Equal(t, []string{"FIRST", "FIRST"}, p.installs, "nothing is taken to be on its way for ever")
	})
}

// TestBP05_FailuresAreTriedAgain has a phone that refuses for three days.
func TestBP05_FailuresAreTriedAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights)
		p, d := b.phone()
		assert.Empty(t, took(d), "without a goal nothing is asked")
		b.wrong = errors.New("away")
		b.days(1, d)
		assert.Contains(t, b.runs("provisioning")[0].Note, "away")
		b.wrong = nil
		p.fails, b.goal.Profiles = true, []*provisioning.Profile{b.profile("FIRST", -30, 200)}
		b.days(4, d)
		tries := 0
		for _, kind := range took(d) {
			if kind == "InstallProvisioningProfile" {
				tries++
			}
		}
		assert.InDelta(t, 3, tries, 1, "once a day")
		p.fails = false
		b.days(2, d)
		assert.Equal(t, []string{"FIRST"}, p.uuids())
	})
}

// TestBP05_WhatIsNotWantedAnyMoreIsNotDelivered changes the goal while the phone is away.
func TestBP05_WhatIsNotWantedAnyMoreIsNotDelivered(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights)
		p := &bp05Phone{has: map[string]*provisioning.Profile{}}
		d := b.enrolled(mdmtest.Config{Respond: p.respond})
		b.goal.Profiles = []*provisioning.Profile{b.profile("FIRST", -30, 200)}
		b.flush()
		body, err := d.Report(t.Context(), map[string]any{"Status": "Idle"})
		require.NoError(t, err)
		require.Contains(t, string(body), "ProvisioningProfileList")
		uuid := b.queue(d)[0].UUID
		_, err = d.Report(t.Context(), map[string]any{"Status": "Acknowledged", "CommandUUID": uuid, "ProvisioningProfileList": []any{}})
		require.NoError(t, err)
		b.flush()
		require.Len(t, b.queue(d), 3)
		b.goal = provisioning.Goal{Remove: []string{"FIRST"}}
		b.settle(d)
		assert.Empty(t, p.installs)
		states := map[string]command.State{}
		for _, e := range b.queue(d) {
			states[e.RequestType] = e.State
		}
		assert.Equal(t, command.Canceled, states["InstallProvisioningProfile"])
	})
}

// TestBP05_Sweep begins the watch over devices that were there before, once.
func TestBP05_Sweep(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP05(l, mdm.AllRights)
		p, d := b.phone()
		_, err := l.server.Workflows().Cancel(t.Context(), "", b.runs("provisioning")[0].ID, "as if it had never begun")
		require.NoError(t, err)
		b.goal.Profiles = []*provisioning.Profile{b.profile("FIRST", -30, 200)}
		b.days(2, d)
		require.Empty(t, p.uuids())
		for _, want := range []int{1, 0} {
			begun, err := b.practice.Sweep(t.Context(), l.server.Workflows(), mdm.Filter{})
			require.NoError(t, err)
			assert.Equal(t, want, begun)
			b.settle(d)
		}
		assert.Equal(t, []string{"FIRST"}, p.uuids())
	})
}
