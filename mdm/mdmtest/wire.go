package mdmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/schema"
)

const maxAnswer = 16 << 20

// StatusError is an answer of the server that is not 200.
type StatusError struct {
	Status int
	Body   []byte
}

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("mdmtest: the server answered %d %s", e.Status, http.StatusText(e.Status))
}

// Unenrolls reports whether a device removes its MDM profile after this answer: 401, or 403 with the code
// com.apple.unrecognized.device.
func (e *StatusError) Unenrolls() bool {
	return e.Status == http.StatusUnauthorized ||
		e.Status == http.StatusForbidden && bytes.Contains(e.Body, []byte(`"com.apple.unrecognized.device"`))
}

// httpClient returns a client with the identity of m.
func (d *Device) httpClient(m *management) *http.Client {
	config := &tls.Config{RootCAs: d.trusted(), MinVersion: tls.VersionTLS12}
	if m != nil && d.cfg.Mode == ModeTLS {
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{m.cert.Raw}, PrivateKey: m.key, Leaf: m.cert}}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

// checkin sends a check-in message and returns the body of the answer.
func (d *Device) checkin(ctx context.Context, m *management, kind string, ids, keys map[string]any) ([]byte, error) {
	message := map[string]any{"MessageType": kind}
	maps.Copy(message, ids)
	maps.Copy(message, keys)
	return d.put(ctx, m, schema.Or(m.mdm.CheckInURL, m.mdm.ServerURL), "application/x-apple-aspen-mdm-checkin", message)
}

// report sends a command report.
func (d *Device) report(ctx context.Context, m *management, ids, keys map[string]any) ([]byte, error) {
	message := maps.Clone(ids)
	maps.Copy(message, keys)
	return d.put(ctx, m, m.mdm.ServerURL, "application/x-apple-aspen-mdm; charset=UTF-8", message)
}

func (d *Device) put(ctx context.Context, m *management, url, contentType string, message map[string]any) ([]byte, error) {
	body, err := plistx.MarshalIndent(message)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	maps.Copy(req.Header, d.cfg.Header)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "MDM/1.0")
	if d.cfg.Mode == ModeSignature || schema.Or(m.mdm.SignMessage, false) {
		// As captured from real devices: BER with indefinite lengths, SHA-1, no signed attributes.
		signature, err := cms.Sign(body, m.cert, m.key, cms.SignOptions{Detached: true, Hash: crypto.SHA1, NoAttributes: true, Indefinite: true})
		if err != nil {
			return nil, fmt.Errorf("mdmtest: sign: %w", err)
		}
		req.Header.Set("Mdm-Signature", base64.StdEncoding.EncodeToString(signature))
	}
	if d.cfg.Mode == ModeProxy {
		req.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(m.cert.Raw)+":")
	}
	answer, err := do(m.client, req)
	var refused *StatusError
	if asStatus(err, &refused) && refused.Unenrolls() {
		d.remove(m)
	}
	return answer, err
}

// do sends req and returns the body of a 200 answer.
func do(client *http.Client, req *http.Request) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, &StatusError{Status: res.StatusCode, Body: body}
	}
	return body, nil
}

// get fetches a document that needs no identity.
func (d *Device) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	maps.Copy(req.Header, d.cfg.Header)
	client := d.httpClient(nil)
	defer client.CloseIdleConnections()
	return do(client, req)
}
