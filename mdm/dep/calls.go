package dep

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm"
)

// Account returns what Apple knows of the organization and the server. From then on calls ask for as much as it allows.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var a Account
	if err := c.do(ctx, request{method: http.MethodGet, path: "/account"}, &a); err != nil {
		return Account{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learned = append(Limits{}, a.URLs...)
	return a, nil
}

// BetaToken lets devices enroll in a beta program of Apple's.
type BetaToken struct {
	OS    string `json:"os"`
	Title string `json:"title"`
	Token string `json:"token"` // for the device; it is in its configuration in the clear
}

// BetaTokens returns the beta programs that devices of the organization may be in. The error is [ErrBetaTurnedOff] if it takes
// part in none.
func (c *Client) BetaTokens(ctx context.Context) ([]BetaToken, error) {
	var out struct {
		Tokens []BetaToken `json:"betaEnrollmentTokens"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/os-beta-enrollment/tokens"}, &out)
	return out.Tokens, err
}

// AccountDriven is where devices of account-driven enrollment find the server, if the domain of the account does not say.
type AccountDriven struct {
	URL     string
	Updated time.Time
}

const pathAccountDriven = "/account-driven-enrollment/profile"

// SetAccountDrivenProfile tells Apple the https URL of the service discovery, at which devices that enroll with a Managed Apple Account
// learn of the server. The error is [ErrOrgNotSupported] if the organization may have none.
func (c *Client) SetAccountDrivenProfile(ctx context.Context, discoveryURL string) error {
	const op = "dep.SetAccountDrivenProfile"
	if err := checkURL(op, "the URL", discoveryURL); err != nil {
		return err
	}
	r, err := post(http.MethodPost, pathAccountDriven, map[string]string{"mdm_service_discovery_url": discoveryURL})
	if err != nil {
		return err
	}
	return c.do(ctx, r, nil)
}

// AccountDrivenProfile returns what SetAccountDrivenProfile has set. The error is [ErrNotFound] if that is nothing.
func (c *Client) AccountDrivenProfile(ctx context.Context) (AccountDriven, error) {
	var out struct {
		URL     string `json:"mdm_service_discovery_url"`
		Updated wire   `json:"last_updated_timestamp"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: pathAccountDriven}, &out)
	return AccountDriven{URL: out.URL, Updated: out.Updated.time()}, err
}

// RemoveAccountDrivenProfile takes back what SetAccountDrivenProfile has set. The error is [ErrNotFound] if that is nothing.
func (c *Client) RemoveAccountDrivenProfile(ctx context.Context) error {
	return c.do(ctx, request{method: http.MethodDelete, path: pathAccountDriven}, nil)
}

// LockActivation locks a device to the organization, so that nobody can activate it without the escrow key's bypass code:
// see [BypassCode.EscrowKey]. Without one it is locked all the same. The message is shown on the device, at most
// 1000 characters; both may be empty. The status is [StatusSuccess], [StatusNotAccessible], [StatusOrgNotSupported],
// [StatusDeviceNotSupported], [StatusAlreadyLocked], [StatusFailed], or a newer word.
func (c *Client) LockActivation(ctx context.Context, serial, escrowKey, message string) (status string, err error) {
	const op = "dep.LockActivation"
	switch {
	case !IsSerial(serial):
		return "", badSerial(op, serial)
	case escrowKey != "" && !isEscrowKey(escrowKey):
		return "", mdm.Errorf(mdm.Malformed, op, "an escrow key has 64 hexadecimal digits; it is not the bypass code itself")
	case utf8.RuneCountInString(message) > 1000 || !utf8.ValidString(message):
		return "", mdm.Errorf(mdm.Malformed, op, "the message is too long, or no text")
	}
	in := map[string]string{"device": serial}
	if escrowKey != "" {
		in["escrow_key"] = strings.ToUpper(escrowKey)
	}
	if message != "" {
		in["lost_message"] = message
	}
	r, err := post(http.MethodPost, "/device/activationlock", in)
	if err != nil {
		return "", err
	}
	var out struct {
		Status string `json:"response_status"`
	}
	if err := c.do(ctx, r, &out); err != nil {
		return "", err
	}
	if out.Status == "" {
		return "", unreadable(&r, "the answer has no status")
	}
	return printable(out.Status), nil
}

func isEscrowKey(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// Replacement says which device another one replaces.
type Replacement struct {
	Serial   string
	Original string // the serial number of the device that was replaced
	Date     time.Time
}

// Replacement returns which device Apple has replaced with this one, whose Device.IsReplacementDevice is set (protocol 10). The
// error is [ErrDeviceNotFound] if there is none.
func (c *Client) Replacement(ctx context.Context, serial string) (Replacement, error) {
	if !IsSerial(serial) {
		return Replacement{}, badSerial("dep.Replacement", serial)
	}
	var out struct {
		Serial   string `json:"serial_number"`
		Original string `json:"original_device_serial_number"`
		Date     wire   `json:"replacement_date"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/device/replacementDetails", query: url.Values{"device": {serial}}}, &out)
	return Replacement{Serial: out.Serial, Original: out.Original, Date: out.Date.time()}, err
}

// post returns a request with a body.
func post(method, path string, in any) (request, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return request{}, mdm.Errorf(mdm.Malformed, "dep."+method+" "+path, "%w", err)
	}
	return request{method: method, path: path, body: body}, nil
}

// unreadable is the error of an answer in which something is missing.
func unreadable(r *request, what string) error {
	return &Error{Call: r.name(), Status: http.StatusOK, Reason: ErrUnavailable, Err: errors.New(what)}
}

func badSerial(op, serial string) error {
	return mdm.Errorf(mdm.Malformed, op, "%q cannot be a serial number", printable(serial))
}

// wire is a value of Apple's that comes in more than one type.
type wire json.RawMessage

// UnmarshalJSON keeps the value as it is.
func (w *wire) UnmarshalJSON(data []byte) error {
	*w = append(wire{}, data...)
	return nil
}

func (w wire) time() (t time.Time) {
	decodeValue(json.RawMessage(w), &t)
	return t
}

func (w wire) bool() (b bool) {
	decodeValue(json.RawMessage(w), &b)
	return b
}

func (w wire) seconds() time.Duration {
	d, _ := seconds(strings.Trim(string(w), `"`))
	return d
}
