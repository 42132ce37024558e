package dep_test

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

var _ checkin.TokenSource = (*dep.ManagedAccounts)(nil)

func TestManagedAccountsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := &dep.ManagedAccounts{Store: w.store, Clock: w.Clock}
	id := mdm.EnrollmentID{Device: "UDID"}
	_, err := source.Token(t.Context(), id, nil)
	require.Equal(t, mdm.Malformed, mdm.CodeOf(err), "no account was read yet")

	pair, err := dep.NewKeyPair("main", start)
	require.NoError(t, err)
	_, err = w.store.ChangeServer(t.Context(), key, func(s *dep.Server) error {
		s.KeyPair = pair
		return nil
	})
	require.NoError(t, err)
	w.sync()
	jtis := map[string]bool{}
	for range 2 {
		token, err := source.Token(t.Context(), id, nil)
		require.NoError(t, err)
		parsed, err := jwt.ParseSigned(string(token.Reveal()), []jose.SignatureAlgorithm{jose.RS256})
		require.NoError(t, err)
		cert := certificate(t, pair.Certificate)
		var claims struct {
			jwt.Claims

			ServiceType string `json:"service_type"`
		}
		require.NoError(t, parsed.Claims(cert.PublicKey, &claims), "signed with the key whose certificate Apple has")
		assert.Equal(t, "UUID-1", claims.Issuer)
		assert.Equal(t, start, claims.IssuedAt.Time().UTC())
		assert.Equal(t, dep.MAIDService, claims.ServiceType)
		jtis[claims.ID] = true
	}
	assert.Len(t, jtis, 2, "each is used once")

	_, err = source.Token(t.Context(), mdm.EnrollmentID{Tenant: "other", Device: "UDID"}, nil)
	require.Equal(t, mdm.Malformed, mdm.CodeOf(err), "of another customer")
}
