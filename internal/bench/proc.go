package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ownCPU is how many seconds of CPU this process has used.
func ownCPU() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds(), nil
}

// ticks is how many units of /proc/<pid>/stat are a second; it is the same on every Linux that Go runs on.
const ticks = 100

// procStat is what matters here of /proc/<pid>/stat.
type procStat struct {
	name        string
	parent      int
	cpu, reaped float64 // seconds; of its children that have ended
}

// readStat fails where there is no such process, and no /proc.
func readStat(pid int) (procStat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	before, after, ok := strings.Cut(string(text), "(")
	end := strings.LastIndex(after, ") ") // a name may hold anything
	if !ok || end < 0 {
		return procStat{}, fmt.Errorf("/proc/%s/stat cannot be read", strings.TrimSpace(before))
	}
	fields := strings.Fields(after[end+2:])
	if len(fields) < 15 {
		return procStat{}, fmt.Errorf("/proc/%s/stat is short", strings.TrimSpace(before))
	}
	number := func(field int) float64 { v, _ := strconv.ParseFloat(fields[field-3], 64); return v } // numbered as in proc(5)
	return procStat{name: after[:end], parent: int(number(4)), cpu: (number(14) + number(15)) / ticks, reaped: (number(16) + number(17)) / ticks}, nil
}

// treeCPU is the CPU of a process, its children, and those that it had.
func treeCPU(root int) (float64, error) {
	top, err := readStat(root)
	if err != nil {
		return 0, err
	}
	all := top.cpu + top.reaped
	names, err := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		if s, err := readStat(pid); err == nil && s.parent == root { // others have ended meanwhile
			all += s.cpu
		}
	}
	return all, err
}

// residentMB is the resident size of a process and its peak, in MB; zero where there is no /proc.
func residentMB(pid int) (now, peak float64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch key {
		case "VmRSS":
			now = kb / 1024
		case "VmHWM":
			peak = kb / 1024
		}
	}
	return now, peak
}

// resetPeak lets the peak of a process begin anew.
func resetPeak(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // without it the peak is that of the whole life
}
