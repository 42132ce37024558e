package storagetest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func depServerCases() []testCase {
	return []testCase{
		{name: "kept as it is",
			why: "dep.Store: what is written comes back as Server.Body keeps it, with its secrets; times in UTC, to the microsecond",
			run: serverKept},
		{name: "keys of all kinds",
			why: "dep.Key: a name is printable text; names and tenants are compared by their bytes",
			run: serverKeys},
		{name: "keys that cannot be kept",
			why: "dep.Store: CreateServer returns a Malformed error; for everything else there is no such server",
			run: serverBadKeys},
		{name: "a key is used once",
			why: "dep.Store: CreateServer returns a Malformed error if the key is taken, on every handle",
			run: serverTaken},
		{name: "secrets are changed and taken away",
			why: "dep.Server: stores seal the key pair and the token; zero until it was imported",
			run: serverSecrets},
		{name: "a change",
			why: "dep.Store: ChangeServer returns the server as it was written; its key and AddedAt cannot be changed",
			run: serverChanged},
		{name: "a change that fails",
			why: "dep.Store: if change fails nothing is written, and its error is returned as it is",
			run: serverFailed},
		{name: "what cannot be kept of a server",
			why: "dep.Server.Body: a Malformed error, and nothing is written",
			run: serverLimits},
		{name: "many changes at once",
			why: "dep.Store: nothing comes between, neither another ChangeServer nor a Keep",
			run: serverCounted},
		{name: "listed by name",
			why: "dep.Store: Servers yields those of a tenant, ordered by name, with all of their secrets",
			run: serversListed},
		{name: "deleted",
			why: "dep.Store: DeleteServer deletes a server and all its records; it is no error if there is none, and the name is free",
			run: serverDeleted},
		{name: "deleted with thousands of devices",
			why: "dep.Store: DeleteServer deletes in bounded transactions; who keeps records meanwhile is told NotFound, and none of them turns up again",
			run: serverDeletedMany},
		{name: "nothing of a canceled context",
			why: "dep.Store: a call that fails has written nothing",
			run: serverCanceled},
		{name: "on another handle", needs: needsDurable,
			why: "dep.Store: the server may be started again between two calls of Apple's",
			run: serverRestarted},
	}
}

func serverKey(name string) dep.Key { return dep.Key{Tenant: "tenant", Name: name} }

// fullServer returns one with all fields set.
func fullServer(key dep.Key) dep.Server {
	at := func(n int) time.Time {
		return endOfJuly.Add(time.Duration(n)*time.Hour + time.Duration(n)*time.Microsecond)
	}
	return dep.Server{
		Key:     key,
		KeyPair: dep.KeyPair{Certificate: []byte("a certificate"), Key: mdm.SecretString("a key of " + key.Name)},
		Token: dep.Token{ConsumerKey: "CK_1", ConsumerSecret: mdm.SecretString("CS_1"), AccessToken: mdm.SecretString("AT_1"),
			AccessSecret: mdm.SecretString("AS_1"), Expires: at(1)},
		Account: dep.Account{ServerName: "Ours", ServerUUID: "677CAB70", AdminID: "admin@example.com", OrgName: "Änne & Söhne <1>", OrgEmail: "o@example.com",
			OrgPhone: "1", OrgAddress: "Street 1\nTown", OrgID: "12", OrgIDHash: "ab", OrgType: "org", OrgVersion: "v2",
			URLs: []dep.URLLimit{{URI: "/devices", Methods: []string{"POST"}}}},
		AddedAt: at(2), Profile: "88FC4E37",
		Sync: dep.Sync{Phase: dep.PhaseSweep, Cursor: "MTY", Round: 4, Swept: "C02", Holder: "h", HeldUntil: at(3), FetchBegunAt: at(4), FetchedAt: at(5),
			At: at(6), Until: at(7), NotBefore: at(8), Fetched: 9},
		Stopped: &dep.Problem{Code: "T_C_NOT_SIGNED", Text: "sign", Since: at(9), At: at(10)},
	}
}

// revealed is a server that can be compared.
type revealed struct {
	Server  dep.Server
	Secrets string
}

