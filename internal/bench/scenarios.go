package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one thing to compare.
type scenario struct {
	name  string
	about string
	run   func(ctx context.Context, b *bench, targets []*target) error
}

func scenarios() []scenario {
	return []scenario{
		{"enroll", "Authenticate and TokenUpdate of new devices", runEnroll},
		{"idle", "idle polls of devices that have nothing to do", runIdle},
		{"cycles", "commands delivered and acknowledged, several in a session", runCycles},
		{"history", "one idle poll at a time, of devices with more and more answered commands", runHistory},
		{"fanout", "one command for a whole fleet", runFanout},
		{"memory", "the server's memory before, during and after a long run of commands", runMemory},
	}
}

func scenarioNames() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

// runEnroll gives each round devices of its own.
func runEnroll(ctx context.Context, b *bench, targets []*target) error {
	n := b.scale.Enroll
	return b.measure(ctx, targets, window{scenario: "enroll", rounds: b.scale.Rounds, warmup: b.scale.Warmup,
		run: func(t *target, round int) load {
			devices := b.fleet.devices[round*n : (round+1)*n]
			return drive(ctx, t.ready.Devices, b.concurrency, count(n), func(c *client, i int) (int, error) { return devices[i].enroll(c) })
		}})
}

func runIdle(ctx context.Context, b *bench, targets []*target) error {
	devices := b.fleet.devices[:b.scale.Devices]
	if err := b.each(targets, b.enroll(ctx, devices)); err != nil {
		return err
	}
	return b.measure(ctx, targets, window{scenario: "idle", rounds: b.scale.Rounds, warmup: b.scale.Warmup,
		run: func(t *target, _ int) load {
			return drive(ctx, t.ready.Devices, b.concurrency, during(b.scale.Idle), func(c *client, i int) (int, error) {
				return devices[i%len(devices)].poll(c)
			})
		}})
}

// queue puts commands on the queue of each device: each command is for one device only.
func (b *bench) queue(ctx context.Context, t *target, devices []*device, round, commands int) error {
	chains := make([][]order, len(devices))
	for i, d := range devices {
		for k := range commands {
			chains[i] = append(chains[i], order{UUID: commandUUID(round, k, i), IDs: []string{d.id}})
		}
	}
	_, err := t.enqueue(ctx, chains...)
	return err
}

// sessions lets each device take what queue has put there.
func (b *bench) sessions(ctx context.Context, t *target, devices []*device, round, commands int) load {
	return drive(ctx, t.ready.Devices, b.concurrency, count(len(devices)), func(c *client, i int) (int, error) {
		uuids := make([]string, commands)
		for k := range uuids {
			uuids[k] = commandUUID(round, k, i)
		}
		return devices[i].session(c, uuids)
	})
}

func runCycles(ctx context.Context, b *bench, targets []*target) error {
	devices := b.fleet.devices[:b.scale.Devices]
	if err := b.each(targets, b.enroll(ctx, devices)); err != nil {
		return err
	}
	return b.measure(ctx, targets, window{scenario: "cycles", rounds: b.scale.Rounds, warmup: b.scale.Warmup,
		prepare: func(t *target, round int) error { return b.queue(ctx, t, devices, round, b.scale.Commands) },
		run:     func(t *target, round int) load { return b.sessions(ctx, t, devices, round, b.scale.Commands) }})
}

// runHistory lets a few devices answer more and more commands, and measures a poll in between.
func runHistory(ctx context.Context, b *bench, targets []*target) error {
	devices := b.fleet.devices[:b.scale.HistoryDevices]
	if err := b.each(targets, b.enroll(ctx, devices)); err != nil {
		return err
	}
	const step = 50 // commands that are queued at a time
	answered := 0
	for _, size := range b.scale.History {
		from := answered
		err := b.each(targets, func(t *target) error {
			for answered = from; answered < size; answered += min(step, size-answered) {
				if err := b.answer(ctx, t, devices, answered, min(step, size-answered)); err != nil {
					return err
				}
			}
			return b.analyze(ctx, t)
		})
		if err == nil {
			err = b.measure(ctx, targets, window{scenario: "history", size: size, rounds: b.scale.Rounds, warmup: b.scale.Warmup,
				run: func(t *target, _ int) load {
					return drive(ctx, t.ready.Devices, 1, count(b.scale.HistoryPolls), func(c *client, i int) (int, error) {
						return devices[i%len(devices)].poll(c)
					})
				}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// answer lets each device answer some commands.
func (b *bench) answer(ctx context.Context, t *target, devices []*device, round, commands int) error {
	if err := b.queue(ctx, t, devices, round, commands); err != nil {
		return err
	}
	return b.sessions(ctx, t, devices, round, commands).first
}

// runMemory measures memory, not time. Sizes at both ends are after a garbage collection: what is kept.
func runMemory(ctx context.Context, b *bench, targets []*target) error {
	devices, commands := b.fleet.devices[:b.scale.Devices], b.scale.Long
	if err := b.each(targets, b.enroll(ctx, devices)); err != nil {
		return err
	}
	return b.measure(ctx, targets, window{scenario: "memory", rounds: 1,
		prepare: func(t *target, round int) error {
			if err := b.queue(ctx, t, devices, round, commands); err != nil {
				return err
			}
			return t.collect(ctx)
		},
		run: func(t *target, round int) load {
			l := b.sessions(ctx, t, devices, round, commands)
			if err := t.collect(ctx); err != nil && l.first == nil {
				l.first = fmt.Errorf("collect: %w", err)
			}
			return l
		}})
}

// once is a load of one call, of so many operations.
func once(ops int, call func() error) load {
	started := time.Now()
	err := call()
	l := load{ops: ops, elapsed: time.Since(started), first: err}
	if err != nil {
		l.failed = 1
	}
	return l
}
