package dep

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

// DefaultUnlockURL is where Apple takes bypass codes.
const DefaultUnlockURL = "https://deviceservices-external.apple.com/deviceservicesworkers/escrowKeyUnlock"

// Unlocker turns off the Activation Lock of devices at Apple, with their bypass codes. A literal with Certificate is ready for use.
// (Apple: Creating and Using Bypass Codes.)
type Unlocker struct {
	Certificate tls.Certificate // the push certificate for MDM, with its key: it says whose devices these are
	URL         string          // "": DefaultUnlockURL
	// HTTP carries the request; nil: a plain client. If its Transport is an *http.Transport, or nil, it is copied and shows
	// Certificate; any other has to do so itself.
	HTTP      *http.Client
	UserAgent string        // "": the name of this library
	Timeout   time.Duration // 0: 1 min
}

// Unlock is a device to unlock.
type Unlock struct {
	Serial      string // required
	ProductType string // required, as "iPhone15,2"
	IMEI, IMEI2 string // if the device has them
	MEID        string
	OrgName     string     // who asks: required, as GUID, which is any identifier of the request or of who makes it
	GUID        string     // Apple keeps both with its records
	Code        mdm.Secret // the text of the code: that of BypassCode.Text, or of the device's own
}

// Unlock asks Apple to unlock a device. A device may be locked by the code that was made here or by its own: if Apple knows
// not the one (the error has the code NotFound, Malformed or Forbidden), the other is to be tried. The error is an [*Error] if
// Apple refuses.
func (u *Unlocker) Unlock(ctx context.Context, d Unlock) error {
	const op = "dep.Unlock"
	if err := d.check(op); err != nil {
		return err
	}
	to, err := u.url(op, d)
	if err != nil {
		return err
	}
	timeout := u.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	code := string(d.Code.Reveal())
	form := url.Values{"orgName": {d.OrgName}, "guid": {d.GUID}, "escrowKey": {code}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return mdm.Errorf(mdm.Internal, op, "the request cannot be made") // the cause would repeat the URL
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", u.UserAgent)
	if u.UserAgent == "" {
		req.Header.Set("User-Agent", defaultUserAgent)
	}
	client, done, err := u.client(op)
	if err != nil {
		return err
	}
	defer done()
	const call = "POST escrowKeyUnlock"
	resp, err := client.Do(req)
	if err != nil {
		return &Error{Call: call, Reason: ErrUnavailable, Err: withoutURL(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // as much as came of it
	return refusal(call, resp, body, time.Now(), []string{code, strings.ReplaceAll(code, "-", "")})
}

// check reports what Apple could not take.
func (d *Unlock) check(op string) error {
	code := d.Code.Reveal()
	switch {
	case !IsSerial(d.Serial):
		return badSerial(op, d.Serial)
	case d.ProductType == "" || d.OrgName == "" || d.GUID == "":
		return mdm.Errorf(mdm.Malformed, op, "the type of the device, the organization and a GUID are required")
	case len(code) == 0 || len(code) > 100 || !utf8.Valid(code):
		return mdm.Errorf(mdm.Malformed, op, "there is no bypass code, or it is none")
	}
	for _, s := range []string{d.ProductType, d.IMEI, d.IMEI2, d.MEID, d.OrgName, d.GUID} {
		if !plain(s, maxName) {
			return mdm.Errorf(mdm.Malformed, op, "a value is no printable text of at most %d bytes", maxName)
		}
	}
	return nil
}

func (u *Unlocker) url(op string, d Unlock) (string, error) {
	base := u.URL
	if base == "" {
		base = DefaultUnlockURL
	}
	to, err := url.Parse(base)
	if err != nil || to.Scheme != "https" || to.Host == "" || to.User != nil {
		return "", mdm.Errorf(mdm.Internal, op, "Unlocker.URL is none with https")
	}
	query := to.Query()
	for key, value := range map[string]string{"serial": d.Serial, "productType": d.ProductType, "imei": d.IMEI, "imei2": d.IMEI2, "meid": d.MEID} {
		if value != "" {
			query.Set(key, value)
		}
	}
	to.RawQuery = query.Encode()
	return to.String(), nil
}

// client returns one that shows the certificate, and to Apple only: it follows no redirections. done ends its connections.
func (u *Unlocker) client(op string) (client *http.Client, done func(), err error) {
	h := http.Client{}
	if u.HTTP != nil {
		h = *u.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if h.Transport == nil {
		h.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	transport, ok := h.Transport.(*http.Transport)
	if !ok {
		return &h, func() {}, nil
	}
	if len(u.Certificate.Certificate) == 0 {
		return nil, nil, mdm.Errorf(mdm.Internal, op, "Unlocker.Certificate is required")
	}
	transport = transport.Clone()
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport.TLSClientConfig.Certificates = []tls.Certificate{u.Certificate}
	h.Transport = transport
	return &h, transport.CloseIdleConnections, nil
}
