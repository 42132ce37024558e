// Package practice has Apple's "MDM Best Practices" as workflows that go on by themselves: durable, one run for each
// enrollment, on package workflow.
//
// A practice is a struct with a useful zero value as far as there is one: numbers with defaults, and hooks that say what is
// particular to you, as which profiles a device gets. Its method Workflows goes into server.Config.Workflows, and its method
// Cooks, where it has one, into server.Config.Cooks:
//
//	setup := &practice.Setup{Roster: stores.Roster, Profiles: profiles, Stages: stages}
//	config.Workflows = setup.Workflows()
//	config.Cooks = setup.Cooks()
//
// What the practices have in common:
//
//   - Their state is in the store. Any number of processes work on it, and any of them may be killed at any time.
//   - A run ends with the generation of its enrollment: a device that was wiped begins anew.
//   - Profiles are made when the device asks for them, and what has to be so is looked at again then ([InstallCook]). Only their
//     names are on the queue. A name is the PayloadIdentifier of the profile.
//   - NotNow is waiting, not failure. What fails is due again, with growing waits in between. Every wait has a deadline or
//     a way out, and nothing waits for all devices or all profiles.
//   - What a device can be left to do itself is declared to it, by a [Declarer], and its reports are heard ([TellReport]).
//   - A run's Step and Note say where it stands. The names of workflows and steps are stable: they are stored.
//   - Hooks are called with the enrollment as it is, perhaps more than once for one change, and from many goroutines. An error
//     of a hook is tried again.
//
// Engine.Resume has a run look at once at what it looks at now and then.
package practice