func (w *world) reveal(s dep.Server) revealed {
	w.Helper()
	secrets, err := s.Secrets()
	require.NoError(w, err)
	s.KeyPair, s.Token = dep.KeyPair{}, dep.Token{}
	return revealed{s, string(secrets.Reveal())}
}

func (w *world) sameServer(want, got dep.Server) {
	w.Helper()
	assert.Equal(w, w.reveal(want), w.reveal(got))
}

func (w *world) addServer(s dep.Server) {
	w.Helper()
	require.NoError(w, w.DEP.CreateServer(w.Context(), s))
}

// added returns the key of a new server without anything.
func (w *world) added(name string) dep.Key {
	w.Helper()
	key := serverKey(name)
	w.addServer(dep.Server{Key: key, AddedAt: endOfJuly})
	return key
}

func (w *world) expectServer(want dep.Server) {
	w.Helper()
	got, err := w.DEP.Server(w.Context(), want.Key)
	require.NoError(w, err)
	w.sameServer(want, got)
}

func (w *world) noServer(key dep.Key) {
	w.Helper()
	got, err := w.DEP.Server(w.Context(), key)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%q", key)
	assert.Equal(w, dep.Server{}, got)
}

func (w *world) servers(tenant string) []dep.Server {
	w.Helper()
	out := []dep.Server{}
	for s, err := range w.DEP.Servers(w.Context(), tenant) {
		require.NoError(w, err)
		out = append(out, s)
	}
	return out
}

func (w *world) changeServer(key dep.Key, change func(*dep.Server)) dep.Server {
	w.Helper()
	out, err := w.DEP.ChangeServer(w.Context(), key, func(s *dep.Server) error {
		change(s)
		return nil
	})
	require.NoError(w, err)
	return out
}

func serverKept(w *world) {
	full, bare := fullServer(serverKey("full")), dep.Server{Key: dep.Key{Name: "bare"}}
	w.addServer(full)
	w.addServer(bare)
	w.expectServer(full)
	w.expectServer(bare)
	precise := fullServer(serverKey("precise"))
	zone := time.FixedZone("", -7200)
	precise.AddedAt = time.Date(2027, 1, 2, 3, 4, 5, 678_901_999, zone)
	precise.Sync.Until, precise.Stopped.At, precise.Token.Expires = precise.AddedAt, precise.AddedAt, precise.AddedAt
	w.addServer(precise)
	at := precise.AddedAt.UTC().Truncate(time.Microsecond)
	precise.AddedAt, precise.Sync.Until, precise.Stopped.At, precise.Token.Expires = at, at, at, at
	w.expectServer(precise)
	got, err := w.DEP.Server(w.Context(), precise.Key)
	require.NoError(w, err)
	got.Stopped.Text, got.Account.URLs[0].URI, got.KeyPair.Certificate[0] = "mine", "mine", 'X'
	w.expectServer(precise)
	assert.Equal(w, time.UTC, got.Token.Expires.Location())
	binary := dep.Server{Key: serverKey("binary"), KeyPair: dep.KeyPair{Certificate: []byte{0, 255}, Key: mdm.NewSecret([]byte{0, 254, 10})}}
	w.addServer(binary)
	w.expectServer(binary)
}

// oddNames are different from each other, if only by their bytes.
var oddNames = []string{"abc", "ABC", "abc ", " abc", "abc.", "äbc", "a\u0308bc", "Ábc", "straße", "strasse", "ａｂｃ", "日本語", "😀", "'; DROP TABLE x; --", "%", "_", `\'"`,
	"a/b", "a~b", "~", "İ", "ı", "i", "I", strings.Repeat("x", 255), strings.Repeat("ü", 127)}

