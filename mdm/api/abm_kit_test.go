package api

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// abmKit is an API over servers of a simulated Apple.
type abmKit struct {
	*kit
	apple    *mdmtest.ABM
	server   *mdmtest.ABMServer
	syncer   *dep.Syncer
	assigner *dep.Assigner
	log      bytes.Buffer
}

var mainKey = dep.Key{Name: "main"}

func newABMKit(t *testing.T, change ...func(*Config)) *abmKit {
	t.Helper()
	k := &abmKit{apple: mdmtest.NewABM()}
	t.Cleanup(k.apple.Close)
	k.server = k.apple.Server("MDM")
	clients := map[dep.Key]*dep.Client{}
	var mu sync.Mutex
	k.kit = newKit(t, append([]func(*Config){func(c *Config) {
		client := func(key dep.Key) *dep.Client {
			mu.Lock()
			defer mu.Unlock()
			if clients[key] == nil {
				transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.apple.RootCAs(), MinVersion: tls.VersionTLS12}}
				t.Cleanup(transport.CloseIdleConnections)
				clients[key] = &dep.Client{Token: dep.StoredToken(c.Stores.DEP, key), BaseURL: k.apple.URL(), HTTP: &http.Client{Transport: transport}, MaxWait: -1}
			}
			return clients[key]
		}
		k.syncer = &dep.Syncer{Store: c.Stores.DEP, Connect: func(key dep.Key) dep.Source { return client(key) }}
		k.assigner = &dep.Assigner{Store: c.Stores.DEP, Connect: func(key dep.Key) dep.Profiles { return client(key) }}
		c.Syncer, c.Assigner, c.Logger = k.syncer, k.assigner, slog.New(slog.NewTextHandler(&k.log, nil))
	}}, change...)...)
	return k
}

// token is the file that Apple gives for a server, by its certificate in an answer.
func (k *abmKit) token(of *mdmtest.ABMServer, answer map[string]any) string {
	k.Helper()
	return string(k.apple.Token(of, []byte(answer["certificate"].(string))))
}

// ready enlists the server "main", with its token, and syncs it.
func (k *abmKit) ready(serials ...string) {
	k.Helper()
	k.apple.AddSerials(k.server, serials...)
	k.do(200, "PUT", "/v1/abm/servers/main/token", k.token(k.server, k.do(200, "PUT", "/v1/abm/servers/main", "")))
	k.sync()
}

func (k *abmKit) sync() {
	k.Helper()
	_, err := k.syncer.Sync(k.Context(), mainKey)
	require.NoError(k, err)
}

func (k *abmKit) assign() {
	k.Helper()
	_, err := k.assigner.Assign(k.Context(), mainKey)
	require.NoError(k, err)
}

// no asks for something that is refused, and returns why.
func (k *abmKit) no(status int, method, target, body string, headers ...string) map[string]any {
	k.Helper()
	return k.do(status, method, target, body, headers...)["error"].(map[string]any)
}

// device returns what the API says of a device of the server "main".
func (k *abmKit) device(serial string) map[string]any {
	k.Helper()
	list := k.do(200, "GET", "/v1/abm/devices/"+serial, "")["devices"].([]any)
	require.Len(k, list, 1)
	return list[0].(map[string]any)
}

// noSecrets holds an answer against all that it must not have.
func (k *abmKit) noSecrets(texts ...string) {
	k.Helper()
	v, err := k.stores.DEP.Server(k.Context(), mainKey)
	require.NoError(k, err)
	for _, text := range texts {
		for _, secret := range []string{v.Token.ConsumerKey, string(v.Token.ConsumerSecret.Reveal()), string(v.Token.AccessToken.Reveal()),
			string(v.Token.AccessSecret.Reveal()), "PRIVATE KEY"} {
			require.NotEmpty(k, secret)
			assert.NotContains(k, text, secret)
		}
	}
}
