package main

import (
	"encoding/json"
	"os"
)

// Results is what a run gave, raw: medians and ratios are made when it is shown.
type Results struct {
	Machine     Machine  `json:"machine"`
	Scale       Scale    `json:"scale"`
	Quick       bool     `json:"quick"`
	Concurrency int      `json:"concurrency"`
	Systems     []string `json:"systems"`
	Rows        []*Row   `json:"rows"`
	Notes       []string `json:"notes,omitempty"`    // what a reader must know of this run
	Failures    []string `json:"failures,omitempty"` // requests that failed or were answered wrongly
}

// Row is one case of a scenario on one system: a sample for each round.
type Row struct {
	Scenario string   `json:"scenario"`
	System   string   `json:"system"`
	Way      string   `json:"way,omitempty"`  // fanout: wayAPI or wayStore
	Size     int      `json:"size,omitempty"` // history: answered commands of a device; fanout: targets
	Samples  []Sample `json:"samples"`
}

// Sample is one window. CPU is in seconds, latency of a request in microseconds.
type Sample struct {
	Ops         int     `json:"ops"`
	Seconds     float64 `json:"seconds"`
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	ServerCPU   float64 `json:"server_cpu"`
	DatabaseCPU float64 `json:"database_cpu"`
	LoadCPU     float64 `json:"load_cpu"` // of the load generator
	StartMB     float64 `json:"start_mb"` // resident size of the server
	PeakMB      float64 `json:"peak_mb"`
	EndMB       float64 `json:"end_mb"`
}

// Machine describes where it ran.
type Machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	Memory   string `json:"memory"`
	OS       string `json:"os"`
	Go       string `json:"go"`
	Postgres string `json:"postgres,omitempty"`
	MySQL    string `json:"mysql,omitempty"`
	NanoMDM  string `json:"nanomdm"`
	Commit   string `json:"commit,omitempty"` // of this library
	Load     string `json:"load,omitempty"`   // average of the last minutes when it began
	Date     string `json:"date"`
}

// row finds or makes a row.
func (r *Results) row(scenario, system, way string, size int) *Row {
	if row := r.find(scenario, system, way, size); row != nil {
		return row
	}
	row := &Row{Scenario: scenario, System: system, Way: way, Size: size}
	r.Rows = append(r.Rows, row)
	return row
}

// find returns nil if there is no such row.
func (r *Results) find(scenario, system, way string, size int) *Row {
	for _, row := range r.Rows {
		if row.Scenario == scenario && row.System == system && row.Way == way && row.Size == size {
			return row
		}
	}
	return nil
}

func readResults(name string) (*Results, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	return r, json.Unmarshal(text, r)
}

func (r *Results) write(name string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
