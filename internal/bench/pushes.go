package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"time"
)

// pushNames are the sides in the order of the columns.
var pushNames = []string{"nanomdm", "nanomdm-lists", "applemdm", "applemdm-lists"}

// pushBench compares the sides, with one fake APNs.
type pushBench struct {
	sides  map[string]*pushSide // the APNs among them
	where  string
	root   []byte
	rounds int
	window float64 // seconds, about
}

// comparePushes pushes through all sides in turn.
func comparePushes(ctx context.Context, o *options, stderr io.Writer) (_ *PushResults, err error) {
	b := &pushBench{sides: map[string]*pushSide{}, rounds: o.rounds, window: 3.5}
	if b.rounds == 0 {
		b.rounds = 5
	}
	limits, plain := []int{100, 500, 1000, 2000, 4000}, []int{10, 100, 1000}
	if o.quick {
		b.rounds, b.window, limits, plain = 1, 0.2, []int{100}, []int{100}
	}
	defer func() {
		for _, s := range b.sides {
			err = errors.Join(err, s.stop())
		}
	}()
	if err := b.start(ctx, stderr); err != nil {
		return nil, err
	}
	out := &PushResults{Machine: (&bench{options: o}).describe(ctx), Rounds: b.rounds, Window: b.window}
	for _, c := range plain {
		out.Rows = append(out.Rows, pushRow{Concurrency: c})
	}
	for _, c := range limits {
		out.Rows = append(out.Rows, pushRow{Latency: 50 * time.Millisecond, Concurrency: c})
	}
	for i := range out.Rows {
		if err := b.measure(ctx, &out.Rows[i]); err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintln(stderr, out.Rows[i].String())
	}
	return out, ctx.Err()
}

func (b *pushBench) start(ctx context.Context, stderr io.Writer) (err error) {
	for _, name := range append([]string{"apns"}, pushNames...) {
		s, err := startPushSide(ctx, name, stderr)
		if err != nil {
			return err
		}
		b.sides[name] = s
	}
	done, err := b.sides["apns"].ask(pushOrder{})
	if err != nil {
		return err
	}
	b.where = done.APNs
	b.root, err = shown(b.where)
	return err
}

// measure measures one row: after a calibration of each side, rounds of a window for each, each round begun by another one.
// Each side connects anew, and has closed its connections before the next row.
func (b *pushBench) measure(ctx context.Context, row *pushRow) error {
	row.Sides = make([]pushFigures, len(pushNames))
	for i, name := range pushNames {
		row.Sides[i].Name = name
		if err := b.calibrate(ctx, row, &row.Sides[i]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for round := 0; round < b.rounds && ctx.Err() == nil; round++ {
		for i := range pushNames {
			f := &row.Sides[(i+round)%len(pushNames)]
			w, err := b.push(row, f, f.Pushes)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			f.Windows = append(f.Windows, w)
		}
	}
	return errors.Join(b.close(ctx), ctx.Err())
}

// close closes the connections of all sides, and waits until the APNs has none.
func (b *pushBench) close(ctx context.Context) error {
	for _, name := range pushNames {
		if _, err := b.sides[name].ask(pushOrder{Close: true}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for range 1000 {
		done, err := b.sides["apns"].ask(pushOrder{})
		if err != nil || done.Open == 0 || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("connections are left open")
}

// calibrate warms a side up, until it is known how many pushes make a window.
func (b *pushBench) calibrate(ctx context.Context, row *pushRow, f *pushFigures) error {
	enough := b.window * 0.3 // seconds
	pushes := 2 * row.Concurrency
	for ctx.Err() == nil {
		w, err := b.push(row, f, pushes)
		if err != nil {
			return err
		}
		if w.Seconds >= enough {
			whole := math.Ceil(float64(pushes) * b.window / w.Seconds / float64(row.Concurrency))
			f.Pushes = int(whole) * row.Concurrency // so that the last list is as long as the others
			break
		}
		pushes = int(float64(pushes) * min(max(1.2*enough/w.Seconds, 1.5), 10))
	}
	return ctx.Err()
}

// push lets one side push. Both it and the APNs must say that all were accepted.
func (b *pushBench) push(row *pushRow, f *pushFigures, pushes int) (w pushWindow, err error) {
	latency := pushOrder{Latency: row.Latency}
	before, err := b.sides["apns"].ask(latency)
	if err != nil {
		return w, err
	}
	done, err := b.sides[f.Name].ask(pushOrder{APNs: b.where, Root: b.root, Pushes: pushes, Concurrency: row.Concurrency})
	if err != nil {
		return w, err
	}
	after, err := b.sides["apns"].ask(latency)
	if err != nil {
		return w, err
	}
	if counted := after.Accepted - before.Accepted; done.Accepted != pushes || counted != pushes {
		return w, fmt.Errorf("of %d pushes, it says, %d were accepted, and the APNs says %d", pushes, done.Accepted, counted)
	}
	f.Connections += after.Connections - before.Connections
	n := float64(pushes)
	return pushWindow{Seconds: done.Seconds, PerSecond: n / done.Seconds, CPU: done.CPU / n * 1e6, APNs: (after.CPU - before.CPU) / n * 1e6}, nil
}

// pushSide is a child.
type pushSide struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func startPushSide(ctx context.Context, name string, stderr io.Writer) (*pushSide, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &pushSide{cmd: exec.CommandContext(ctx, self, "-push-side", name)}
	s.cmd.Stderr = stderr
	dieWithParent(s.cmd)
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(out)
	return s, s.cmd.Start()
}

func (s *pushSide) ask(o pushOrder) (done pushDone, err error) {
	if err := json.NewEncoder(s.in).Encode(o); err != nil {
		return done, err
	}
	if err := s.out.Decode(&done); err != nil {
		return done, err
	}
	if done.Error != "" {
		err = errors.New(done.Error)
	}
	return done, err
}

func (s *pushSide) stop() error {
	_ = s.in.Close()
	return s.cmd.Wait()
}
