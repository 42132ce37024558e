package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/storage"
)

// behind runs a statement behind the store's back.
func behind(t *testing.T, path, statement string) {
	t.Helper()
	raw, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = raw.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, raw.Close())
}

func TestSecretsOfServersCannotBeMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	store := open(t, path).Stores().DEP
	for _, key := range []dep.Key{{Name: "a"}, {Name: "b"}, {Tenant: "b", Name: "a"}} {
		require.NoError(t, store.CreateServer(t.Context(), dep.Server{Key: key, KeyPair: dep.KeyPair{Key: mdm.SecretString(key.String())}}))
	}
	behind(t, path, "UPDATE mdm_dep_servers SET sealed = (SELECT sealed FROM mdm_dep_servers WHERE tenant = '' AND name = 'a')")
	s, err := store.Server(t.Context(), dep.Key{Name: "a"})
	require.NoError(t, err)
	assert.Equal(t, "a", string(s.KeyPair.Key.Reveal()))
	for _, key := range []dep.Key{{Name: "b"}, {Tenant: "b", Name: "a"}} {
		s, err = store.Server(t.Context(), key)
		require.ErrorIs(t, err, storage.ErrSealed)
		assert.Equal(t, dep.Server{}, s)
		err = store.Keep(t.Context(), key, nil, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) { return dep.Kept{}, nil })
		require.ErrorIs(t, err, storage.ErrSealed)
	}
	require.NoError(t, store.DeleteServer(t.Context(), dep.Key{Name: "b"}), "what cannot be read can be deleted")
}

// TestDeletingServerIsFinished: a process was killed after it had deleted a server and before it had deleted all records.
func TestDeletingServerIsFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mdm.db")
	stores := open(t, path).Stores()
	left := func() (servers, devices int) {
		raw, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		require.NoError(t, raw.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM mdm_dep_servers), (SELECT COUNT(*) FROM mdm_dep_devices)").Scan(&servers, &devices))
		require.NoError(t, raw.Close())
		return servers, devices
	}
	key := dep.Key{Name: "a"}
	for name, finish := range map[string]func(){
		"sweep": func() {
			_, err := stores.Sweep.Sweep(t.Context(), time.Now(), storage.Retention{})
			require.NoError(t, err)
		},
		"deleted again": func() { require.NoError(t, stores.DEP.DeleteServer(t.Context(), key)) },
	} {
		require.NoError(t, stores.DEP.CreateServer(t.Context(), dep.Server{Key: key}))
		require.NoError(t, stores.DEP.Keep(t.Context(), key, nil, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
			return dep.Kept{Records: []dep.Record{{Server: key, Serial: "C02"}}}, nil
		}))
		behind(t, path, "UPDATE mdm_dep_servers SET deleted = id, body = '', sealed = x''")
		_, err := stores.DEP.Server(t.Context(), key)
		assert.Equal(t, mdm.NotFound, mdm.CodeOf(err))
		found, err := stores.DEP.DeviceRecords(t.Context(), "", "C02")
		require.NoError(t, err)
		assert.Empty(t, found)
		servers, devices := left()
		assert.Equal(t, []int{1, 1}, []int{servers, devices}, "before: %s", name)
		finish()
		servers, devices = left()
		assert.Equal(t, []int{0, 0}, []int{servers, devices}, name)
	}
}
