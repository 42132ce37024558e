package dep_test

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/storage/memory"
)

// TestSyncAndAssignWithOddities has devices move while Apple is as odd as it can be, and looks whether all comes right.
func TestSyncAndAssignWithOddities(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]mdmtest.ABMOddities{
		"more":     {TextMore: true, QuoteErrors: true, ShortPages: true, EmptyEvery: 3},
		"order":    {Twice: 3, Overlap: 10, Shuffle: true, Grows: true},
		"no types": {NoOpType: 2, Shuffle: true, Twice: 2},
		"no dates": {NoOpDate: 2, Shuffle: true, Twice: 2},
		"words":    {OpType: "reshuffled", Overlap: 5},
		"quiet":    {QuietChanges: true, Shuffle: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := start
			apple := mdmtest.ABMConfig{Clock: func() time.Time { return now }}.Start()
			defer apple.Close()
			apple.SetOddities(odd)
			server, other := apple.Server("MDM"), apple.Server("Other")
			apple.AddMany(server, 300)
			store := memory.New().Stores().DEP
			v, err := dep.Enlist(t.Context(), store, key, now)
			require.NoError(t, err)
			_, err = dep.Import(t.Context(), store, key, apple.Token(server, v.KeyPair.Certificate), false, now)
			require.NoError(t, err)
			client := &dep.Client{Token: dep.StoredToken(store, key), BaseURL: apple.URL(), Clock: func() time.Time { return now },
				HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: apple.RootCAs(), MinVersion: tls.VersionTLS12}}}}
			clock := func() time.Time { return now }
			s := dep.Syncer{Store: store, Connect: func(dep.Key) dep.Source { return client }, Clock: clock, PageSize: 50}
			a := dep.Assigner{Store: store, Connect: func(dep.Key) dep.Profiles { return client }, Clock: clock}
			_, err = s.Sync(t.Context(), key)
			require.NoError(t, err)
			uuid, err := a.Define(t.Context(), key, dep.Profile{Name: "P", URL: "https://mdm.example.com/ade"})
			require.NoError(t, err)
			require.NoError(t, a.SetProfile(t.Context(), key, uuid))
			for round := range 5 {
				moving := serialsOf(apple, server, round*7, 60)
				now = now.Add(time.Minute)
				apple.Move(other, moving...)
				now = now.Add(time.Minute)
				apple.Move(server, moving[:30]...)
				apple.AddMany(server, 20)
				now = now.Add(time.Minute)
				_, err := s.Sync(t.Context(), key)
				require.NoError(t, err)
				_, err = a.Assign(t.Context(), key)
				require.NoError(t, err)
			}
			var sum uint64
			for r, err := range store.Records(t.Context(), dep.Query{Server: key}) {
				require.NoError(t, err)
				sum += mdmtest.ABMFingerprint(r.Serial, r.Device.ProfileUUID)
				assert.Equal(t, uuid, r.Device.ProfileUUID, r.Serial)
			}
			assert.Equal(t, apple.Fingerprint(server), sum, "exactly the devices of the server, and their profiles")
			assert.Empty(t, apple.Violations())
		})
	}
}
