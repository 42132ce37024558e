package main

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatistics(t *testing.T) {
	assert.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	assert.InDelta(t, 3, median([]float64{9, 1, 2, 4}), 0)
	assert.True(t, math.IsNaN(median(nil)))

	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i+1))
	}
	assert.EqualValues(t, 100, percentile(all, 50))
	assert.EqualValues(t, 198, percentile(all, 99))
	assert.EqualValues(t, 200, percentile(all, 100))
	assert.EqualValues(t, 1, percentile(all[:1], 99))
	assert.Zero(t, percentile(nil, 50))

	row := &Row{Samples: []Sample{{Ops: 100, Seconds: 1}, {Ops: 300, Seconds: 2}, {Ops: 90, Seconds: 1}}}
	assert.InDelta(t, 100, row.of(perSecond), 1e-9)
	assert.InDelta(t, 0.3, row.spread(perSecond), 1e-9)
	var nothing *Row
	assert.True(t, math.IsNaN(nothing.of(perSecond)))
	assert.True(t, math.IsNaN(nothing.spread(perSecond)))
}

func TestNumbers(t *testing.T) {
	assert.Equal(t, []string{"1,234,568", "123", "12.3", "1.23", "–"},
		[]string{number(1234567.8), number(123.4), number(12.34), number(1.234), number(math.Inf(1))})
	assert.Equal(t, []string{"999 µs", "1.00 ms", "2.50 s", "–", "–"},
		[]string{duration(999), duration(1000), duration(2.5e6), duration(math.NaN()), duration(0)})
	assert.Equal(t, []string{"×2.00", "–"}, []string{ratio(4, 2), ratio(1, 0)})
	assert.Equal(t, []string{"12 %", "–"}, []string{percent(0.123), percent(math.NaN())})
}

func TestTables(t *testing.T) {
	r := &Results{Systems: []string{baseline, "applemdm-postgres"}}
	add := func(scenario, system, way string, size int, s Sample) {
		row := r.row(scenario, system, way, size)
		row.Samples = append(row.Samples, s)
	}
	add("idle", baseline, "", 0, Sample{Ops: 1000, Seconds: 1, P50: 900, ServerCPU: 0.3, DatabaseCPU: 0.1})
	add("idle", "applemdm-postgres", "", 0, Sample{Ops: 4000, Seconds: 1, P50: 300, ServerCPU: 0.6, DatabaseCPU: 0.2})
	add("fanout", baseline, wayAPI, 1000, Sample{Ops: 1000, Seconds: 0.03})
	add("fanout", baseline, wayStore, 1000, Sample{Ops: 1000, Seconds: 0.02})
	add("fanout", "applemdm-postgres", "", 1000, Sample{Ops: 1000, Seconds: 0.01, StartMB: 20, PeakMB: 23})
	tables := makeTables(r)
	require.Len(t, tables, 2, "only what ran")
	assert.Equal(t, []string{"applemdm-postgres", "4,000", "0 %", "×4.00", "300 µs", "–", "150 µs", "50.0 µs", "×2.00"}, tables[0].rows[1])
	require.Len(t, tables[1].rows, 3)
	assert.Equal(t, []string{"nanomdm api", "30.0 µs", "–", "–", "0.00", "×0.67"}, tables[1].rows[0])
	assert.Equal(t, []string{"applemdm-postgres", "10.0 µs", "–", "–", "3.00", "×2.00"}, tables[1].rows[2])

	files, err := writePlots(t.TempDir(), r)
	require.NoError(t, err)
	require.Len(t, files, 3, "two of idle, one of fanout")
	assert.FileExists(t, files[2].path)
}

func TestNumbersInSQL(t *testing.T) {
	assert.NotContains(t, numbers(10), "d1")
	assert.Contains(t, numbers(11), "d0.n + 10 * d1.n AS n")
	assert.Contains(t, numbers(1_000_000), "100000 * d5.n")
}
