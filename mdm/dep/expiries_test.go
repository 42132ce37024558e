package dep_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/expiry"
)

func TestExpiries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := start.Add(365 * 24 * time.Hour)
	_, err := w.store.ChangeServer(t.Context(), key, func(v *dep.Server) error {
		v.Token.Expires = ends
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, w.store.CreateServer(t.Context(), dep.Server{Key: dep.Key{Name: "no token yet"}}))
	require.NoError(t, w.store.CreateServer(t.Context(), dep.Server{Key: dep.Key{Tenant: "other", Name: "x"}, Token: dep.Token{ConsumerKey: "x", Expires: ends}}))
	var items []expiry.Item
	for item, err := range dep.Expiries(w.store, "").Items(t.Context()) {
		require.NoError(t, err)
		items = append(items, item)
	}
	assert.Equal(t, []expiry.Item{{Kind: expiry.DEPToken, Name: "main", NotAfter: ends}}, items)
}
