package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// embedded is a NATS server in this process.
func embedded(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(30*time.Second))
	return s.ClientURL()
}

func TestPublishing(t *testing.T) {
	address := embedded(t)
	conn, err := nats.Connect(address)
	require.NoError(t, err)
	defer conn.Close()
	for range 2 {
		_, err = open(t.Context(), conn, "MDM", "mdm") // made, then found
		require.NoError(t, err)
	}
	js, err := open(t.Context(), conn, "MDM", "mdm")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "mdm.db")
	db, err := sqlite.Open(t.Context(), file, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	at := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	a, b := mdm.EnrollmentID{Device: "A"}, mdm.EnrollmentID{Tenant: "acme.inc", Device: "B"}
	require.NoError(t, db.Stores().Checkin.Update(t.Context(), checkin.Key{ID: a}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Events: []mdm.Event{{Type: mdm.EventEnrolled, At: at, Enrollment: a}, {Type: mdm.EventTokenUpdated, At: at, Enrollment: a},
			{Type: mdm.EventEnrolled, At: at, Enrollment: b}}}, nil
	}))

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, file, address, "MDM", "mdm") }()
	consumer, err := js.OrderedConsumer(t.Context(), "MDM", jetstream.OrderedConsumerConfig{})
	require.NoError(t, err)
	var got []string
	var last jetstream.Msg
	for range 3 {
		last, err = consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
		require.NoError(t, err)
		got = append(got, last.Subject())
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	assert.Equal(t, []string{"mdm.-.enrollment.enrolled", "mdm.-.enrollment.tokenupdated", "mdm.acme%2Einc.enrollment.enrolled"}, got)
	var e mdm.Event
	require.NoError(t, json.Unmarshal(last.Data(), &e))
	assert.Equal(t, b, e.Enrollment)
	assert.Equal(t, messageID(&e), last.Headers().Get(jetstream.MsgIDHeader))

	require.NoError(t, (&publisher{js, "mdm"}).Consume(t.Context(), e), "it was not acknowledged, and is published again")
	info, err := js.Stream(t.Context(), "MDM")
	require.NoError(t, err)
	assert.EqualValues(t, 3, info.CachedInfo().State.Msgs, "the stream has it")
}

// broken is a stream that stores nothing.
type broken struct{}

func (broken) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, errors.New("no quorum")
}

func TestWhatIsNotStoredIsNotDone(t *testing.T) {
	require.ErrorContains(t, (&publisher{broken{}, "mdm"}).Consume(t.Context(), mdm.Event{}), "no quorum")
	for in, want := range map[string]string{"plain": "plain", "-": "%2D", "a.b": "a%2Eb", "*": "%2A", ">": "%3E", "a b": "a%20b"} {
		assert.Equal(t, want, token(in))
	}
}
