package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run.
type bench struct {
	*options
	scale   Scale
	stderr  io.Writer
	started time.Time
	hosts   map[string]*host // by kind
	fleet   *fleet
	results *Results
}

// target is one system in one scenario: a server of its own on a database of its own.
type target struct {
	system
	*child
	host *host // nil: no database server
	dsn  string
	free func() error
}

func newBench(o *options, stderr io.Writer) *bench {
	b := &bench{options: o, scale: full(), stderr: stderr, started: time.Now(), hosts: map[string]*host{}}
	if o.quick {
		b.scale = quick()
	}
	if o.rounds > 0 {
		b.scale.Rounds = o.rounds
	}
	return b
}

// say prints a line of progress.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.stderr, "%5.0fs  %s\n", time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
}

// run runs the scenarios. What there is by then is returned with an error, too.
func (b *bench) run(ctx context.Context) (*Results, error) {
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	all := usable(b.options)
	if len(all) == 0 {
		return nil, errors.New("none of the systems has its database: see -postgres and -mysql")
	}
	b.results = &Results{Scale: b.scale, Quick: b.quick, Concurrency: b.concurrency, Machine: b.describe(ctx)}
	for _, s := range all {
		b.results.Systems = append(b.results.Systems, s.name)
	}
	b.note(ctx)
	for _, s := range scenarios() {
		if !slices.Contains(b.only, s.name) {
			continue
		}
		b.say("%s: %s", s.name, s.about)
		if err := b.scenario(ctx, s, all); err != nil {
			return b.results, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	b.say("done")
	return b.results, nil
}

// open connects to what was named and makes the devices.
func (b *bench) open(ctx context.Context) (err error) {
	for kind, dsn := range map[string]string{inPostgres: b.postgres, inMySQL: b.mysql} {
		if dsn == "" {
			continue
		}
		if b.hosts[kind], err = openHost(ctx, kind, dsn); err != nil {
			return err
		}
	}
	rounds := b.scale.Rounds + 2 // a warm-up and a profile
	b.fleet, err = newFleet(max(b.scale.Devices, b.scale.Enroll*rounds))
	return err
}

// scenario starts a server of each system, runs s, and leaves nothing behind.
func (b *bench) scenario(ctx context.Context, s scenario, all []system) (err error) {
	var targets []*target
	defer func() {
		for _, t := range targets {
			err = errors.Join(err, t.end())
		}
	}()
	for _, system := range all {
		t, err := b.start(ctx, s.name, system)
		if err != nil {
			return err
		}
		targets = append(targets, t)
		t.pause()
	}
	return s.run(ctx, b, targets)
}

// start makes a database and a server on it.
func (b *bench) start(ctx context.Context, scenario string, s system) (*target, error) {
	t := &target{system: s, host: b.hosts[s.database], free: func() error { return nil }}
	name := fmt.Sprintf("bench_%d_%s_%s", os.Getpid(), scenario, strings.ReplaceAll(s.name, "-", "_"))
	var err error
	switch {
	case t.host != nil:
		t.dsn, err = t.host.create(ctx, name)
		t.free = func() error { return t.host.drop(context.WithoutCancel(ctx), name) }
	case s.database == inFile:
		var dir string
		dir, err = os.MkdirTemp(b.dir, name)
		t.dsn, t.free = filepath.Join(dir, "mdm.db"), func() error { return os.RemoveAll(dir) }
	}
	if err != nil {
		return nil, err
	}
	t.child, err = startChild(ctx, s.name, serveConfig{DSN: t.dsn, CA: b.fleet.ca, Pool: b.concurrency}, b.stderr)
	if err != nil {
		return nil, errors.Join(err, t.free())
	}
	return t, nil
}

func (t *target) end() error {
	if err := errors.Join(t.stop(), t.free()); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	return nil
}

// each does something with every target while the others are paused. It is not measured.
func (b *bench) each(targets []*target, do func(t *target) error) error {
	for _, t := range targets {
		t.resume()
		if err := do(t); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		t.pause()
	}
	return nil
}

// enroll enrolls some devices, and then lets the database look at its tables.
func (b *bench) enroll(ctx context.Context, devices []*device) func(t *target) error {
	return func(t *target) error {
		l := drive(ctx, t.ready.Devices, b.concurrency, count(len(devices)), func(c *client, n int) (int, error) { return devices[n].enroll(c) })
		if l.first != nil {
			return l.first
		}
		return b.analyze(ctx, t)
	}
}

func (b *bench) analyze(ctx context.Context, t *target) error {
	if t.host == nil {
		return nil
	}
	return t.host.analyze(ctx, t.dsn)
}
