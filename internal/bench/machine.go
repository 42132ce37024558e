package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// describe says where this runs.
func (b *bench) describe(ctx context.Context) Machine {
	m := Machine{
		CPU: firstOf("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: totalMemory(),
		OS: strings.Trim(firstOf("/etc/os-release", "PRETTY_NAME"), `"`), Go: runtime.Version(),
		NanoMDM: moduleVersion("github.com/micromdm/nanomdm"), Date: time.Now().UTC().Format("2006-01-02 15:04 MST"),
	}
	if m.OS == "" {
		m.OS = runtime.GOOS
	}
	m.OS += " " + runtime.GOARCH
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	if commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(commit))
	}
	if h := b.hosts[inPostgres]; h != nil {
		m.Postgres = h.setting(ctx, "SHOW server_version")
		for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "shared_buffers"} {
			m.Postgres += fmt.Sprintf("; %s=%s", name, h.setting(ctx, "SHOW "+name))
		}
	}
	if h := b.hosts[inMySQL]; h != nil {
		m.MySQL = fmt.Sprintf("%s; innodb_flush_log_at_trx_commit=%s", h.setting(ctx, "SELECT VERSION()"),
			h.setting(ctx, "SELECT @@innodb_flush_log_at_trx_commit"))
	}
	return m
}

func (b *bench) addNote(format string, args ...any) {
	b.results.Notes = append(b.results.Notes, fmt.Sprintf(format, args...))
	b.say("NOTE: "+format, args...)
}

// note collects what would make the comparison less than it seems.
func (b *bench) note(ctx context.Context) {
	if b.quick {
		b.addNote("This was a quick run: a self-check with small counts. Its figures mean nothing.")
	}
	for kind, h := range b.hosts {
		if h.pid == 0 {
			b.addNote("The %s server is not on this machine, or cannot be told from others: its CPU is left out.", kind)
		}
	}
	if h := b.hosts[inPostgres]; h != nil {
		for _, name := range []string{"fsync", "synchronous_commit"} {
			if h.setting(ctx, "SHOW "+name) == "off" {
				b.addNote("PostgreSQL runs with %s=off: it is not durable, and SQLite is.", name)
			}
		}
		most := 0
		_, _ = fmt.Sscan(h.setting(ctx, "SHOW max_connections"), &most)
		if need := 2*b.concurrency + 20; most < need {
			b.addNote("PostgreSQL allows %d connections; %d may be needed.", most, need)
		}
	}
	dir := b.dir
	if dir == "" {
		dir = os.TempDir()
	}
	if inMemory(dir) {
		b.addNote("The files of SQLite are in memory: see -dir.")
	}
}

func totalMemory() string {
	kb, err := strconv.ParseFloat(strings.TrimSuffix(firstOf("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return "unknown memory"
	}
	return fmt.Sprintf("%.0f GB", kb/1e6)
}

// firstOf returns the value of the first line of a file that has this key.
func firstOf(file, key string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if at := strings.IndexAny(line, ":="); at > 0 && strings.TrimSpace(line[:at]) == key {
			return strings.TrimSpace(line[at+1:])
		}
	}
	return ""
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == path {
				return dep.Version
			}
		}
	}
	return "unknown"
}
