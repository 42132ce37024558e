package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"text/template"
	"time"
)

// pushRow is a measured setting of the comparison of pushes: one latency, one limit of pushes under way.
type pushRow struct {
	Latency     time.Duration `json:"latency"`
	Concurrency int           `json:"concurrency"`
	Pushes      int           `json:"pushes"` // in a window
	Sides       []pushFigures `json:"sides"`
}

// pushFigures are those of one side, medians of the rounds.
type pushFigures struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"perSecond"`
	CPU       float64 `json:"cpu"` // microseconds of CPU a push
}

// PushResults is what the comparison gave.
type PushResults struct {
	Machine Machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Rows    []pushRow `json:"rows"`
}

// pushNames are the sides in the order of the columns. The first is what others are compared with.
var pushNames = []string{"nanomdm", "nanomdm-batches", "applemdm"}

// comparePushes pushes through all sides to one fake APNs, in turn.
func comparePushes(ctx context.Context, o *options, stderr io.Writer) (_ *PushResults, err error) {
	rounds := o.rounds
	if rounds == 0 {
		rounds = 5
	}
	seconds, limits, plain := 4., []int{100, 500, 1000, 2000, 4000}, []int{10, 100, 1000}
	if o.quick {
		rounds, seconds, limits, plain = 1, 0.2, []int{100}, []int{100}
	}
	sides := map[string]*pushSide{}
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, name := range append([]string{"apns"}, pushNames...) {
		if sides[name], err = startPushSide(ctx, name, stderr); err != nil {
			return nil, err
		}
	}
	out := &PushResults{Machine: (&bench{options: o}).describe(ctx), Rounds: rounds}
	for _, c := range plain {
		out.Rows = append(out.Rows, pushRow{Concurrency: c, Pushes: int(seconds * 5000)})
	}
	for _, c := range limits {
		latency := 50 * time.Millisecond
		out.Rows = append(out.Rows, pushRow{Latency: latency, Concurrency: c, Pushes: int(seconds * min(float64(c)/latency.Seconds(), 20_000))})
	}
	for i := range out.Rows {
		if err := measurePushes(ctx, sides, &out.Rows[i], rounds); err != nil {
			return nil, err
		}
		_, _ = fmt.Fprintln(stderr, out.Rows[i].String())
	}
	return out, ctx.Err()
}

// measurePushes measures one row: after a warm-up, rounds of a window for each side, each round begun by another one.
func measurePushes(ctx context.Context, sides map[string]*pushSide, row *pushRow, rounds int) error {
	where, err := sides["apns"].ask(pushOrder{Latency: row.Latency})
	if err != nil {
		return err
	}
	rates, cpus := map[string][]float64{}, map[string][]float64{}
	for round := -1; round < rounds && ctx.Err() == nil; round++ {
		for i := range pushNames {
			name := pushNames[(i+max(round, 0))%len(pushNames)]
			order := pushOrder{APNs: where.APNs, Pushes: row.Pushes, Concurrency: row.Concurrency}
			if round < 0 {
				order.Pushes = min(row.Pushes, 2*row.Concurrency)
			}
			done, err := pushWindow(sides, name, row.Latency, order)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round >= 0 {
				rates[name] = append(rates[name], float64(order.Pushes)/done.Seconds)
				cpus[name] = append(cpus[name], done.CPU/float64(order.Pushes)*1e6)
			}
		}
	}
	for _, name := range pushNames {
		row.Sides = append(row.Sides, pushFigures{Name: name, PerSecond: median(rates[name]), CPU: median(cpus[name])})
	}
	return ctx.Err()
}

// pushWindow lets one side push. Both it and the APNs must say that all were accepted.
func pushWindow(sides map[string]*pushSide, name string, latency time.Duration, order pushOrder) (pushDone, error) {
	before, err := sides["apns"].ask(pushOrder{Latency: latency})
	if err != nil {
		return before, err
	}
	done, err := sides[name].ask(order)
	if err != nil {
		return done, err
	}
	after, err := sides["apns"].ask(pushOrder{Latency: latency})
	if err == nil && (done.Accepted != order.Pushes || after.Accepted-before.Accepted != order.Pushes) {
		err = fmt.Errorf("of %d pushes, it says, %d were accepted, and the APNs says %d", order.Pushes, done.Accepted, after.Accepted-before.Accepted)
	}
	return done, err
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

// side returns the figures of a side.
func (r pushRow) side(name string) pushFigures {
	for _, f := range r.Sides {
		if f.Name == name {
			return f
		}
	}
	return pushFigures{}
}

// Best is the better of NanoMDM's two columns.
func (r pushRow) Best() pushFigures {
	a, b := r.side("nanomdm"), r.side("nanomdm-batches")
	if b.PerSecond > a.PerSecond {
		return b
	}
	return a
}

// Ours are the figures of this library.
func (r pushRow) Ours() pushFigures { return r.side("applemdm") }

// Limit is how many pushes a second the latency allows; 0: it does not limit them.
func (r pushRow) Limit() float64 {
	if r.Latency == 0 {
		return 0
	}
	return float64(r.Concurrency) / r.Latency.Seconds()
}

// String tells of a row in a line.
func (r pushRow) String() string {
	return fmt.Sprintf("%v latency, %d under way: NanoMDM %.0f/s, %.1f us; in batches %.0f/s, %.1f us; ours %.0f/s, %.1f us", r.Latency, r.Concurrency,
		r.side("nanomdm").PerSecond, r.side("nanomdm").CPU, r.side("nanomdm-batches").PerSecond, r.side("nanomdm-batches").CPU, r.Ours().PerSecond, r.Ours().CPU)
}

var pushReport = template.Must(template.New("pushes").Funcs(template.FuncMap{
	"side":  func(name string, r pushRow) pushFigures { return r.side(name) },
	"ratio": func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) },
	"num":   func(v float64) string { return fmt.Sprintf("%.0f", v) },
	"us":    func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"share": func(v, of float64) string {
		if of == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f %%", v/of*100)
	},
	"pushes": func(r pushRow) string {
		if r.Latency == 0 {
			return "none"
		}
		return r.Latency.String()
	},
}).Parse(`# Pushes, beside NanoMDM's

