package dep_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/storage/memory"
)

func TestEnlistKeepsTheKeyPairThatIsThere(t *testing.T) {
	t.Parallel()
	store := memory.New().Stores().DEP
	first, err := dep.Enlist(t.Context(), store, key, start)
	require.NoError(t, err)
	again, err := dep.Enlist(t.Context(), store, key, start)
	require.NoError(t, err)
	assert.Equal(t, first.KeyPair.Certificate, again.KeyPair.Certificate)
	_, err = dep.Enlist(t.Context(), store, dep.Key{Name: "\x00"}, start)
	require.Error(t, err)
}

func TestImportOfATokenOfAnotherServer(t *testing.T) {
	t.Parallel()
	apple := mdmtest.NewABM()
	defer apple.Close()
	store := memory.New().Stores().DEP
	v, err := dep.Enlist(t.Context(), store, key, start)
	require.NoError(t, err)
	one, other := apple.Server("One"), apple.Server("Other")
	take := func(at *mdmtest.ABMServer, meant bool) error {
		_, err := dep.Import(t.Context(), store, key, apple.Token(at, v.KeyPair.Certificate), meant, start)
		return err
	}
	require.NoError(t, take(one, false))
	w := &world{t: t, store: store, now: start, apple: &script{account: dep.Account{ServerUUID: "UUID-1"}, fails: map[string]error{}, devices: map[string]dep.Device{}}}
	w.apple.fetch = map[string]answer{"": {page: dep.DevicePage{Devices: devices("A", "B"), Cursor: "c"}}}
	w.Syncer = dep.Syncer{Store: store, Connect: func(dep.Key) dep.Source { return w.apple }}
	w.assigner = dep.Assigner{Store: store, Connect: func(dep.Key) dep.Profiles { return w.apple }}
	w.sync()
	_, err = w.assigner.Learn(t.Context(), key, "P")
	require.NoError(t, err)
	require.NoError(t, w.assigner.SetProfile(t.Context(), key, "P"))
	_, err = w.assigner.Want(t.Context(), key, "Q", "B")
	require.NoError(t, err)
	before := w.server().Token.ConsumerKey

	require.ErrorIs(t, take(other, false), dep.ErrOtherServer)
	assert.Equal(t, before, w.server().Token.ConsumerKey)

	// What a sync that is on has heard of the old server is not kept.
	w.apple.changes = map[string]answer{"c": {page: dep.DevicePage{Devices: []dep.Device{op("added", "of the old one", 1), op("added", "OLD", 1)}, Cursor: "d"}}}
	w.Handle = func(context.Context, dep.Key, []dep.Told) error { return take(other, true) }
	_, err = w.Sync(t.Context(), key)
	require.ErrorIs(t, err, dep.ErrLost)
	assert.Equal(t, []string{"A", "B"}, w.present())
	assert.Empty(t, w.server().Profile)
	assert.Empty(t, w.server().Profiles)

	w.Handle = nil
	w.apple.account.ServerUUID = "UUID-2"
	w.apple.fetch[""] = answer{page: dep.DevicePage{Devices: devices("B", "C"), Cursor: "e"}}
	w.sync()
	assert.Equal(t, []string{"B", "C"}, w.present(), "those of the server before are gone")
	assert.Equal(t, "UUID-2", w.server().Account.ServerUUID)
	w.assign()
	assert.NotContains(t, w.apple.calls, "assign", "a wish for a profile of the server before is void")

	_, err = dep.Import(t.Context(), store, key, apple.Token(other, v.KeyPair.Certificate), false, start.AddDate(2, 0, 0))
	require.ErrorIs(t, err, dep.ErrTokenExpired)
}
