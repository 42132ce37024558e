package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// window is something to measure on each of several systems, several times.
type window struct {
	scenario string
	way      string
	size     int
	rounds   int
	warmup   bool

	only    func(t *target) bool             // nil: on all systems
	prepare func(t *target, round int) error // not measured; may be nil
	run     func(t *target, round int) load
}

// measure runs the rounds, as many as the first window has. In each of them every system has its turn, and none is always
// the first, so that the noise of a shared machine hits all of them.
func (b *bench) measure(ctx context.Context, targets []*target, windows ...window) error {
	first, rounds := 0, windows[0].rounds
	if windows[0].warmup {
		first = -1
	}
	last := rounds
	if b.profile != "" {
		last++ // a round that does not count either: a profile costs something
	}
	for round := first; round < last; round++ {
		for i := range targets {
			t := targets[(i+max(round, 0))%len(targets)]
			profiled := round == rounds
			if profiled && !t.ours() {
				continue
			}
			for _, w := range windows {
				if w.only != nil && !w.only(t) {
					continue
				}
				if err := b.turn(ctx, t, w, round, profiled); err != nil {
					return fmt.Errorf("%s: %w", t.name, err)
				}
			}
		}
	}
	return nil
}

// turn is one window of one system.
func (b *bench) turn(ctx context.Context, t *target, w window, round int, profiled bool) error {
	t.resume()
	defer t.pause()
	if w.prepare != nil {
		if err := w.prepare(t, round+1); err != nil { // rounds are numbered from 0 for what they use up
			return err
		}
	}
	if t.host != nil {
		t.host.settle(ctx)
	}
	if profiled {
		return b.profiled(ctx, t, w, round)
	}
	s, l, err := b.sample(ctx, t, func() load { return w.run(t, round+1) })
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if l.first != nil {
		b.results.Failures = append(b.results.Failures, fmt.Sprintf("%s on %s, %d failed: %v", w.scenario, t.name, l.failed, l.first))
		b.say("  FAILED: %s", b.results.Failures[len(b.results.Failures)-1])
	}
	if round >= 0 {
		row := b.results.row(w.scenario, t.name, w.way, w.size)
		row.Samples = append(row.Samples, s)
	}
	b.report(t, w, round, s)
	return nil
}

// report prints what a window gave.
func (b *bench) report(t *target, w window, round int, s Sample) {
	what := fmt.Sprintf("round %d of %d", round+1, w.rounds)
	if round < 0 {
		what = "warm-up"
	}
	if w.way != "" {
		what = w.way + ", " + what
	}
	if w.size > 0 {
		what = grouped(float64(w.size)) + ", " + what
	}
	b.say("  %-18s %-30s %9s/s  p50 %7s  CPU %7s + %s", t.name, what, number(perSecond(s)), duration(s.P50), duration(serverCPU(s)), duration(databaseCPU(s)))
}

// sample measures run.
func (b *bench) sample(ctx context.Context, t *target, run func() load) (s Sample, l load, err error) {
	pid := t.cmd.Process.Pid
	resetPeak(pid)
	s.StartMB, _ = residentMB(pid)
	before, err := b.usage(ctx, t)
	if err != nil {
		return s, l, err
	}
	l = run()
	after, err := b.usage(ctx, t)
	if err != nil {
		return s, l, err
	}
	s.EndMB, s.PeakMB = residentMB(pid)
	s.Ops, s.Seconds = l.ops, l.elapsed.Seconds()
	s.P50 = float64(percentile(l.latencies, 50).Nanoseconds()) / 1e3
	s.P99 = float64(percentile(l.latencies, 99).Nanoseconds()) / 1e3
	s.ServerCPU, s.DatabaseCPU, s.LoadCPU = after[0]-before[0], after[1]-before[1], after[2]-before[2]
	return s, l, nil
}

// usage is the CPU in seconds that server, database server and load generator have used.
func (b *bench) usage(ctx context.Context, t *target) (u [3]float64, err error) {
	if t.host != nil && t.host.pid != 0 {
		if u[1], err = treeCPU(t.host.pid); err != nil {
			return u, err
		}
	}
	if u[2], err = ownCPU(); err != nil {
		return u, err
	}
	u[0], err = t.cpu(ctx)
	return u, err
}

// profiled runs a window once more, for a CPU profile of the server.
func (b *bench) profiled(ctx context.Context, t *target, w window, round int) error {
	var started int
	var profile []byte
	if err := t.ask(ctx, "profile/start", struct{}{}, &started); err != nil {
		return err
	}
	w.run(t, round+1)
	if err := t.ask(ctx, "profile/stop", struct{}{}, &profile); err != nil {
		return err
	}
	name := w.scenario
	if w.size > 0 {
		name += fmt.Sprintf("-%d", w.size)
	}
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.profile, name+"-"+t.name+".pprof"), profile, 0o644)
}