func serverKeys(w *world) {
	var want []dep.Server
	for i, name := range oddNames {
		for _, key := range []dep.Key{{Name: name}, {Tenant: name, Name: "n"}, {Tenant: "t", Name: name}} {
			s := dep.Server{Key: key, Profile: numbered("p", i), KeyPair: dep.KeyPair{Key: mdm.SecretString(numbered("k", i))}}
			w.addServer(s)
			want = append(want, s)
		}
	}
	for _, s := range want {
		w.expectServer(s)
	}
	var found []string
	for _, s := range w.servers("t") {
		found = append(found, s.Name)
	}
	assert.Equal(w, slices.Sorted(slices.Values(oddNames)), found, "ordered by bytes")
	for _, name := range oddNames {
		require.NoError(w, w.DEP.DeleteServer(w.Context(), dep.Key{Tenant: "t", Name: name}))
		w.noServer(dep.Key{Tenant: "t", Name: name})
	}
	w.expectServer(dep.Server{Key: dep.Key{Name: "abc"}, Profile: numbered("p", 0), KeyPair: dep.KeyPair{Key: mdm.SecretString(numbered("k", 0))}})
}

func serverBadKeys(w *world) {
	w.added("there")
	for _, bad := range []string{"\x00", "a\x00", "\xff", "a\nb", "\t", "\u200b", strings.Repeat("x", 256), strings.Repeat("ü", 128)} {
		for _, key := range []dep.Key{{Name: bad}, {Tenant: bad, Name: "n"}} {
			assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.DEP.CreateServer(w.Context(), dep.Server{Key: key})), "%q", key)
			w.noSuchServer(key)
		}
		assert.Empty(w, w.servers(bad))
	}
	assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.DEP.CreateServer(w.Context(), dep.Server{})))
	for _, key := range []dep.Key{{}, {Tenant: "tenant"}, {Tenant: "tenant", Name: "There"}, {Tenant: "Tenant", Name: "there"}, {Name: "there"}, {Tenant: "tenant", Name: "there "}} {
		w.noSuchServer(key)
	}
}

// noSuchServer asks everything of a server that there is not.
func (w *world) noSuchServer(key dep.Key) {
	w.Helper()
	w.noServer(key)
	_, err := w.DEP.ChangeServer(w.Context(), key, func(*dep.Server) error {
		w.Errorf("there is nothing to change")
		return nil
	})
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%q", key)
	err = w.DEP.Keep(w.Context(), key, []string{"C02"}, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
		w.Errorf("there is nothing to keep")
		return dep.Kept{}, nil
	})
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err), "%q", key)
	assert.Empty(w, w.records(dep.Query{Server: key}))
	counts, err := w.DEP.CountRecords(w.Context(), key)
	require.NoError(w, err)
	assert.Equal(w, dep.Counts{}, counts)
	require.NoError(w, w.DEP.DeleteServer(w.Context(), key))
}

func serverTaken(w *world) {
	first := fullServer(serverKey("a"))
	w.addServer(first)
	for _, again := range []dep.Server{first, {Key: first.Key}} {
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(w.DEP.CreateServer(w.Context(), again)))
	}
	w.expectServer(first)
	w.addServer(dep.Server{Key: dep.Key{Tenant: "other", Name: "a"}})

	handles := []*world{w, w.again()}
	var won []dep.Server
	var mu sync.Mutex
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			s := fullServer(serverKey("raced"))
			s.Profile = numbered("p", i)
			if err := handles[i%2].DEP.CreateServer(w.Context(), s); err != nil {
				assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), "%v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			won = append(won, s)
		})
	}
	group.Wait()
	require.Len(w, won, 1)
	w.expectServer(won[0])
}

func serversListed(w *world) {
	assert.Empty(w, w.servers("tenant"))
	for _, name := range []string{"b", "B", "a", "ab"} {
		w.addServer(fullServer(serverKey(name)))
		w.addServer(fullServer(dep.Key{Tenant: "another", Name: name}))
	}
	var found []string
	for _, s := range w.servers("tenant") {
		w.sameServer(fullServer(serverKey(s.Name)), s)
		found = append(found, s.Name)
	}
	assert.Equal(w, []string{"B", "a", "ab", "b"}, found)
	for range w.DEP.Servers(w.Context(), "tenant") {
		break // its reader has enough
	}
	assert.Empty(w, w.servers(""))
	for _, err := range w.DEP.Servers(canceled(), "tenant") {
		require.Error(w, err)
	}
}
