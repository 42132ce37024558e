package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	_ "github.com/go-sql-driver/mysql" // a driver
	_ "github.com/jackc/pgx/v5/stdlib" // a driver

	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/mysql"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// openSource opens what -from names.
func openSource(from string) (migrate.Source, func() error, error) {
	kind, name, _ := strings.Cut(from, ":")
	switch kind {
	case "micromdm":
		m, err := migrate.OpenMicroMDM(name)
		if err != nil {
			return nil, nil, err
		}
		return m, m.Close, nil
	case "nanomdm-postgres":
		return openNanoMDM("pgx", name, migrate.PostgreSQL)
	case "nanomdm-mysql":
		return openNanoMDM("mysql", name, migrate.MySQL)
	}
	return nil, nil, errors.New("the kind in -from is not nanomdm-postgres, nanomdm-mysql or micromdm")
}

func openNanoMDM(driver, dsn string, d migrate.Dialect) (migrate.Source, func() error, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, nil, fmt.Errorf("-from: not a DSN of %s", driver) // the drivers' words may hold the password
	}
	return migrate.NanoMDM{DB: db, Dialect: d}, db.Close, nil
}

// openStores opens what -to names.
func openStores(ctx context.Context, to, keyFile string, stderr io.Writer) (stores storage.Stores, closing func() error, err error) {
	kind, name, _ := strings.Cut(to, ":")
	var sealer storage.Sealer // nil: that of the SQLite file
	switch {
	case keyFile != "":
		if sealer, err = readSealer(keyFile, stderr); err != nil {
			return stores, nil, err
		}
	case kind != "sqlite":
		return stores, nil, errors.New("-key-file is needed: every server of the database has the same key")
	}
	var db interface {
		Stores() storage.Stores
		Close() error
	}
	switch kind {
	case "sqlite":
		db, err = sqlite.Open(ctx, name, &sqlite.Config{Sealer: sealer})
	case "postgres":
		db, err = postgres.Open(ctx, name, &postgres.Config{Sealer: sealer})
	case "mysql":
		db, err = mysql.Open(ctx, name, &mysql.Config{Sealer: sealer})
	default:
		err = errors.New("the kind in -to is not sqlite, postgres or mysql")
	}
	if err != nil {
		return stores, nil, err
	}
	return db.Stores(), db.Close, nil
}

// readSealer reads the key of a file, and makes both if there is no file.
func readSealer(name string, stderr io.Writer) (storage.Sealer, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeKey(name)
		fmt.Fprintf(stderr, "made a new key in %s; the servers of the database need it\n", name)
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != storage.KeySize {
		return nil, fmt.Errorf("%s does not hold %d hexadecimal digits", name, 2*storage.KeySize)
	}
	return storage.NewAESGCM(key)
}

func makeKey(name string) ([]byte, error) {
	text := []byte(hex.EncodeToString(storage.GenerateKey()) + "\n")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(text)
	return text, errors.Join(err, file.Sync(), file.Close())
}
