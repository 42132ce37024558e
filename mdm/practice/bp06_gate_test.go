package practice_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestBP06_AHookThatFailsLeavesNothingThere: whoever cannot be told of a loss does not keep the profiles on the device.
func TestBP06_AHookThatFailsLeavesNothingThere(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var down, panics atomic.Bool
		heard := &gateChanges{}
		l.gated(func(p *practice.Passcode) {
			p.Changed = func(ctx context.Context, e *mdm.Enrollment, open bool, why string) error {
				switch {
				case panics.Load():
					panic("the hook is broken")
				case down.Load():
					return errors.New("nobody is there")
				}
				return heard.changed(ctx, e, open, why)
			}
		})
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		assert.Contains(t, d.Profiles(), "mail")
		panics.Store(true)
		code.set(passcodeWeak)
		l.advance(25*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "mail")
		down.Store(true)
		panics.Store(false)
		l.advance(25*time.Hour, d)
		assert.Equal(t, workflow.Open, l.theRun("passcode").Status)
		assert.Equal(t, []bool{true}, heard.list)
		down.Store(false)
		l.advance(time.Hour, d)
		assert.Equal(t, []bool{true, false}, heard.list, "it is told when somebody is there, once")
	})
}

// TestBP06_HooksThatAreAwayForDays: the gate is not given up meanwhile.
func TestBP06_HooksThatAreAwayForDays(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var down atomic.Bool
		l.gated(func(p *practice.Passcode) {
			p.Waiting = func(context.Context, *mdm.Enrollment) ([]string, error) {
				if down.Load() {
					return nil, errors.New("the database is away")
				}
				return []string{"mail"}, nil
			}
		})
		code := &passcodeDevice{}
		code.set(passcodeGood)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		down.Store(true)
		code.set(passcodeWeak)
		l.advance(3*24*time.Hour, d)
		down.Store(false)
		l.advance(2*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "mail")
	})
}

// TestBP06_ErrorsAreWaitedForWhenAnOldWordIsNotEnough: a device whose word is wanted anew, and that answers with errors, is not asked
// again and again at once.
func TestBP06_ErrorsAreWaitedForWhenAnOldWordIsNotEnough(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(func(p *practice.Passcode) {
			p.Fresh, p.Again = time.Hour, workflow.Retry{First: 3 * time.Hour, Most: 3 * time.Hour, Limit: 100}
		})
		code := &passcodeDevice{}
		code.set(passcodeGood)
		installs := 0
		d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "InstallProfile" {
				if installs++; installs == 2 { // after the policy
					return mdmtest.Fail(command.DomainInstallation, 4001, "no")
				}
			}
			return code.respond(ctx, o)
		}})
		l.settle(d)
		assert.Contains(t, d.Profiles(), "wifi")
		code.be(mdmtest.Fail(command.DomainMDM, 12024, "busy"))
		before := len(gotProfiles(d))
		l.advance(3*time.Hour, d)
		assert.Len(t, gotProfiles(d)[before:], 1, "%v", gotProfiles(d)[before:])
		assert.Contains(t, d.Profiles(), "wifi", "errors of a moment are no loss")
		code.set(passcodeGood)
		l.advance(time.Hour, d)
		assert.Contains(t, d.Profiles(), "mail")
	})
}

// TestBP06_RemovalIsNotGivenUp: what a device must not have any more is removed, however often it refused before.
func TestBP06_RemovalIsNotGivenUp(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(func(p *practice.Passcode) { p.Again = workflow.Retry{Limit: 2, Most: time.Hour} })
		code := &passcodeDevice{}
		code.set(passcodeGood)
		var stubborn atomic.Bool
		d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "RemoveProfile" && stubborn.Load() {
				return mdmtest.Fail(command.DomainMDM, 12024, "busy")
			}
			return code.respond(ctx, o)
		}})
		l.settle(d)
		stubborn.Store(true)
		code.set(passcodeWeak)
		l.advance(48*time.Hour, d)
		assert.Contains(t, d.Profiles(), "mail")
		stubborn.Store(false)
		l.advance(2*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "mail")
	})
}

// TestBP03_RemovedBeforeItGivesUp: a pair whose restriction is withdrawn ends when the capability has gone.
func TestBP03_RemovedBeforeItGivesUp(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var withdrawn, stubborn atomic.Bool
		l.paired(t, func(p *practice.Pairing) {
			source := p.Profiles
			p.Profiles = practice.ProfileFunc(func(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error) {
				if withdrawn.Load() && name == "restriction" {
					return nil, practice.ErrWithdrawn
				}
				return source.Profile(ctx, e, name)
			})
		}, pairNoCamera())
		d := l.enrolled(mdmtest.Config{Respond: func(_ context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "RemoveProfile" && stubborn.Load() {
				return mdmtest.Fail(command.DomainMDM, 12024, "busy")
			}
			return mdmtest.Answer{}
		}})
		l.settle(d)
		assert.Contains(t, d.Profiles(), "capability")
		withdrawn.Store(true)
		stubborn.Store(true)
		d.DeleteProfile("restriction")
		l.advance(25*time.Hour, d)
		stubborn.Store(false)
		l.advance(7*time.Hour, d)
		assert.NotContains(t, d.Profiles(), "capability")
		assert.Equal(t, workflow.Failed, l.theRun("pairing").Status)
	})
}

