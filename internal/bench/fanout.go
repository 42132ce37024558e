package main

import (
	"context"
	"slices"
	"time"
)

// The ways of a fan-out on NanoMDM. This library has one.
const (
	wayAPI   = "api"   // its HTTP API: one call
	wayStore = "store" // its store, past the API: as few calls as it needs
)

// maxFanoutRounds bounds the rounds, which leave a command for everybody each. maxFanoutTime bounds what is tried: a system
// that would need longer for a size, by its time for the one before, is left out of it.
const (
	maxFanoutRounds = 3
	maxFanoutTime   = 3 * time.Minute
)

// runFanout lets the fleet grow, and sends one command to all of it.
func runFanout(ctx context.Context, b *bench, targets []*target) error {
	first := b.fleet.devices[0]
	if err := b.each(targets, b.enroll(ctx, []*device{first})); err != nil {
		return err
	}
	fleet := 1
	for _, size := range b.scale.Fanout {
		targets = slices.DeleteFunc(slices.Clone(targets), func(t *target) bool { return !b.fits(t, fleet, size) })
		err := b.each(targets, func(t *target) error {
			var made int
			if err := t.ask(ctx, "clone", cloneOrder{Template: first.id, From: fleet, To: size}, &made); err != nil {
				return err
			}
			return b.analyze(ctx, t)
		})
		if err != nil {
			return err
		}
		fleet = size
		if err := b.fanout(ctx, targets, first.id, size); err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether a system is to be tried with a fleet of this size, after one of the size before.
func (b *bench) fits(t *target, before, size int) bool {
	if t.maxTargets > 0 && t.maxTargets < size {
		return false
	}
	way := wayStore
	if t.ours() {
		way = ""
	}
	took := b.results.find("fanout", t.name, way, before).of(micros) * float64(size) / 1e6
	if took < maxFanoutTime.Seconds() || !known(took) {
		return true
	}
	b.addNote("One command for %s targets would take %s some %.0f s, so that was left out.", grouped(float64(size)), t.name, took)
	return false
}

// fanout measures one size, in each way that there is.
func (b *bench) fanout(ctx context.Context, targets []*target, first string, size int) error {
	call := func(t *target, round int) load {
		return once(size, func() error {
			_, err := t.enqueue(ctx, []order{{UUID: commandUUID(round, 1, size), IDs: []string{first}, Everyone: size}})
			return err
		})
	}
	byAPI := func(t *target, round int) load {
		ids := []string{first}
		for i := 1; i < size; i++ {
			ids = append(ids, cloneID(i))
		}
		return once(size, func() error { return t.enqueueByAPI(ctx, commandUUID(round, 2, size), ids) })
	}
	w := window{scenario: "fanout", size: size, rounds: min(b.scale.Rounds, maxFanoutRounds),
		prepare: func(t *target, _ int) error { return t.collect(ctx) }}
	one, store, api := w, w, w
	one.only, one.run = (*target).ours, call
	store.only, store.run, store.way = theirs, call, wayStore
	api.only, api.run, api.way = theirs, byAPI, wayAPI
	if size > maxNanoTargets {
		return b.measure(ctx, targets, one, store)
	}
	return b.measure(ctx, targets, one, store, api)
}

func theirs(t *target) bool { return !t.ours() }
