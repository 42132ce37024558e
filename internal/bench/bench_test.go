package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets this binary be its own child, as the program is.
func TestMain(m *testing.M) {
	if code, ok := asChild(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestQuick runs everything that needs no database server, and renders it twice: from the run, and from its file.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	dir := t.TempDir()
	file, report := filepath.Join(dir, "results.json"), filepath.Join(dir, "docs", "benchmarks.md")
	outputs := []string{"-markdown", report, "-plots", filepath.Join(dir, "docs", "plots")}
	var first, progress, second strings.Builder
	status := run(t.Context(), append([]string{"-quick", "-json", file, "-profile", filepath.Join(dir, "profiles"),
		"-systems", "nanomdm-inmem,applemdm-memory,applemdm-sqlite"}, outputs...), &first, &progress)
	require.Zero(t, status, progress.String())
	for _, title := range []string{"Enrollment", "Idle polls", "Command cycles", "Idle polls behind a history", "One command for many", "Memory"} {
		assert.Contains(t, first.String(), title)
	}
	before, err := os.ReadFile(report)
	require.NoError(t, err)
	assert.Contains(t, string(before), "](plots/throughput-idle.svg)")
	assert.FileExists(t, filepath.Join(dir, "docs", "plots", "fanout.svg"))
	assert.FileExists(t, filepath.Join(dir, "profiles", "cycles-applemdm-sqlite.pprof"))

	require.Zero(t, run(t.Context(), append([]string{"-from", file}, outputs...), &second, io.Discard))
	after, err := os.ReadFile(report)
	require.NoError(t, err)
	assert.Equal(t, first.String(), second.String())
	assert.Equal(t, string(before), string(after))
}

func TestPushes(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	dir := t.TempDir()
	report, file := filepath.Join(dir, "pushes.md"), filepath.Join(dir, "pushes.json")
	var out, progress strings.Builder
	require.Zero(t, run(t.Context(), []string{"-pushes", "-quick", "-markdown", report, "-json", file}, &out, &progress), progress.String())
	assert.Equal(t, 3, strings.Count(out.String(), "| 50ms | 100 |"), "rates, CPU, connections")
	assert.NotContains(t, out.String(), "NaN")
	text, err := os.ReadFile(report)
	require.NoError(t, err)
	assert.Equal(t, out.String(), string(text))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var results PushResults
	require.NoError(t, json.Unmarshal(data, &results))
	for _, row := range results.Rows {
		for i, side := range row.Sides {
			assert.Equal(t, pushNames[i], side.Name)
			assert.Positive(t, side.Pushes, side.Name)
			assert.Positive(t, side.Connections, side.Name)
			assert.Len(t, side.Windows, 1, side.Name)
		}
	}
}

func TestPushRatios(t *testing.T) {
	side := func(name string, windows ...pushWindow) pushFigures { return pushFigures{Name: name, Windows: windows} }
	row := pushRow{Latency: 50 * time.Millisecond, Concurrency: 4000, Sides: []pushFigures{
		side("nanomdm", pushWindow{PerSecond: 100, CPU: 10}, pushWindow{PerSecond: 110, CPU: 11}, pushWindow{PerSecond: 120, CPU: 12}),
		side("nanomdm-lists", pushWindow{PerSecond: 90, CPU: 1}),
		side("applemdm", pushWindow{PerSecond: 200, CPU: 5}, pushWindow{PerSecond: 220, CPU: 2.2}, pushWindow{PerSecond: 120, CPU: 3}),
		side("applemdm-lists", pushWindow{PerSecond: 20_000, CPU: 5}),
	}}
	assert.Equal(t, "nanomdm", row.Rival().Name, "by its rate, not by its CPU")
	assert.Equal(t, "**1.82** (1.00–2.00)", row.TimesRate("applemdm"))
	assert.Equal(t, "**0.27** (0.20–0.50)", row.TimesCPU("applemdm"))
	assert.Equal(t, "9 %", row.Side("nanomdm").Spread())
	assert.Equal(t, "–", row.Side("nanomdm-lists").Spread())
	assert.Equal(t, "50 %", row.Share("applemdm-lists"), "of 2,000 under way")
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-only", "cycles,idle", "-systems", "applemdm-memory,applemdm-postgres,nanomdm"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []string{"idle", "cycles"}, o.only, "in our order")
	all := usable(o)
	require.Len(t, all, 1, "those on PostgreSQL need a DSN")
	assert.Equal(t, "applemdm-memory", all[0].name)
	assert.True(t, all[0].ours())
	for _, args := range [][]string{{"-only", "lunch"}, {"-systems", "other"}, {"-concurrency", "0"}, {"idle"}, {"-x"}} {
		_, err := parseOptions(args, io.Discard)
		require.Error(t, err, args)
	}
	assert.Equal(t, 1, run(t.Context(), []string{"-systems", "nanomdm"}, io.Discard, io.Discard), "nothing to run is a failure")
}

func TestClonesAreAsLongAsRealOnes(t *testing.T) {
	assert.Equal(t, "00008101-1000000000000007", cloneID(7))
	f, err := newFleet(2)
	require.NoError(t, err)
	assert.Len(t, f.devices[1].id, len(cloneID(0)))
	assert.Len(t, commandUUID(7, 8, 9), uuidLength)
}