Written by ` + "`go run . -pushes -markdown …`" + ` in [internal/bench](../internal/bench/README.md): {{.Machine.Date}}, {{.Machine.CPU}}, {{.Machine.Cores}} cores,
{{.Machine.OS}}, {{.Machine.Go}}, NanoMDM {{.Machine.NanoMDM}}, commit {{.Machine.Commit}}. Medians of {{.Rounds}} rounds in one run, around all sides.

One fake APNs in a process of its own, HTTP/2 over TLS, takes the pushes of each side in turn; it and the side must agree that
every push was accepted. *Under way* is the limit of pushes at a time. CPU is that of the pushing process, for each push.
NanoMDM's provider starts a goroutine for each push of a list, whatever its option for workers says, the default of 5 included;
so it is measured in two ways: *callers* are as many goroutines as there may be pushes under way, each with one push at a time,
which keeps it busiest; *lists* are as its own service calls it, each as long as there may be pushes under way.

| latency | under way | NanoMDM, callers /s | µs CPU | NanoMDM, lists /s | µs CPU | applemdm /s | µs CPU | × rate | × CPU | of what latency allows |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{{range .Rows}}| {{pushes .}} | {{.Concurrency}} | {{num (side "nanomdm" .).PerSecond}} | {{us (side "nanomdm" .).CPU}} | {{num (side "nanomdm-batches" .).PerSecond}} | {{us (side "nanomdm-batches" .).CPU}} | {{num .Ours.PerSecond}} | {{us .Ours.CPU}} | **{{ratio .Ours.PerSecond .Best.PerSecond}}** | **{{ratio .Ours.CPU .Best.CPU}}** | {{share .Ours.PerSecond .Limit}} |
{{end}}
× rate and × CPU are to the better of NanoMDM's two. The fake APNs has a share of the machine, too: what it costs limits both.
`))

// renderPushes writes the report, and the files that were asked for.
func renderPushes(r *PushResults, o *options, stdout io.Writer) error {
	var text bytes.Buffer
	if err := pushReport.Execute(&text, r); err != nil {
		return err
	}
	if _, err := stdout.Write(text.Bytes()); err != nil {
		return err
	}
	if o.markdown != "" {
		if err := os.WriteFile(o.markdown, text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o644)
}
