package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/template"
	"time"
)

// PushResults is what the comparison gave.
type PushResults struct {
	Machine Machine   `json:"machine"`
	Rounds  int       `json:"rounds"`
	Window  float64   `json:"window"` // seconds, about
	Rows    []pushRow `json:"rows"`
}

// pushRow is a measured setting: one latency, one limit of pushes under way.
type pushRow struct {
	Latency     time.Duration `json:"latency"`
	Concurrency int           `json:"concurrency"`
	Sides       []pushFigures `json:"sides"` // in the order of pushNames
}

// pushFigures are those of one side.
type pushFigures struct {
	Name        string       `json:"name"`
	Pushes      int          `json:"pushes"`      // in a window
	Connections int          `json:"connections"` // that it made for the row
	Windows     []pushWindow `json:"windows"`     // one in each round
}

// pushWindow is a window of one side. CPU is in microseconds for a push.
type pushWindow struct {
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
	CPU       float64 `json:"cpu"`  // of who pushes
	APNs      float64 `json:"apns"` // of the fake APNs, meanwhile
}

func pushRate(w pushWindow) float64    { return w.PerSecond }
func pushCPU(w pushWindow) float64     { return w.CPU }
func pushAPNsCPU(w pushWindow) float64 { return w.APNs }

// of lists a value of all windows.
func (f pushFigures) of(value func(pushWindow) float64) (all []float64) {
	for _, w := range f.Windows {
		all = append(all, value(w))
	}
	return all
}

// What the report shows of a side: medians, and half of the range as a part of the median.

func (f pushFigures) Rate() float64    { return median(f.of(pushRate)) }
func (f pushFigures) CPU() float64     { return median(f.of(pushCPU)) }
func (f pushFigures) APNsCPU() float64 { return median(f.of(pushAPNsCPU)) }
func (f pushFigures) Spread() string   { return pushSpread(f.of(pushRate)) }

func pushSpread(values []float64) string {
	if len(values) < 2 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", (slices.Max(values)-slices.Min(values))/2/median(values)*100)
}

// Side returns the figures of a side.
func (r pushRow) Side(name string) pushFigures {
	for _, f := range r.Sides {
		if f.Name == name {
			return f
		}
	}
	return pushFigures{}
}

// Rival is the side of NanoMDM that has the better rate.
func (r pushRow) Rival() pushFigures {
	a, b := r.Side("nanomdm"), r.Side("nanomdm-lists")
	if b.Rate() > a.Rate() {
		return b
	}
	return a
}

// TimesRate and TimesCPU are the ratios of a side of ours to the Rival.
func (r pushRow) TimesRate(name string) string { return pushRatio(r.Side(name), r.Rival(), pushRate) }
func (r pushRow) TimesCPU(name string) string  { return pushRatio(r.Side(name), r.Rival(), pushCPU) }

// pushRatio is the ratio of the medians and, from the third round on, the least and the greatest of a round.
func pushRatio(a, b pushFigures, value func(pushWindow) float64) string {
	all, other := a.of(value), b.of(value)
	low, high := math.Inf(1), math.Inf(-1)
	for i := range min(len(all), len(other)) {
		low, high = min(low, all[i]/other[i]), max(high, all[i]/other[i])
	}
	ratio := fmt.Sprintf("**%.2f**", median(all)/median(other))
	if len(all) < 3 {
		return ratio
	}
	return fmt.Sprintf("%s (%.2f–%.2f)", ratio, low, high)
}

// Share is what part a side of ours has of the pushes that the latency allows.
func (r pushRow) Share(name string) string {
	if r.Latency == 0 {
		return "–"
	}
	most := r.Concurrency
	if name == "applemdm-lists" {
		most = min(most, dispatcherBatch*dispatcherParallel)
	}
	return fmt.Sprintf("%.0f %%", r.Side(name).Rate()*r.Latency.Seconds()/float64(most)*100)
}

// String tells of a row in a line.
func (r pushRow) String() string {
	line := fmt.Sprintf("%v latency, %d under way:", r.Latency, r.Concurrency)
	for _, f := range r.Sides {
		line += fmt.Sprintf(" %s %.0f/s ± %s, %.1f us, %d connections;", f.Name, f.Rate(), f.Spread(), f.CPU(), f.Connections)
	}
	return line
}

var pushReport = template.Must(template.New("pushes").Funcs(template.FuncMap{
	"num": func(v float64) string { return fmt.Sprintf("%.0f", v) },
	"us":  func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"latency": func(r pushRow) string {
		if r.Latency == 0 {
			return "none"
		}
		return r.Latency.String()
	},
}).Parse(pushText))

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
