package dep

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
)

// MAIDService is the TokenServiceType under which devices ask for the token of [ManagedAccounts].
const MAIDService = "com.apple.maid"

// ManagedAccounts answers a device that asks, by GetToken, for what shows Apple that it is managed by a server of the
// organization, as access management for Managed Apple Accounts wants it. The token is a JWT signed with the key of the server's
// certificate at Apple (Apple: GetToken). It is a checkin.TokenSource: give it to a checkin.Service under [MAIDService].
type ManagedAccounts struct {
	Store Store // required
	// Server says which server at Apple a device belongs to. Nil: the first one of its tenant whose account is known.
	Server func(ctx context.Context, id mdm.EnrollmentID) (Key, error)
	Clock  func() time.Time // nil: time.Now
}

// Token makes a token. The error is Malformed if there is no server for the device, which
// Apple asks for where a service is not there; Unavailable if its account was not read yet.
func (m *ManagedAccounts) Token(ctx context.Context, id mdm.EnrollmentID, _ map[string]any) (mdm.Secret, error) {
	const op = "dep.ManagedAccounts"
	v, err := m.server(ctx, id)
	if err != nil {
		return mdm.Secret{}, err
	}
	if v.Account.ServerUUID == "" {
		return mdm.Secret{}, mdm.Errorf(mdm.Unavailable, op, "the account of server %q was not read yet", v.Key)
	}
	pair, err := tls.X509KeyPair(v.KeyPair.Certificate, v.KeyPair.Key.Reveal())
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if err != nil || !ok {
		return mdm.Secret{}, mdm.Errorf(mdm.Internal, op, "the key of server %q cannot sign", v.Key)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	now := time.Now
	if m.Clock != nil {
		now = m.Clock
	}
	text, err := jwt.Signed(signer).Claims(struct {
		jwt.Claims

		ServiceType string `json:"service_type"`
	}{jwt.Claims{Issuer: v.Account.ServerUUID, IssuedAt: jwt.NewNumericDate(now()), ID: uuid.NewString()}, MAIDService}).Serialize()
	if err != nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Internal, op, "%w", err)
	}
	return mdm.SecretString(text), nil
}

func (m *ManagedAccounts) server(ctx context.Context, id mdm.EnrollmentID) (Server, error) {
	if m.Server != nil {
		key, err := m.Server(ctx, id)
		if err != nil {
			return Server{}, err
		}
		return m.Store.Server(ctx, key)
	}
	for v, err := range m.Store.Servers(ctx, id.Tenant) {
		if err != nil || v.Account.ServerUUID != "" {
			return v, err
		}
	}
	return Server{}, mdm.Errorf(mdm.Malformed, "dep.ManagedAccounts", "no server of Apple Business Manager is known")
}
