package main

import (
	"errors"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plotFile is a picture that was written.
type plotFile struct{ scenario, title, path string }

// Pictures are as wide as a phone, on white, in large letters.
const (
	plotWidth    = 5.2 * vg.Inch
	lineHeight   = 3.4 * vg.Inch
	barHeight    = 0.34 * vg.Inch
	legendHeight = 0.2 * vg.Inch // of each entry
	margin       = 0.12 * vg.Inch
)

// writePlots writes a picture of everything that is in r.
func writePlots(dir string, r *Results) ([]plotFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []plotFile
	for _, p := range []picture{
		bars(r, "enroll", "throughput", "Enrollments per second", perSecond, nil),
		bars(r, "idle", "throughput", "Idle polls per second", perSecond, nil),
		bars(r, "cycles", "throughput", "Commands per second", perSecond, nil),
		bars(r, "enroll", "cpu", "CPU µs per enrollment: server, database", serverCPU, databaseCPU),
		bars(r, "idle", "cpu", "CPU µs per idle poll: server, database", serverCPU, databaseCPU),
		bars(r, "cycles", "cpu", "CPU µs per command: server, database", serverCPU, databaseCPU),
		historyLines(r), fanoutLines(r),
	} {
		if p.plot == nil {
			continue
		}
		path := filepath.Join(dir, p.name+".svg")
		if err := p.save(path); err != nil {
			return files, err
		}
		files = append(files, plotFile{p.scenario, p.title, path})
	}
	return files, nil
}

// picture is a plot and where it goes; the plot is nil if there is nothing to show.
type picture struct {
	scenario, name, title string
	plot                  *plot.Plot
	height                vg.Length
	legend                *plot.Legend // drawn below, where no line is; nil: none
	entries               int          // of it
}

// save writes the picture with a background and margins: pages may be dark.
func (p *picture) save(name string) error {
	below := vg.Length(p.entries) * legendHeight
	height := p.height + below + 2*margin
	canvas, err := draw.NewFormattedCanvas(plotWidth, height, "svg")
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	inner := draw.Crop(all, margin, -margin, margin, -margin)
	p.plot.Draw(draw.Crop(inner, 0, 0, below, 0))
	if p.legend != nil {
		p.legend.Draw(draw.Crop(inner, 4*margin, 0, 0, -p.height))
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}

// Colours tell the two sides apart: NanoMDM is grey to brown, this library is blue to green.
func colorOf(system string) color.Color {
	colors := map[string]color.RGBA{
		"nanomdm": {110, 110, 110, 255}, "nanomdm-stock": {170, 120, 80, 255}, "nanomdm-inmem": {185, 185, 185, 255},
		"applemdm-postgres": {20, 90, 170, 255}, "applemdm-sqlite": {20, 150, 140, 255}, "applemdm-memory": {120, 180, 230, 255},
		"applemdm-mysql": {90, 70, 170, 255},
	}
	return colors[system]
}

var databaseColor = color.RGBA{230, 150, 50, 255}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.Padding = vg.Points(8)
	letters(&p.Title.TextStyle, 14)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		letters(&axis.Label.TextStyle, 12)
		letters(&axis.Tick.Label, 12)
	}
	return p
}

func letters(s *text.Style, points float64) {
	s.Font.Variant, s.Font.Size = "Sans", vg.Points(points)
}

