package dep_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// A copy of this program finds in the environment which database it syncs, and from which Apple, until it is killed.
const (
	replicaDB    = "APPLEMDM_DEP_REPLICA_DB"
	replicaURL   = "APPLEMDM_DEP_REPLICA_URL"
	replicaRoots = "APPLEMDM_DEP_REPLICA_ROOTS"

	fleetVariable = "APPLEMDM_TEST_FLEET" // how many devices there are, as 1000000
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(replicaDB); dsn != "" {
		fmt.Println("ended", replica(dsn, os.Getenv(replicaURL), os.Getenv(replicaRoots)))
		return
	}
	os.Exit(m.Run())
}

// replica syncs until all is done, and says after each page how far it is and how much memory it has in use.
func replica(dsn, url, roots string) error {
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Minute)
	defer stop()
	stores, err := openFleet(ctx, dsn)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	s := fleetSyncer(stores.DEP, url, pool)
	var pages int
	s.Progress = func(p dep.Progress) {
		if pages++; pages%50 == 1 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println("heap", m.HeapInuse)
		}
		fmt.Println("at", p.Phase, p.Fetched)
	}
	for {
		_, err := s.Sync(ctx, key)
		var passing *mdm.Error
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, dep.ErrHeld), errors.Is(err, dep.ErrLost), errors.As(err, &passing) && passing.Code == mdm.Unavailable:
			time.Sleep(min(max(dep.RetryAfter(err), 20*time.Millisecond), time.Second))
		default:
			return err
		}
	}
}

func fleetSyncer(store dep.Store, url string, roots *x509.CertPool) *dep.Syncer {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	client := &dep.Client{Token: dep.StoredToken(store, key), BaseURL: url, HTTP: &http.Client{Transport: transport}}
	return &dep.Syncer{Store: store, Connect: func(dep.Key) dep.Source { return client }, Lease: 3 * time.Second}
}

func openFleet(ctx context.Context, dsn string) (storage.Stores, error) {
	kind, name, _ := strings.Cut(dsn, "=")
	sealer, err := storage.NewAESGCM(make([]byte, storage.KeySize))
	if err != nil {
		return storage.Stores{}, err
	}
	if kind == "postgres" {
		db, err := postgres.Open(ctx, name, &postgres.Config{Sealer: sealer})
		if err != nil {
			return storage.Stores{}, err
		}
		return db.Stores(), nil
	}
	db, err := sqlite.Open(ctx, name, &sqlite.Config{Sealer: sealer})
	if err != nil {
		return storage.Stores{}, err
	}
	return db.Stores(), nil
}

// TestSyncOfAFleet syncs many devices with two processes that are killed in the middle, while Apple has troubles and devices move.
// With APPLEMDM_TEST_FLEET=1000000 there are so many.
func TestSyncOfAFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are killed in long runs only")
	}
	n := 20_000
	if v := os.Getenv(fleetVariable); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	t.Run("sqlite", func(t *testing.T) { syncFleet(t, "sqlite="+filepath.Join(t.TempDir(), "mdm.db"), n) })
	t.Run("postgres", func(t *testing.T) { syncFleet(t, "postgres="+postgresSchema(t), n) })
}

