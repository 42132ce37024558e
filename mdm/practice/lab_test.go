package practice_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/sqlite"
)

const topic = "com.apple.mgmt.External.practice"

// lab is a server, its store, and a clock that only advance moves. Devices connect when they are told to.
type lab struct {
	*testing.T
	stores  storage.Stores
	server  *server.Server
	ca      *scep.LocalCA
	https   *httptest.Server
	roots   *x509.CertPool
	devices []*mdmtest.Device

	ahead atomic.Int64 // of start
	start time.Time
}

// onEveryStore runs a test on memory, SQLite and, where there is one, PostgreSQL; a short one on memory alone.
func onEveryStore(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T, func() time.Time) storage.Stores{"memory": inMemory, "sqlite": inSQLite, "postgres": inPostgres} {
		if testing.Short() && name != "memory" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lab{T: t, start: time.Now().Truncate(time.Second)}
			l.stores = open(t, l.now)
			f(t, l)
		})
	}
}

func inMemory(_ *testing.T, clock func() time.Time) storage.Stores {
	db := memory.New()
	db.Clock = clock
	return db.Stores()
}

func sealer(t *testing.T) storage.Sealer {
	t.Helper()
	s, err := storage.NewAESGCM(make([]byte, storage.KeySize))
	require.NoError(t, err)
	return s
}

func inSQLite(t *testing.T, clock func() time.Time) storage.Stores {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "mdm.db"), &sqlite.Config{Sealer: sealer(t), Clock: clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db.Stores()
}

// inPostgres gives the test a schema of its own.
func inPostgres(t *testing.T, clock func() time.Time) storage.Stores {
	t.Helper()
	dsn := os.Getenv("APPLEMDM_TEST_POSTGRES")
	if dsn == "" {
		t.Skip("APPLEMDM_TEST_POSTGRES is not set: the tests against that server are skipped")
	}
	admin, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	schema := "practice_" + strings.ToLower(rand.Text())
	_, err = admin.Exec(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	db, err := postgres.Open(t.Context(), dsn+separator+"synchronous_commit=off&search_path="+schema, &postgres.Config{Sealer: sealer(t), Clock: clock})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, db.Close())
		_, err := admin.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, admin.Close(context.Background()))
	})
	return db.Stores()
}

// deviceCA is shared, because its key takes time to make.
var deviceCA = sync.OnceValue(func() *scep.LocalCA {
	ca, err := scep.NewLocalCA("practice devices")
	if err != nil {
		panic(err)
	}
	return ca
})

// keyring has keys that devices of all labs share, because each takes long to make. Within a lab all differ: it has fewer devices.
type keyring struct {
	mu   sync.Mutex
	made []*rsa.PrivateKey
	next int
}

var keys keyring

func (k *keyring) take(bits int) (*rsa.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if bits == 2048 && len(k.made) == 40 {
		k.next++
		return k.made[k.next%len(k.made)], nil
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err == nil && bits == 2048 {
		k.made = append(k.made, key)
	}
	return key, err
}

// now is the time in the lab.
func (l *lab) now() time.Time { return l.start.Add(time.Duration(l.ahead.Load())) }

// serve starts the server with these workflows. change may change its configuration; it may be nil.
func (l *lab) serve(change func(*server.Config), workflows ...workflow.Any) {
	l.Helper()
	ca := *deviceCA()
	ca.Clock, l.ca = l.now, &ca
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: ca.Chain(), Clock: l.now})
	require.NoError(l, err)
	cfg := server.Config{Stores: l.stores, Extractor: identity.TLS(), Validator: ours, Workflows: workflows, Clock: l.now}
	if change != nil {
		change(&cfg)
	}
	l.server, err = server.New(cfg)
	require.NoError(l, err)
	mux := http.NewServeMux()
	mux.Handle("/mdm", l.server)
	mux.Handle("/scep", &scep.Server{CA: l.ca, Store: l.stores.SCEP, Clock: l.now})
	mux.HandleFunc("/enroll", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(l.enrollment(mdm.PurposeEnroll, ""))
	})
	l.https = httptest.NewUnstartedServer(mux)
	l.https.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	l.https.StartTLS()
	l.Cleanup(l.https.Close)
	l.roots = x509.NewCertPool()
	l.roots.AddCert(l.https.Certificate())
}

