package main

import (
	"context"
	"net/http"
	"slices"
)

// Databases that a system may need.
const (
	inPostgres = "postgres"
	inMySQL    = "mysql"
	inFile     = "file"
	inProcess  = ""
)

// baseline is the system that ratios are to.
const baseline = "nanomdm"

// system is one column of the comparison.
type system struct {
	name       string
	about      string
	database   string
	maxTargets int // largest fleet of the fan-out; 0: no limit. What is kept in memory ends earlier
	open       func(ctx context.Context, c serveConfig) (backend, error)
}

// backend is what a child serves: one MDM server, and what the bench asks of it beside.
type backend interface {
	// devices is the handler that devices talk to, with every check that a product would have.
	devices() http.Handler
	// api is the server's own HTTP API, nil if it has none.
	api() http.Handler
	// enqueue puts a command on queues without a push, and returns on how many.
	enqueue(ctx context.Context, o order) (int, error)
	// clone makes the enrollments numbered from..to-1 out of the one of template, by the shortest way there is.
	clone(ctx context.Context, template string, from, to int) error
	close() error
}

// order is one command for some devices, or for the first Everyone of a cloned fleet, which are all there are.
type order struct {
	UUID     string   `json:"uuid"`
	IDs      []string `json:"ids,omitempty"`
	Everyone int      `json:"everyone,omitempty"`
}

const memoryTargets = 100_000

func systems() []system {
	return []system{
		{baseline, "NanoMDM, its PostgreSQL store with a pool of 32 connections that stay open", inPostgres, 0, openNanoTuned},
		{"nanomdm-stock", "NanoMDM, its PostgreSQL store as it opens it itself (2 idle connections)", inPostgres, 0, openNanoStock},
		{"nanomdm-inmem", "NanoMDM, its in-memory store", inProcess, memoryTargets, openNanoMemory},
		{"applemdm-postgres", "this library on PostgreSQL, as storage/postgres opens it", inPostgres, 0, openPostgres},
		{"applemdm-sqlite", "this library on one SQLite file, synchronous=FULL", inFile, 0, openSQLite},
		{"applemdm-memory", "this library, its in-memory store", inProcess, memoryTargets, openMemory},
		{"applemdm-mysql", "this library on MySQL or MariaDB, as storage/mysql opens it", inMySQL, 0, openMySQL},
	}
}

func (s *system) ours() bool { return len(s.name) > 8 && s.name[:8] == "applemdm" }

func systemNames() []string {
	var names []string
	for _, s := range systems() {
		names = append(names, s.name)
	}
	return names
}

// usable returns the systems that were asked for and whose database is there.
func usable(o *options) []system {
	return slices.DeleteFunc(systems(), func(s system) bool {
		return !slices.Contains(o.systems, s.name) ||
			s.database == inPostgres && o.postgres == "" || s.database == inMySQL && o.mysql == ""
	})
}
