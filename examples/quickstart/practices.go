package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// The profiles of the passcode gate.
const (
	policyProfile  = "com.example.passcode"
	networkProfile = "com.example.network"
)

// practices are those of Apple's that go on by themselves here.
type practices struct {
	renewal  *practice.Renewal  // identities are renewed before they end
	passcode *practice.Passcode // a network waits for a passcode, on devices for which that was begun
	guard    *practice.Guard    // passcodes are cleared only for a reason, and on record
	inactive *practice.Inactive // who is silent loses access
	setup    *practice.Setup    // who waits in Setup Assistant is let go on
	access   *access
}

func (a *app) newPractices() *practices {
	p := &practices{access: &access{log: a.log, seen: map[string][]string{}}}
	p.renewal = &practice.Renewal{Recipe: &enroll.Recipe{}, Ends: practice.IdentityEnds(a.stores.Checkin), Roster: a.stores.Roster}
	p.passcode = &practice.Passcode{
		Roster: a.stores.Roster, Profiles: practice.ProfileFunc(a.gatedProfile), Policy: policyProfile, ByHand: true,
		Waiting: func(context.Context, *mdm.Enrollment) ([]string, error) { return []string{networkProfile}, nil },
	}
	p.guard = &practice.Guard{Audit: a.stores.Audit, Escrow: a.stores.Escrow, Vault: a.stores.Vault, Roster: a.stores.Roster,
		Runs: a.stores.Runs, Clock: a.now}
	p.inactive = &practice.Inactive{Access: p.access}
	p.setup = &practice.Setup{Roster: a.stores.Roster, Profiles: practice.ProfileFunc(a.gatedProfile), Stages: a.firstProfiles}
	return p
}

// workflows and cooks are what the server runs.
func (p *practices) workflows() []workflow.Any {
	return slices.Concat(p.renewal.Workflows(), p.passcode.Workflows(), p.guard.Workflows(), p.inactive.Workflows(), p.setup.Workflows())
}

func (p *practices) cooks() map[string]command.Cook {
	all := map[string]command.Cook{}
	for _, some := range []map[string]command.Cook{p.renewal.Cooks(), p.passcode.Cooks(), p.guard.Cooks(), p.setup.Cooks()} {
		for name, cook := range some {
			all[name] = cook
		}
	}
	return all
}

// firstProfiles are what a device gets before it leaves Setup Assistant: one that Apple says is ours gets the passcode policy.
func (a *app) firstProfiles(ctx context.Context, e *mdm.Enrollment) (practice.SetupStages, error) {
	_, ours, err := a.fromApple(ctx, e.ID.Tenant, e.Device.SerialNumber)
	if !ours || e.ID.IsUser() {
		return practice.SetupStages{}, err
	}
	return practice.SetupStages{Passcode: []string{policyProfile}}, nil
}

// gatedProfile makes the profiles of the passcode gate, when a device asks for them.
func (a *app) gatedProfile(ctx context.Context, _ *mdm.Enrollment, name string) ([]byte, error) {
	p := &profile.Profile{Identifier: name, DisplayName: "Passcode", Payloads: []profile.Payload{
		&profile.Passcode{ForcePIN: new(true), MinLength: new(int64(6))},
	}}
	if name == networkProfile {
		p.DisplayName, p.Payloads = "Network", []profile.Payload{
			&profile.WiFi{SSIDStr: new("Inside"), EncryptionType: new(profile.WiFiEncryptionTypeWPA2), Password: mdm.SecretString("behind the gate")},
		}
	}
	return a.signed(ctx, p)
}

// access stands for a system that lets devices in, as a mail server.
type access struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string][]string // by device
}

// Limit implements practice.Access.
func (a *access) Limit(_ context.Context, e *mdm.Enrollment) error { return a.note(e, "limited") }

// Restore implements practice.Access.
func (a *access) Restore(_ context.Context, e *mdm.Enrollment) error { return a.note(e, "restored") }

func (a *access) note(e *mdm.Enrollment, what string) error {
	a.log.Info("access is "+what, "device", e.ID.Device)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[e.ID.Device] = append(a.seen[e.ID.Device], what)
	return nil
}

// of tells what became of the access of a device.
func (a *access) of(device string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(slices.Compact(slices.Clone(a.seen[device])))
}