// enrollment returns an encoded enrollment profile with a fresh challenge.
func (l *lab) enrollment(purpose mdm.Purpose, device string) []byte {
	challenge, err := scep.NewChallenge(l.Context(), l.stores.SCEP, scep.Challenge{Purpose: purpose, Device: device, ExpiresAt: l.now().Add(time.Hour)})
	require.NoError(l, err)
	identity := &profile.SCEP{PayloadContent: profile.SCEPContent{URL: l.https.URL + "/scep", Challenge: challenge}}
	if purpose == mdm.PurposeRenew {
		identity.PayloadUUID = profile.UUID("com.example.mdm" + string(challenge.Reveal()))
	}
	p, err := profile.Enrollment{Identifier: "com.example.mdm", Topic: topic, ServerURL: l.https.URL + "/mdm", Uses: l.server.Uses(), Identity: identity}.Profile()
	require.NoError(l, err)
	data, err := p.Encode()
	require.NoError(l, err)
	return data
}

// device returns a device that is not enrolled yet.
func (l *lab) device(cfg mdmtest.Config) *mdmtest.Device {
	cfg.RootCAs, cfg.Clock, cfg.NewKey = l.roots, l.now, keys.take
	d := mdmtest.NewDevice(cfg)
	l.devices = append(l.devices, d)
	return d
}

// enrolled returns an enrolled device; what follows from that is not settled yet.
func (l *lab) enrolled(cfg mdmtest.Config) *mdmtest.Device {
	l.Helper()
	d := l.device(cfg)
	require.NoError(l, d.Enroll(l.Context(), l.https.URL+"/enroll"))
	return d
}

func id(d *mdmtest.Device) mdm.EnrollmentID { return mdm.EnrollmentID{Device: d.ID()} }

// flush delivers events and takes the steps that are due; nobody connects.
func (l *lab) flush() {
	l.Helper()
	require.NoError(l, l.server.Flush(l.Context()))
}

// settle flushes and lets the devices connect until nothing happens any more: until two rounds in which no device gets a command.
func (l *lab) settle(devices ...*mdmtest.Device) {
	l.Helper()
	for quiet, round := 0, 0; quiet < 2; round++ {
		require.Less(l, round, 100, "it does not settle")
		l.flush()
		quiet++
		for _, d := range devices {
			if !d.Managed() {
				continue
			}
			before := len(d.History())
			require.NoError(l, d.Poll(l.Context()))
			if len(d.History()) > before {
				quiet = 0
			}
		}
	}
}

// advance moves the clock, in steps of at most an hour, and settles after each.
func (l *lab) advance(d time.Duration, devices ...*mdmtest.Device) {
	l.Helper()
	for d > 0 {
		step := min(d, time.Hour)
		l.ahead.Add(int64(step))
		d -= step
		l.settle(devices...)
	}
}

// runs returns the runs of a workflow.
func (l *lab) runs(name string) []workflow.Run {
	l.Helper()
	var out []workflow.Run
	for r, err := range l.stores.Runs.Runs(l.Context(), workflow.Query{Workflow: name}) {
		require.NoError(l, err)
		out = append(out, r)
	}
	return out
}

// took returns the request types that a device was sent and answered, in order.
func took(d *mdmtest.Device) []string {
	var out []string
	for _, done := range d.History() {
		out = append(out, done.Order.RequestType)
	}
	return out
}

// queue returns the entries of a device's queue, open and finished.
func (l *lab) queue(d *mdmtest.Device) []command.Entry {
	l.Helper()
	var out []command.Entry
	for e, err := range l.stores.Command.Entries(l.Context(), command.Query{From: id(d)}) {
		require.NoError(l, err)
		out = append(out, e)
	}
	return out
}

// events returns the events of a device, oldest first.
func (l *lab) events(d *mdmtest.Device) []mdm.Event {
	l.Helper()
	all, err := l.stores.Events.Events(l.Context(), "", 0, 100_000)
	require.NoError(l, err)
	var out []mdm.Event
	for _, e := range all {
		if e.Enrollment == id(d) {
			out = append(out, e)
		}
	}
	return out
}
