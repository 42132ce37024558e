package main

import (
	"context"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gomdm/applemdm/mdm/enroll"
)

//go:embed pages
var pageFiles embed.FS

// maxWait is how long the identity provider may take.
const maxWait = 15 * time.Second

// login is OpenID Connect: the authorization code flow, with PKCE and a nonce.
type login struct {
	http     *http.Client
	config   oauth2.Config
	provider *oidc.Provider
	claim    string
	pages    *template.Template
}

// newLogin asks the provider how it is used.
func newLogin(ctx context.Context, o options, client *http.Client) (*login, error) {
	pages, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), o.issuer)
	if err != nil {
		return nil, fmt.Errorf("the identity provider: %w", err)
	}
	endpoint, err := endpointOf(provider, o.secret)
	if err != nil {
		return nil, fmt.Errorf("the identity provider: %w", err)
	}
	return &login{http: client, claim: o.claim, pages: pages, provider: provider,
		config: oauth2.Config{ClientID: o.clientID, ClientSecret: o.secret, Endpoint: endpoint, RedirectURL: o.publicURL + callbackPath,
			Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}}, nil
}

// endpointOf says how this server proves who it is, as the provider tells. To try one way after the other would use up the code, and
// hide why the first has failed.
func endpointOf(provider *oidc.Provider, secret string) (oauth2.Endpoint, error) {
	var says struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	err := provider.Claims(&says)
	endpoint := provider.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // the default of OpenID Connect Discovery
	if secret == "" || len(says.Methods) > 0 && !slices.Contains(says.Methods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return endpoint, err
}

// begin sends a user to the provider. What has to be known when he comes back is derived from the state.
func (s *site) begin(w http.ResponseWriter, r *http.Request, state string) {
	to, err := s.authorization(state)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, "", err)
		return
	}
	http.Redirect(w, r, to, http.StatusFound)
}

func (s *site) authorization(state string) (string, error) {
	nonce, err := s.ade.Derive(state, "nonce")
	if err != nil {
		return "", err
	}
	verifier, err := s.ade.Derive(state, "pkce")
	if err != nil {
		return "", err
	}
	return s.login.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// finish verifies what a user brings back. The state has been looked at already.
func (s *site) finish(w http.ResponseWriter, r *http.Request, _ enroll.Session) (string, bool) {
	state := r.FormValue("state")
	if code := r.FormValue("error"); code != "" {
		s.fail(w, r, http.StatusForbidden, state, fmt.Errorf("the identity provider says %q", code))
		return "", false
	}
	transport := &watched{RoundTripper: s.login.http.Transport}
	user, err := s.verify(r, state, &http.Client{Transport: transport, Timeout: maxWait})
	if err != nil {
		status := http.StatusServiceUnavailable // nobody knows, or the provider has something against this server
		refused, ok := errors.AsType[*oauth2.RetrieveError](err)
		if wrong := errors.Is(err, errLogin) || ok && refused.ErrorCode == "invalid_grant"; wrong && !transport.failed.Load() {
			status = http.StatusForbidden
		}
		s.fail(w, r, status, state, err)
		return "", false
	}
	return user, true
}

// watched notes whether the provider did not answer as it should. An error of the verifier does not tell whether the token is wrong, or
// there were no keys to verify it with.
type watched struct {
	http.RoundTripper // nil: http.DefaultTransport
	failed            atomic.Bool
}

// RoundTrip sends a request.
func (t *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.RoundTripper
	if next == nil {
		next = http.DefaultTransport
	}
	res, err := next.RoundTrip(r)
	if err != nil || res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests {
		t.failed.Store(true)
	}
	return res, err
}

// errLogin is a login that is not what it should be.
var errLogin = errors.New("the login is not valid")

// verify exchanges the code and reads who it is.
func (s *site) verify(r *http.Request, state string, client *http.Client) (string, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), client), maxWait)
	defer cancel()
	verifier, err := s.ade.Derive(state, "pkce")
	if err != nil {
		return "", err
	}
	nonce, err := s.ade.Derive(state, "nonce")
	if err != nil {
		return "", err
	}
	token, err := s.login.config.Exchange(ctx, r.FormValue("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := s.login.provider.VerifierContext(ctx, &oidc.Config{ClientID: s.login.config.ClientID}).Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errLogin, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return "", fmt.Errorf("%w: another nonce", errLogin)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return "", fmt.Errorf("%w: %w", errLogin, err)
	}
	if verified, said := claims["email_verified"].(bool); said && !verified && s.login.claim == "email" {
		return "", fmt.Errorf("%w: the address is not verified", errLogin)
	}
	user, _ := claims[s.login.claim].(string)
	if user == "" {
		return "", fmt.Errorf("%w: no claim %s", errLogin, s.login.claim)
	}
	return user, nil
}

// fail shows a user that he can try again.
func (s *site) fail(w http.ResponseWriter, r *http.Request, status int, state string, err error) {
	s.log.ErrorContext(r.Context(), "login", "error", err)
	data := map[string]string{"Organization": s.o.organization}
	if state != "" {
		data["Again"], _ = s.authorization(state) // no address, no button
	}
	show(w, s.login.pages, status, "failed.html", data)
}

// show writes a page.
func show(w http.ResponseWriter, pages *template.Template, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, data)
}
