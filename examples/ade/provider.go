package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// provider is an identity provider that stands in for a real one: OpenID Connect with what this server uses, and strict about it.
// It is no provider to use for anything.
type provider struct {
	issuer, clientID, secret, redirect string
	passwords                          map[string]string // by the name of the user
	key                                *rsa.PrivateKey
	pages                              *template.Template
	spoil                              func(claims map[string]any) // of an ID token, for tests; nil: nothing

	mu    sync.Mutex
	codes map[string]grant
}

// grant is a login whose code was not exchanged yet.
type grant struct {
	user, nonce, challenge string
	ends                   time.Time
}

const keyID = "1"

func newProvider(issuer string, o options) (*provider, error) {
	pages, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	return &provider{issuer: issuer, clientID: o.clientID, secret: o.secret, redirect: o.publicURL + callbackPath, key: key, pages: pages,
		passwords: map[string]string{"ada": "lovelace"}, codes: map[string]grant{}}, err
}

func (p *provider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.signIn)
	mux.HandleFunc("POST /token", p.token)
	return mux
}

func (p *provider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"issuer": p.issuer, "authorization_endpoint": p.issuer + "/authorize", "token_endpoint": p.issuer + "/token",
		"jwks_uri": p.issuer + "/jwks", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic"}})
}

func (p *provider) jwks(w http.ResponseWriter, _ *http.Request) {
	e := big.NewInt(int64(p.key.E)).Bytes()
	writeJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": encode(p.key.N.Bytes()), "e": encode(e)}}})
}

// request returns what a client asks for, if it is the client that is known.
func (p *provider) request(w http.ResponseWriter, r *http.Request) map[string]string {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	asked := map[string]string{}
	for _, name := range []string{"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} {
		asked[name] = r.FormValue(name)
	}
	if asked["client_id"] != p.clientID || asked["redirect_uri"] != p.redirect || asked["response_type"] != "code" ||
		asked["code_challenge_method"] != "S256" || asked["code_challenge"] == "" || asked["nonce"] == "" || asked["state"] == "" {
		http.Error(w, "not a request of a client that is known", http.StatusBadRequest) // and not back to who sent it
		return nil
	}
	return asked
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	if asked := p.request(w, r); asked != nil {
		show(w, p.pages, http.StatusOK, "signin.html", map[string]any{"Request": asked})
	}
}

func (p *provider) signIn(w http.ResponseWriter, r *http.Request) {
	asked := p.request(w, r)
	if asked == nil {
		return
	}
	user := r.FormValue("username")
	password, known := p.passwords[user]
	if subtle.ConstantTimeCompare([]byte(password), []byte(r.FormValue("password"))) != 1 || !known {
		show(w, p.pages, http.StatusForbidden, "signin.html", map[string]any{"Request": asked, "User": user, "Wrong": true})
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = grant{user: user, nonce: asked["nonce"], challenge: asked["code_challenge"], ends: time.Now().Add(time.Minute)}
	p.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, p.redirect+"?"+url.Values{"code": {code}, "state": {asked["state"]}}.Encode(), http.StatusFound)
}

// token exchanges a code, once.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	id, secret, _ := r.BasicAuth()
	if id != p.clientID || subtle.ConstantTimeCompare([]byte(secret), []byte(p.secret)) != 1 {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	g, ok := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	p.mu.Unlock()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || time.Now().After(g.ends) || r.FormValue("grant_type") != "authorization_code" || r.FormValue("redirect_uri") != p.redirect ||
		subtle.ConstantTimeCompare([]byte(encode(sum[:])), []byte(g.challenge)) != 1 {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	idToken, err := p.idToken(g)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]any{"error": "server_error"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 60, "id_token": idToken})
}

// idToken is a JWT, signed with RS256.
func (p *provider) idToken(g grant) (string, error) {
	now := time.Now()
	claims := map[string]any{"iss": p.issuer, "sub": g.user, "aud": p.clientID, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"nonce": g.nonce, "email": g.user + "@example.com", "name": g.user}
	if p.spoil != nil {
		p.spoil(claims)
	}
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": keyID})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	return signed + "." + encode(signature), err
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
