package dep_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/storage/memory"
)

var (
	start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	key   = dep.Key{Name: "main"}
)

// script is an Apple that answers as it is told: a page for each cursor.
type script struct {
	mu       sync.Mutex
	account  dep.Account
	fetch    map[string]answer // by cursor
	changes  map[string]answer
	devices  map[string]dep.Device // what details say; others are NOT_FOUND
	fails    map[string]error      // by call: "account", "details", "assign"
	statuses map[string]string     // what assign says to a device; others succeed
	applies  bool                  // whether assign changes what details say
	wait     time.Duration
	calls    []string
	asked    [][]string // serial numbers of each assign
}

type answer struct {
	page dep.DevicePage
	err  error
}

func (s *script) call(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, name)
	return s.fails[name]
}

func (s *script) Account(context.Context) (dep.Account, error) { return s.account, s.call("account") }

func (s *script) FetchDevices(_ context.Context, cursor string, _ int) (dep.DevicePage, error) {
	a, ok := s.fetch[cursor]
	if !ok {
		a.err = &dep.Error{Call: "POST /server/devices", Status: 400, Code: dep.ErrInvalidCursor}
	}
	if err := s.call("fetch " + cursor); err != nil {
		return dep.DevicePage{}, err
	}
	return a.page, a.err
}

func (s *script) SyncDevices(_ context.Context, cursor string, _ int) (dep.DevicePage, error) {
	a, ok := s.changes[cursor]
	if !ok {
		a.err = &dep.Error{Call: "POST /devices/sync", Status: 400, Code: dep.ErrExhaustedCursor}
	}
	if err := s.call("sync " + cursor); err != nil {
		return dep.DevicePage{}, err
	}
	return a.page, a.err
}

func (s *script) DeviceDetails(_ context.Context, serials []string) (map[string]dep.Device, error) {
	if err := s.call("details"); err != nil {
		return nil, err
	}
	out := map[string]dep.Device{}
	for _, serial := range serials {
		d, ok := s.devices[serial]
		d.SerialNumber, d.ResponseStatus = serial, dep.StatusSuccess
		if !ok {
			d.ResponseStatus = dep.StatusNotFound
		}
		out[serial] = d
	}
	return out, nil
}

func (s *script) AssignProfile(_ context.Context, uuid string, serials []string) (dep.Assigned, error) {
	if err := s.call("assign"); err != nil {
		return dep.Assigned{}, err
	}
	s.asked = append(s.asked, serials)
	out := dep.Assigned{Devices: map[string]string{}, RetryAfter: s.wait}
	for _, serial := range serials {
		word, told := s.statuses[serial]
		switch {
		case !told:
			word = dep.StatusSuccess
			if s.applies {
				d := s.devices[serial]
				d.ProfileUUID, d.ProfileStatus = uuid, dep.ProfileAssigned
				s.devices[serial] = d
			}
		case word == "":
			continue
		}
		out.Devices[serial] = word
	}
	return out, nil
}

func (s *script) DefineProfile(_ context.Context, p dep.Profile) (string, map[string]string, error) {
	return "uuid of " + p.Name, nil, s.call("define")
}

func (s *script) Profile(_ context.Context, uuid string) (dep.Profile, error) {
	return dep.Profile{Name: "name of " + uuid, URL: "https://mdm.example.com/enroll"}, s.call("profile")
}

// world is a server with a token, its store, and an Apple.
type world struct {
	t     *testing.T
	now   time.Time
	db    *memory.DB
	store dep.Store
	apple *script
	dep.Syncer
	assigner dep.Assigner
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: start, db: memory.New(), apple: &script{
		account: dep.Account{ServerUUID: "UUID-1"}, fetch: map[string]answer{"": {}}, changes: map[string]answer{}, devices: map[string]dep.Device{},
		fails: map[string]error{}, statuses: map[string]string{}, applies: true,
	}}
	w.store = w.db.Stores().DEP
	clock := func() time.Time { return w.now }
	w.Syncer = dep.Syncer{Store: w.store, Connect: func(dep.Key) dep.Source { return w.apple }, Clock: clock}
	w.assigner = dep.Assigner{Store: w.store, Connect: func(dep.Key) dep.Profiles { return w.apple }, Clock: clock}
	require.NoError(t, w.store.CreateServer(t.Context(), dep.Server{Key: key, AddedAt: start, Token: dep.Token{
		ConsumerKey: "CK", ConsumerSecret: mdm.SecretString("s"), AccessToken: mdm.SecretString("t"), AccessSecret: mdm.SecretString("u"),
	}}))
	return w
}

func (w *world) sync() dep.Progress {
	w.t.Helper()
	p, err := w.Sync(w.t.Context(), key)
	require.NoError(w.t, err)
	return p
}

// present lists the devices that are not gone.
func (w *world) present() (serials []string) {
	w.t.Helper()
	for r, err := range w.store.Records(w.t.Context(), dep.Query{Server: key}) {
		require.NoError(w.t, err)
		serials = append(serials, r.Serial)
	}
	return serials
}

func (w *world) record(serial string) dep.Record {
	w.t.Helper()
	records, err := w.store.DeviceRecords(w.t.Context(), "", serial)
	require.NoError(w.t, err)
	require.Len(w.t, records, 1)
	return records[0]
}

func (w *world) server() dep.Server {
	w.t.Helper()
	v, err := w.store.Server(w.t.Context(), key)
	require.NoError(w.t, err)
	return v
}

// events returns what was told since the last time, in short.
func (w *world) events() (out []string) {
	w.t.Helper()
	var log event.Log = w.db.Stores().Events
	all, err := log.Lease(w.t.Context(), "test", 10000, time.Minute)
	require.NoError(w.t, err)
	require.NoError(w.t, log.Ack(w.t.Context(), "test", all))
	for _, e := range all {
		out = append(out, string(e.Type)+" "+e.Name)
	}
	return out
}

func devices(serials ...string) (out []dep.Device) {
	for _, s := range serials {
		out = append(out, dep.Device{SerialNumber: s, Model: "iPhone"})
	}
	return out
}

func op(kind, serial string, minute int) dep.Device {
	return dep.Device{SerialNumber: serial, Model: "iPhone", OpType: kind, OpDate: start.Add(time.Duration(minute) * time.Minute)}
}

// fetched is a world whose devices were fetched, with the cursor "c".
func fetched(t *testing.T, serials ...string) *world {
	t.Helper()
	w := newWorld(t)
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices(serials...), Cursor: "c"}}
	for _, s := range serials {
		w.apple.devices[s] = dep.Device{Model: "iPhone"}
	}
	w.sync()
	w.events()
	w.apple.calls = nil
	return w
}

// noKeep is a store that is lost after some Keeps.
type noKeep struct {
	dep.Store
	after int
}

func (s *noKeep) Keep(ctx context.Context, k dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) error {
	if s.after--; s.after < 0 {
		return mdm.Errorf(mdm.Unavailable, "test", "the process has ended")
	}
	return s.Store.Keep(ctx, k, serials, keep)
}

func certificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}