func syncFleet(t *testing.T, dsn string, n int) {
	apple := mdmtest.ABMConfig{Seed: 7}.Start()
	defer apple.Close()
	server, other := apple.Server("MDM"), apple.Server("Other")
	apple.AddMany(server, n)
	stores, err := openFleet(t.Context(), dsn)
	require.NoError(t, err)
	v, err := dep.Enlist(t.Context(), stores.DEP, key, time.Now())
	require.NoError(t, err)
	_, err = dep.Import(t.Context(), stores.DEP, key, apple.Token(server, v.KeyPair.Certificate), false, time.Now())
	require.NoError(t, err)
	rate := max(0.02, min(0.2, 4000/float64(n))) // some in any fleet
	apple.Inject(mdmtest.ABMFaults{Faults: mdmtest.ABMTroubles(), Rate: rate, Times: 200})

	f := &fleet{t: t, dsn: dsn, url: apple.URL(), roots: rootsFile(t, apple)}
	began := time.Now()
	two := [2]*run{f.start(), f.start()}
	var killed int
	for done := 0; done < 2; {
		select {
		case <-t.Context().Done():
			t.Fatal("out of time")
		case r := <-f.reports():
			if r.ended {
				require.Equal(t, "<nil>", r.how)
				done++
				continue
			}
			// The first at a third, the second at two thirds; then devices move.
			if limit := n * (killed + 1) / 3; killed < 2 && r.fetched > limit {
				killed++
				t.Logf("%d devices after %v: one is killed", r.fetched, time.Since(began).Round(time.Millisecond))
				for i := range two {
					if two[i] == r.run {
						two[i].kill()
						two[i] = f.start()
					}
				}
				apple.AddMany(server, 10)
				apple.Move(other, serialsOf(apple, server, killed*100, 5)...)
			}
		}
	}
	require.Equal(t, 2, killed)
	apple.Inject(mdmtest.ABMFaults{})
	_, err = fleetSyncer(stores.DEP, apple.URL(), apple.RootCAs()).Sync(t.Context(), key)
	require.NoError(t, err)
	took := time.Since(began)
	t.Logf("%d devices in %v, %.0f/s, with %d faults; most heap in use %.1f MB", n, took.Round(time.Millisecond), float64(n)/took.Seconds(),
		apple.Totals().Faults, float64(f.most())/1e6)

	var sum uint64
	count := 0
	for r, err := range stores.DEP.Records(t.Context(), dep.Query{Server: key}) {
		require.NoError(t, err)
		sum += mdmtest.ABMFingerprint(r.Serial, r.Device.ProfileUUID)
		count++
	}
	assert.Equal(t, apple.Count(server), count)
	assert.Equal(t, apple.Fingerprint(server), sum, "exactly the devices of the server")
	assert.Equal(t, n+10, count)
	assert.Equal(t, 1, apple.Totals().AtOnce["MDM"], "never two at once")
	assert.Empty(t, apple.Violations())
	assert.Less(t, f.most(), uint64(64<<20), "memory does not grow with the fleet")
	for _, serial := range serialsOf(apple, other, 0, 10) {
		records, err := stores.DEP.DeviceRecords(t.Context(), "", serial)
		require.NoError(t, err)
		for _, r := range records {
			assert.True(t, r.Gone, "it moved")
		}
	}
}

// fleet is a run of replicas.
type fleet struct {
	t               *testing.T
	dsn, url, roots string

	mu   sync.Mutex
	said chan report
	heap uint64
}

type report struct {
	*run
	fetched int
	ended   bool
	how     string
}

type run struct {
	*exec.Cmd

	killed chan struct{}
}

func (f *fleet) reports() <-chan report { return f.said }

func (f *fleet) most() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heap
}

// start starts a replica, whose words are read until it ends.
func (f *fleet) start() *run {
	f.t.Helper()
	if f.said == nil {
		f.said = make(chan report, 10_000)
	}
	program, err := os.Executable()
	require.NoError(f.t, err)
	r := &run{exec.CommandContext(f.t.Context(), program), make(chan struct{})}
	r.Env = append(os.Environ(), replicaDB+"="+f.dsn, replicaURL+"="+f.url, replicaRoots+"="+f.roots)
	r.Stderr = os.Stderr
	out, err := r.StdoutPipe()
	require.NoError(f.t, err)
	require.NoError(f.t, r.Start())
	go func() {
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			f.hear(r, scanner.Text())
		}
		_ = r.Wait()
	}()
	return r
}

func (f *fleet) hear(r *run, line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "heap":
		n, _ := strconv.ParseUint(rest, 10, 64)
		f.mu.Lock()
		f.heap = max(f.heap, n)
		f.mu.Unlock()
	case "at":
		_, number, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(number)
		f.tell(report{run: r, fetched: n})
	case "ended":
		f.tell(report{run: r, ended: true, how: rest})
	}
}

func (f *fleet) tell(r report) {
	select {
	case <-r.killed:
	case f.said <- r:
	}
}

// kill ends a replica at once.
func (r *run) kill() {
	close(r.killed)
	_ = r.Process.Kill()
}

// serialsOf returns some of a server's.
func serialsOf(a *mdmtest.ABM, s *mdmtest.ABMServer, from, n int) (out []string) {
	for serial := range a.Serials(s) {
		if from--; from < 0 {
			if len(out) == n {
				break
			}
			out = append(out, serial)
		}
	}
	return out
}

// rootsFile has whom to trust for the stand-in of Apple.
func rootsFile(t *testing.T, apple *mdmtest.ABM) string {
	t.Helper()
	u, err := url.Parse(apple.URL())
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: apple.RootCAs(), MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	defer conn.Close()
	chain := conn.ConnectionState().VerifiedChains[0]
	name := filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw})
	require.NoError(t, os.WriteFile(name, text, 0o600))
	return name
}

// postgresSchema gives the test a schema of its own.
func postgresSchema(t *testing.T) string {
	t.Helper()
	dsn := os.Getenv("APPLEMDM_TEST_POSTGRES")
	if dsn == "" {
		t.Skip("APPLEMDM_TEST_POSTGRES is not set: the tests against that server are skipped")
	}
	admin, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	schema := "dep_" + strings.ToLower(rand.Text())
	_, err = admin.Exec(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, admin.Close(context.Background()))
	})
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	return dsn + separator + "search_path=" + schema
}