// TestBP06_RestoredBeginsWithThePolicy: a backup may be older than the policy and the passcode.
func TestBP06_RestoredBeginsWithThePolicy(t *testing.T) {
	for name, refuses := range map[string]bool{"it takes the policy": false, "it refuses the policy": true} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) {
				heard := &gateChanges{}
				l.gated(func(p *practice.Passcode) { p.Changed, p.Again = heard.changed, workflow.Retry{Limit: 2} })
				code := &passcodeDevice{}
				code.set(passcodeGood)
				var stubborn atomic.Bool
				d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
					if o.RequestType == "InstallProfile" && stubborn.Load() {
						return mdmtest.Fail(command.DomainInstallation, 4001, "no")
					}
					if o.RequestType == "RemoveProfile" { // it was not in the backup
						return mdmtest.Fail(command.ErrProfileNotFound.Domain, command.ErrProfileNotFound.Code, "no such profile")
					}
					return code.respond(ctx, o)
				}})
				l.settle(d)
				assert.Equal(t, "open", l.theRun("passcode").Step)
				stubborn.Store(refuses)
				backup, before := d.Backup(), len(gotProfiles(d))
				assert.NoError(t, d.Restore(t.Context(), backup))
				l.settle(d)
				if !refuses {
					assert.Equal(t, []string{"+policy", "SecurityInfo"}, gotProfiles(d)[before:])
					assert.Equal(t, "open", l.theRun("passcode").Step)
					return
				}
				l.advance(2*time.Hour, d)
				assert.Contains(t, gotProfiles(d)[before:], "-mail")
				assert.Equal(t, workflow.Failed, l.theRun("passcode").Status)
				assert.Equal(t, []bool{true, false}, heard.list)
			})
		})
	}
}

// TestBP06_WhatIsNotOursIsLeft: a profile that the device does not let the server remove is not asked for again and again.
func TestBP06_WhatIsNotOursIsLeft(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		l.gated(nil)
		code := &passcodeDevice{}
		code.set(passcodeGood)
		removals := 0
		d := l.enrolled(mdmtest.Config{Respond: func(ctx context.Context, o mdmtest.Order) mdmtest.Answer {
			if o.RequestType == "RemoveProfile" {
				removals++
				return mdmtest.Fail(command.ErrProfileNotManaged.Domain, command.ErrProfileNotManaged.Code, "not managed")
			}
			return code.respond(ctx, o)
		}})
		l.settle(d)
		code.set(passcodeWeak)
		l.advance(4*24*time.Hour, d)
		assert.Equal(t, 2, removals, "one for each profile")
	})
}

// TestBP06_WhatDoesNotWaitAnyMoreIsWithdrawn: a profile that leaves the list is taken from the device, and comes back with it.
func TestBP06_WhatDoesNotWaitAnyMoreIsWithdrawn(t *testing.T) {
	for name, keep := range map[string]bool{"removed": false, "kept": true} {
		t.Run(name, func(t *testing.T) {
			onEveryStore(t, func(t *testing.T, l *lab) {
				var names atomic.Pointer[[]string]
				list := func(all ...string) { names.Store(&all) }
				list("mail", "wifi")
				heard := &gateChanges{}
				l.gated(func(p *practice.Passcode) {
					p.Waiting = func(context.Context, *mdm.Enrollment) ([]string, error) { return *names.Load(), nil }
					p.Keep, p.Changed = keep, heard.changed
				})
				code := &passcodeDevice{}
				code.set(passcodeGood)
				d := l.enrolled(mdmtest.Config{Respond: code.respond})
				l.settle(d)
				look := func() []string {
					before := len(gotProfiles(d))
					_, err := l.server.Workflows().Resume(t.Context(), "", l.theRun("passcode").ID)
					assert.NoError(t, err)
					l.settle(d)
					return gotProfiles(d)[before:]
				}
				list("wifi")
				if keep {
					assert.NotContains(t, look(), "-mail")
					assert.Contains(t, d.Profiles(), "mail")
				} else {
					assert.Contains(t, look(), "-mail")
					assert.ElementsMatch(t, []string{"policy", "wifi"}, d.Profiles())
				}
				assert.NotContains(t, look(), "-mail", "once")
				list("wifi", "mail")
				if keep {
					assert.NotContains(t, look(), "+mail", "it was there all the time")
				} else {
					assert.Contains(t, look(), "+mail")
				}
				assert.ElementsMatch(t, []string{"policy", "mail", "wifi"}, d.Profiles())

				list()
				look()
				assert.Equal(t, workflow.Open, l.theRun("passcode").Status, "what comes later is heard of")
				list("mail")
				look()
				assert.Contains(t, d.Profiles(), "mail")
				assert.Equal(t, []bool{true}, heard.list, "the gate was open all the time")
			})
		})
	}
}

// TestBP06_LeftWhileTheGateIsShut: what left the list while nothing passed is not sent when the gate opens.
func TestBP06_LeftWhileTheGateIsShut(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		var left atomic.Bool
		l.gated(func(p *practice.Passcode) {
			p.Waiting = func(context.Context, *mdm.Enrollment) ([]string, error) {
				if left.Load() {
					return []string{"wifi"}, nil
				}
				return []string{"mail", "wifi"}, nil
			}
		})
		code := &passcodeDevice{}
		code.set(passcodeWeak)
		d := l.enrolled(mdmtest.Config{Respond: code.respond})
		l.settle(d)
		left.Store(true)
		code.set(passcodeGood)
		l.advance(25*time.Hour, d)
		assert.ElementsMatch(t, []string{"policy", "wifi"}, d.Profiles())
		assert.NotContains(t, gotProfiles(d), "-mail", "it never was there")
	})
}
