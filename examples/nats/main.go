// Nats publishes the events of an MDM server to NATS JetStream: at least once, in order within an enrollment, and without
// duplicates as long as the stream remembers them. It is a program beside the server, on the same database; a server may as well
// have the consumer in its Config.Consumers. It is a module of its own, so that the library does not depend on NATS.
//
//	nats -db mdm.db -nats nats://localhost:4222
//
// A consumer of yours subscribes to mdm.<tenant>.<type>, as mdm.*.command.> for commands; "-" is the tenant of a server that has
// only one.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/storage/sqlite"
)

func main() {
	database := flag.String("db", "mdm.db", "SQLite database of the server")
	address := flag.String("nats", nats.DefaultURL, "URL of the NATS server")
	name := flag.String("stream", "MDM", "JetStream stream; it is made if it is missing")
	prefix := flag.String("prefix", "mdm", "first token of the subjects")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *database, *address, *name, *prefix); err != nil && !errors.Is(err, context.Canceled) {
		slog.Error("nats", slog.Any("error", err))
		os.Exit(1)
	}
}

// run publishes until ctx ends.
func run(ctx context.Context, database, address, name, prefix string) error {
	db, err := sqlite.Open(ctx, database, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	conn, err := nats.Connect(address, nats.Name("applemdm"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := open(ctx, conn, name, prefix)
	if err != nil {
		return err
	}
	return dispatcher(db.Stores().Events, &publisher{js, prefix}).Run(ctx)
}

// duplicates is for how long a stream remembers what it has. It should be longer than an outage of this program may be between
// the publishing of an event and its acknowledgement.
const duplicates = time.Hour

// open finds the stream, or makes it.
func open(ctx context.Context, conn *nats.Conn, name, prefix string) (jetstream.JetStream, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	if _, err := js.Stream(ctx, name); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return js, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{prefix + ".>"}, Duplicates: duplicates})
	return js, err
}

func dispatcher(log event.Log, c event.Consumer) *event.Dispatcher {
	return &event.Dispatcher{Log: log, Name: "nats", Consumer: c, Logger: slog.Default()}
}
