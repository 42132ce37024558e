package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	driversql "github.com/go-sql-driver/mysql"
)

// host is a database server: where the bench makes databases, and whose CPU it counts.
type host struct {
	kind string
	dsn  string
	db   *sql.DB
	pid  int // of its first process; 0: it is not on this machine
}

// openHost connects to a server.
func openHost(ctx context.Context, kind, dsn string) (*host, error) {
	h := &host{kind: kind, dsn: dsn}
	driver := "pgx"
	if kind == inMySQL {
		driver = "mysql"
	}
	var err error
	if h.db, err = sql.Open(driver, dsn); err == nil {
		err = h.db.PingContext(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if kind == inMySQL {
		h.pid = h.findMySQL(ctx)
	} else {
		h.pid = h.findPostgres(ctx)
	}
	return h, nil
}

// findPostgres returns the postmaster: the parent of the process that answers us.
func (h *host) findPostgres(ctx context.Context) int {
	var pid int
	var address sql.NullString
	if err := h.db.QueryRowContext(ctx, "SELECT pg_backend_pid(), host(inet_server_addr())").Scan(&pid, &address); err != nil {
		return 0
	}
	if address.Valid && !isOurs(address.String) {
		return 0
	}
	s, err := readStat(pid)
	if err != nil || !strings.HasPrefix(s.name, "postgres") {
		return 0
	}
	return s.parent
}

// findMySQL returns the only mysqld here, if that is who answers us.
func (h *host) findMySQL(ctx context.Context) int {
	var name string
	here, _ := os.Hostname()
	if err := h.db.QueryRowContext(ctx, "SELECT @@hostname").Scan(&name); err != nil || name != here {
		return 0
	}
	found := 0
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		var pid int
		_, _ = fmt.Sscanf(name, "/proc/%d/stat", &pid)
		if s, err := readStat(pid); err == nil && (s.name == "mariadbd" || s.name == "mysqld") {
			if found != 0 {
				return 0 // which of them cannot be told
			}
			found = pid
		}
	}
	return found
}

// isOurs reports whether an address is one of this machine.
func isOurs(address string) bool {
	ip := net.ParseIP(address)
	if ip.IsLoopback() {
		return true
	}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}

// create makes a database and returns its DSN.
func (h *host) create(ctx context.Context, name string) (string, error) {
	if _, err := h.db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("%s: %w", h.kind, err)
	}
	return h.named(name)
}

// named is the server's DSN with another database.
func (h *host) named(name string) (string, error) {
	if h.kind == inMySQL {
		c, err := driversql.ParseDSN(h.dsn)
		if err != nil {
			return "", err
		}
		c.DBName = name
		return c.FormatDSN(), nil
	}
	u, err := url.Parse(h.dsn)
	if err != nil || u.Scheme == "" {
		return "", fmt.Errorf("-postgres is not a URL, as postgres://user@host/database")
	}
	u.Path = "/" + name
	return u.String(), nil
}

func (h *host) drop(ctx context.Context, name string) error {
	query := "DROP DATABASE IF EXISTS " + name
	if h.kind == inPostgres {
		query += " WITH (FORCE)"
	}
	_, err := h.db.ExecContext(ctx, query)
	return err
}

// settle makes windows alike: what was changed before one is on the disk before it begins.
func (h *host) settle(ctx context.Context) {
	if h.kind == inPostgres {
		_, _ = h.db.ExecContext(ctx, "CHECKPOINT") // only some roles may
	}
}

// analyze does for one database what would happen by itself within minutes.
func (h *host) analyze(ctx context.Context, dsn string) error {
	if h.kind != inPostgres {
		return nil
	}
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, "VACUUM ANALYZE")
	return err
}

// setting reads one setting of the server, for the report.
func (h *host) setting(ctx context.Context, query string) string {
	var value string
	if err := h.db.QueryRowContext(ctx, query).Scan(&value); err != nil {
		return "unknown"
	}
	return value
}
