package main

import (
	"math"
	"slices"
	"time"
)

// median of nothing is NaN, which is shown as a dash.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile returns the smallest value that p percent of all are not above, of sorted ones.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	n := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(n, 1), len(sorted))-1]
}

// of returns the median over the samples of a row, NaN if there is no row.
func (r *Row) of(value func(Sample) float64) float64 {
	if r == nil {
		return math.NaN()
	}
	var all []float64
	for _, s := range r.Samples {
		all = append(all, value(s))
	}
	return median(all)
}

// spread is how far apart the samples are: half of the range, as a part of the median.
func (r *Row) spread(value func(Sample) float64) float64 {
	if r == nil || len(r.Samples) == 0 {
		return math.NaN()
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range r.Samples {
		low, high = min(low, value(s)), max(high, value(s))
	}
	return (high - low) / 2 / r.of(value)
}

// What is read off a sample.

func perSecond(s Sample) float64 { return float64(s.Ops) / s.Seconds }

// micros is the time of one operation of a window that did nothing beside.
func micros(s Sample) float64 { return s.Seconds * 1e6 / float64(s.Ops) }

func serverCPU(s Sample) float64   { return s.ServerCPU * 1e6 / float64(s.Ops) }
func databaseCPU(s Sample) float64 { return s.DatabaseCPU * 1e6 / float64(s.Ops) }
func totalCPU(s Sample) float64    { return serverCPU(s) + databaseCPU(s) }
func p50(s Sample) float64         { return s.P50 }
func p99(s Sample) float64         { return s.P99 }
func startMB(s Sample) float64     { return s.StartMB }
func peakMB(s Sample) float64      { return s.PeakMB }
func endMB(s Sample) float64       { return s.EndMB }
func aboveMB(s Sample) float64     { return s.PeakMB - s.StartMB }
