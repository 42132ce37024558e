package mdmtest

import (
	"bytes"
	"context"
	"crypto/md5" // of HTTP's Digest
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// reply is an answer of a server in Setup Assistant, whatever its status.
type reply struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL
}

func (r *reply) mediaType() string {
	kind, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	return kind
}

func (r *reply) refusal() *RefusedError {
	return &RefusedError{Answer: &StatusError{Status: r.status, Body: r.body}}
}

// do sends a request and reads the answer.
func (a *assistant) do(client *http.Client, req *http.Request) (*reply, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	return &reply{status: res.StatusCode, header: res.Header, body: body, url: res.Request.URL}, nil
}

// pinned is TLS as a device has it: for the host that it was assigned to it takes only the anchors of the assignment, if it has some,
// and for others what it trusts besides, too. It never leaves TLS.
type pinned struct {
	host           string
	anchored, open *http.Transport
}

// RoundTrip sends a request.
func (p *pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Scheme != "https":
		return nil, fmt.Errorf("%s is no https URL", req.URL.Redacted())
	case hostOf(req.URL) == p.host:
		return p.anchored.RoundTrip(req)
	}
	return p.open.RoundTrip(req)
}

// CloseIdleConnections is for http.Client.
func (p *pinned) CloseIdleConnections() {
	p.anchored.CloseIdleConnections()
	p.open.CloseIdleConnections()
}

// hostOf returns the host of a URL in the one spelling that hosts are compared in.
func hostOf(u *url.URL) string { return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".") }

// client returns a client for a URL of the assignment.
func (a *assistant) client(first string) (*http.Client, error) {
	u, err := url.Parse(first)
	if err != nil || u.Scheme != "https" {
		return nil, fmt.Errorf("mdmtest: the assigned URL %q is no https URL", first)
	}
	anchors, all := a.d.trusted(), a.d.trusted()
	if len(a.Assignment.AnchorCerts) > 0 {
		anchors, all = x509.NewCertPool(), all.Clone()
		for _, cert := range a.Assignment.AnchorCerts {
			anchors.AddCert(cert)
			all.AddCert(cert)
		}
	}
	transport := func(roots *x509.CertPool) *http.Transport {
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	}
	return &http.Client{Transport: &pinned{host: hostOf(u), anchored: transport(anchors), open: transport(all)}}, nil
}

// post sends the message to the assigned URL, with the login that the user gave.
func (a *assistant) post(ctx context.Context, message []byte) (*reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Assignment.URL, bytes.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	maps.Copy(req.Header, a.d.cfg.Header)
	req.Header.Set("Content-Type", "application/pkcs7-signature")
	switch {
	case a.login != "":
		req.Header.Set("Authorization", a.login)
	case a.token != "":
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	a.login = "" // a nonce is used once
	client, err := a.client(a.Assignment.URL)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	return a.do(client, req)
}

// digestExchange is one answer to a challenge of Digest.
type digestExchange struct{ realm string }

// logIn answers a 401. The user is asked, but for a stale nonce, which the device answers by itself.
func (a *assistant) logIn(answer *reply) error {
	challenge, basic := map[string]string(nil), false
	for _, one := range answer.header.Values("Www-Authenticate") {
		scheme, rest, _ := strings.Cut(one, " ")
		switch strings.ToLower(scheme) {
		case "digest":
			challenge = authParameters(rest)
		case "basic":
			basic = true
		}
	}
	if challenge == nil && !basic {
		return answer.refusal()
	}
	silently := a.pending != nil && strings.EqualFold(challenge["stale"], "true")
	if !silently {
		if a.pending != nil || len(a.report.Prompts) > 0 || a.User == "" { // what the user knows was wrong, or is nothing
			a.report.Prompts = append(a.report.Prompts, string(answer.body))
			return answer.refusal()
		}
		a.report.Prompts = append(a.report.Prompts, string(answer.body))
	}
	if challenge == nil {
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(a.User, a.Password)
		a.login = req.Header.Get("Authorization")
		return nil
	}
	a.pending = &digestExchange{realm: challenge["realm"]}
	var err error
	a.login, err = a.digest(challenge)
	return err
}

// digest makes an Authorization of RFC 7616, with MD5.
func (a *assistant) digest(challenge map[string]string) (string, error) {
	u, err := url.Parse(a.Assignment.URL)
	if err != nil {
		return "", fmt.Errorf("mdmtest: %w", err)
	}
	if challenge["nonce"] == "" || challenge["realm"] == "" || !strings.EqualFold(or(challenge["algorithm"], "MD5"), "MD5") {
		return "", errors.New("mdmtest: a challenge of Digest that the device does not understand")
	}
	hash := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	ha1, ha2 := hash(a.User, challenge["realm"], a.Password), hash(http.MethodPost, u.RequestURI())
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
	head := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, quote(a.User), quote(challenge["realm"]),
		challenge["nonce"], u.RequestURI())
	if challenge["qop"] == "" {
		return head + fmt.Sprintf(`, response="%s"`, hash(ha1, challenge["nonce"], ha2)), nil
	}
	cnonce := randomHex(8)
	return head + fmt.Sprintf(`, response="%s", qop=auth, nc=00000001, cnonce="%s", algorithm=MD5`,
		hash(ha1, challenge["nonce"], "00000001", cnonce, "auth", ha2), cnonce), nil
}

// authParameters reads the parameters of a challenge.
func authParameters(s string) map[string]string {
	out := map[string]string{}
	for s = strings.TrimLeft(s, " ,"); s != ""; s = strings.TrimLeft(s, " ,") {
		name, rest, _ := strings.Cut(s, "=")
		var value strings.Builder
		i := 0
		if strings.HasPrefix(rest, `"`) {
			for i = 1; i < len(rest) && rest[i] != '"'; i++ {
				if rest[i] == '\\' && i+1 < len(rest) {
					i++
				}
				value.WriteByte(rest[i])
			}
			i = min(i+1, len(rest))
		} else {
			for ; i < len(rest) && rest[i] != ','; i++ {
				value.WriteByte(rest[i])
			}
		}
		out[strings.ToLower(strings.TrimSpace(name))], s = value.String(), rest[i:]
	}
	return out
}