// bars has one bar for each system, the first on top. With a second value the two are stacked.
func bars(r *Results, scenario, kind, title string, value, second func(Sample) float64) picture {
	var names []string
	var first, all plotter.Values
	for _, name := range slices.Backward(r.Systems) {
		row := r.find(scenario, name, "", 0)
		if row == nil {
			continue
		}
		names, first, all = append(names, name), append(first, row.of(value)), append(all, row.of(value))
		if second != nil {
			all[len(all)-1] += row.of(second)
		}
	}
	if len(names) == 0 {
		return picture{}
	}
	p := newPlot(title)
	p.NominalY(names...)
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	p.HideX()
	p.X.Min, p.X.Max = 0, slices.Max(all)*1.25 // room for the labels
	labels := plotter.XYLabels{}
	for i := range names {
		if all[i] > first[i] {
			addBar(p, i, len(names), all[i], databaseColor)
		}
		addBar(p, i, len(names), first[i], colorOf(names[i]))
		labels.XYs = append(labels.XYs, plotter.XY{X: all[i], Y: float64(i)})
		labels.Labels = append(labels.Labels, " "+number(all[i]))
	}
	addLabels(p, labels)
	return picture{scenario, kind + "-" + scenario, title, p, vg.Length(len(names)+2) * barHeight, nil, 0}
}

// addBar draws the bar of one line; a later one covers an earlier one.
func addBar(p *plot.Plot, line, lines int, value float64, c color.Color) {
	values := make(plotter.Values, lines)
	values[line] = value
	bar, err := plotter.NewBarChart(values, barHeight*0.7)
	if err != nil {
		return // a value that is no number: there is no bar
	}
	bar.Horizontal, bar.Color, bar.LineStyle.Width = true, c, 0
	p.Add(bar)
}

func addLabels(p *plot.Plot, at plotter.XYLabels) {
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return
	}
	for i := range labels.TextStyle {
		letters(&labels.TextStyle[i], 12)
		labels.TextStyle[i].YAlign = -0.4 // about the middle of the bar
	}
	p.Add(labels)
}

func historyLines(r *Results) picture {
	title := "One idle poll, by answered commands"
	p := newPlot(title)
	p.X.Label.Text, p.Y.Label.Text = "answered commands of the device", "median, ms"
	pic := picture{"history", "history", title, p, lineHeight, newLegend(), 0}
	for _, name := range r.Systems {
		var points plotter.XYs
		for _, size := range r.sizes("history") {
			if v := r.find("history", name, "", size).of(p50); known(v) {
				points = append(points, plotter.XY{X: float64(size), Y: v / 1e3})
			}
		}
		pic.addLine(name, points)
	}
	if pic.entries == 0 {
		return picture{}
	}
	logarithmic(&p.Y)
	return pic
}

func fanoutLines(r *Results) picture {
	title := "One command for many"
	p := newPlot(title)
	p.X.Label.Text, p.Y.Label.Text = "targets", "seconds"
	pic := picture{"fanout", "fanout", title, p, lineHeight, newLegend(), 0}
	for _, name := range r.Systems {
		for _, way := range []string{"", wayStore} {
			var points plotter.XYs
			for _, size := range r.sizes("fanout") {
				if v := r.find("fanout", name, way, size).of(func(s Sample) float64 { return s.Seconds }); known(v) {
					points = append(points, plotter.XY{X: float64(size), Y: v})
				}
			}
			pic.addLine(name, points)
		}
	}
	if pic.entries == 0 {
		return picture{}
	}
	logarithmic(&p.X)
	logarithmic(&p.Y)
	return pic
}

func newLegend() *plot.Legend {
	l := plot.NewLegend()
	l.Left, l.Top, l.Padding = true, true, vg.Points(1.5)
	letters(&l.TextStyle, 12)
	return &l
}

// addLine draws nothing if there are no points.
func (p *picture) addLine(name string, points plotter.XYs) {
	if len(points) == 0 {
		return
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return
	}
	line.Color, line.Width = colorOf(name), vg.Points(2)
	dots.Color, dots.Shape, dots.Radius = colorOf(name), draw.CircleGlyph{}, vg.Points(3)
	p.plot.Add(line, dots)
	p.legend.Add(name, line)
	p.entries++
}

// logarithmic scales an axis by powers of ten, and lets it begin and end with one.
func logarithmic(a *plot.Axis) {
	a.Scale, a.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	a.Min = math.Pow(10, math.Floor(math.Log10(a.Min)))
	a.Max = math.Pow(10, math.Ceil(math.Log10(a.Max)))
}
