package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// render writes everything that was asked for.
func render(r *Results, o *options, stdout io.Writer) error {
	var errs []error
	if o.json != "" && o.from == "" {
		errs = append(errs, r.write(o.json))
	}
	tables := makeTables(r)
	errs = append(errs, writeText(stdout, r, tables))
	var plots []plotFile
	if o.plots != "" {
		var err error
		plots, err = writePlots(o.plots, r)
		errs = append(errs, err)
	}
	if o.markdown != "" {
		errs = append(errs, writeMarkdown(o.markdown, r, tables, plots))
	}
	return errors.Join(errs...)
}

// writeText writes the tables for a terminal.
func writeText(w io.Writer, r *Results, tables []table) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, t := range tables {
		_, _ = fmt.Fprintf(tw, "\n%s\n", t.title)
		for _, row := range append([][]string{t.header}, t.rows...) {
			_, _ = fmt.Fprintf(tw, "%s\t\n", strings.Join(row, "\t"))
		}
	}
	for _, note := range r.Notes {
		_, _ = fmt.Fprintf(tw, "\nNote: %s\n", note)
	}
	for _, failure := range r.Failures {
		_, _ = fmt.Fprintf(tw, "\nFAILED: %s\n", failure)
	}
	return tw.Flush()
}

// writeMarkdown writes the report. Pictures are linked as seen from it.
func writeMarkdown(name string, r *Results, tables []table, plots []plotFile) error {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\n")
	b.WriteString("This library and NanoMDM, driven with the same simulated devices on the same databases in one run. Made by\n" +
		"[internal/bench](../internal/bench/README.md), which says what is done, how it is kept fair, and how to run it yourself.\n" +
		"× is the ratio to `" + baseline + "` in this run: more is better. ± is half of the range of the rounds.\n\n")
	for _, line := range machineLines(r) {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\n> %s\n", note)
	}
	for _, failure := range r.Failures {
		fmt.Fprintf(&b, "\n> **Failed:** %s\n", failure)
	}
	b.WriteString("\n| system | is |\n|---|---|\n")
	for _, s := range systems() {
		if r.ran(s.name) {
			fmt.Fprintf(&b, "| `%s` | %s |\n", s.name, s.about)
		}
	}
	for _, t := range tables {
		t.markdown(&b, filepath.Dir(name), plots)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

func (t *table) markdown(b *strings.Builder, dir string, plots []plotFile) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", t.title, t.about)
	fmt.Fprintf(b, "| %s |\n|---%s|\n", strings.Join(t.header, " | "), strings.Repeat("|---:", len(t.header)-1))
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
	for _, p := range plots {
		if p.scenario != t.scenario {
			continue
		}
		link, err := filepath.Rel(dir, p.path)
		if err != nil {
			link = p.path
		}
		fmt.Fprintf(b, "\n![%s](%s)\n", p.title, filepath.ToSlash(link))
	}
}

// machineLines describe where and how it ran.
func machineLines(r *Results) []string {
	m := r.Machine
	lines := []string{
		fmt.Sprintf("%s, %d cores, %s, %s; %s", m.CPU, m.Cores, m.Memory, m.OS, m.Go),
		fmt.Sprintf("NanoMDM %s; this library at %s; %s", m.NanoMDM, m.Commit, m.Date),
		fmt.Sprintf("%d connections, %d rounds (the median counts); servers, databases and load generator share the machine; "+
			"a poll costs the load generator %s of CPU", r.Concurrency, r.Scale.Rounds, duration(r.loadCPU())),
	}
	if m.Postgres != "" {
		lines = append(lines, "PostgreSQL "+m.Postgres)
	}
	if m.MySQL != "" {
		lines = append(lines, "MySQL: "+m.MySQL)
	}
	if m.Load != "" {
		lines = append(lines, "load averages before the run: "+m.Load)
	}
	return lines
}

// loadCPU is how many microseconds of CPU an idle poll costs the load generator: what it takes from the servers. NaN if
// there were none.
func (r *Results) loadCPU() float64 {
	var all []float64
	for _, row := range r.Rows {
		if row.Scenario == "idle" {
			all = append(all, row.of(func(s Sample) float64 { return s.LoadCPU * 1e6 / float64(s.Ops) }))
		}
	}
	return median(all)
}

func (r *Results) ran(system string) bool {
	return slices.Contains(r.Systems, system)
}
