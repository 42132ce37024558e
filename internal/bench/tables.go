package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// table is one comparison, ready to be shown.
type table struct {
	scenario, title, about string
	header                 []string
	rows                   [][]string
}

// makeTables returns a table for each scenario that ran.
func makeTables(r *Results) []table {
	var all []table
	for _, t := range []table{
		throughput(r, "enroll", "Enrollment", "Authenticate, then TokenUpdate, of devices that are new. An operation is an enrollment, two requests."),
		throughput(r, "idle", "Idle polls", "Devices that ask and get nothing: what a server does most of the day. An operation is a poll."),
		throughput(r, "cycles", "Command cycles", fmt.Sprintf("Sessions of %d commands: Idle, command, Acknowledged, the next command, and so on. "+
			"An operation is a command delivered and acknowledged.", r.Scale.Commands)),
		historyTable(r), fanoutTable(r), memoryTable(r),
	} {
		if len(t.rows) > 0 {
			all = append(all, t)
		}
	}
	return all
}

func throughput(r *Results, scenario, title, about string) table {
	t := table{scenario: scenario, title: title, about: about + " Latencies are of a request; CPU is of the server and of the database server, per operation.",
		header: []string{"system", "per second", "±", "×", "p50", "p99", "CPU server", "CPU database", "CPU ×"}}
	base := r.find(scenario, baseline, "", 0)
	for _, name := range r.Systems {
		row := r.find(scenario, name, "", 0)
		if row == nil {
			continue
		}
		t.rows = append(t.rows, []string{name, number(row.of(perSecond)), percent(row.spread(perSecond)), ratio(row.of(perSecond), base.of(perSecond)),
			duration(row.of(p50)), duration(row.of(p99)), duration(row.of(serverCPU)), duration(row.of(databaseCPU)),
			ratio(base.of(totalCPU), row.of(totalCPU))})
	}
	return t
}

func historyTable(r *Results) table {
	sizes := r.sizes("history")
	t := table{scenario: "history", title: "Idle polls behind a history",
		about:  "The median of one poll at a time, by how many commands the device has answered before. All answers are kept.",
		header: []string{"system"}}
	if len(sizes) == 0 {
		return t
	}
	for _, size := range sizes {
		t.header = append(t.header, strconv.Itoa(size))
	}
	last := sizes[len(sizes)-1]
	t.header = append(t.header, "growth", "×")
	base := r.find("history", baseline, "", last).of(p50)
	for _, name := range r.Systems {
		cells := []string{name}
		for _, size := range sizes {
			cells = append(cells, duration(r.find("history", name, "", size).of(p50)))
		}
		none, most := r.find("history", name, "", sizes[0]).of(p50), r.find("history", name, "", last).of(p50)
		t.rows = append(t.rows, append(cells, ratio(most, none), ratio(base, most)))
	}
	return t
}

func fanoutTable(r *Results) table {
	sizes := r.sizes("fanout")
	t := table{scenario: "fanout", title: "One command for many",
		about: fmt.Sprintf("The time for each target, by how many there are. This library takes a whole fleet in one call and carries it out in chunks of 2,000, each a transaction. "+
			"NanoMDM: `%s` is its HTTP API; `%s` is its store, past the API. Its PostgreSQL store takes %s targets at most; what is more "+
			"goes in several calls, not all or nothing. CPU, MB (the server's peak above idle) and × (of the time, to `%s %s`) are those at "+
			"the most targets that a system was given.", wayAPI, wayStore, grouped(maxNanoTargets), baseline, wayStore),
		header: []string{"system"}}
	for _, size := range sizes {
		t.header = append(t.header, grouped(float64(size)))
	}
	t.header = append(t.header, "CPU server", "CPU database", "MB", "×")
	for _, name := range r.Systems {
		for _, way := range []string{"", wayAPI, wayStore} {
			if cells := fanoutCells(r, name, way, sizes); cells != nil {
				t.rows = append(t.rows, cells)
			}
		}
	}
	return t
}

// fanoutCells returns nil if the system has no such way.
func fanoutCells(r *Results, name, way string, sizes []int) []string {
	label := name
	if way != "" {
		label += " " + way
	}
	cells := []string{label}
	var last *Row
	for _, size := range sizes {
		row := r.find("fanout", name, way, size)
		if row != nil {
			last = row
		}
		cells = append(cells, duration(row.of(micros)))
	}
	if last == nil {
		return nil
	}
	base := r.find("fanout", baseline, wayStore, last.Size)
	return append(cells, duration(last.of(serverCPU)), duration(last.of(databaseCPU)), number(last.of(aboveMB)), ratio(base.of(micros), last.of(micros)))
}

func memoryTable(r *Results) table {
	t := table{scenario: "memory", title: "Memory",
		about: fmt.Sprintf("The server's resident size, in MB, before, during and after %s commands to %s devices; before and after, garbage is collected. "+
			"What stores in memory keep is inside.", grouped(float64(r.Scale.Devices*r.Scale.Long)), grouped(float64(r.Scale.Devices))),
		header: []string{"system", "before", "peak", "after"}}
	for _, name := range r.Systems {
		if row := r.find("memory", name, "", 0); row != nil {
			t.rows = append(t.rows, []string{name, number(row.of(startMB)), number(row.of(peakMB)), number(row.of(endMB))})
		}
	}
	return t
}

// sizes returns what a scenario was run with.
func (r *Results) sizes(scenario string) []int {
	var all []int
	for _, row := range r.Rows {
		if row.Scenario == scenario && !slices.Contains(all, row.Size) {
			all = append(all, row.Size)
		}
	}
	slices.Sort(all)
	return all
}

const none = "–"

// known reports whether there is a number to show.
func known(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number shows three digits, or all of a whole number.
func number(v float64) string {
	switch {
	case !known(v):
		return none
	case v >= 100:
		return grouped(v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// grouped shows a whole number with thin groups of three digits.
func grouped(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// duration shows microseconds; none at all are what was not measured.
func duration(us float64) string {
	switch {
	case !known(us) || us == 0:
		return none
	case us >= 1e6:
		return number(us/1e6) + " s"
	case us >= 1e3:
		return number(us/1e3) + " ms"
	}
	return number(us) + " µs"
}

func ratio(a, b float64) string {
	if !known(a / b) {
		return none
	}
	return "×" + number(a/b)
}

func percent(v float64) string {
	if !known(v) {
		return none
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}
