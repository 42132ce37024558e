package dep

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxErrorBody  = 64 << 10
	maxErrorText  = 200
	maxRetryAfter = 48 * time.Hour
	maxSkew       = 5 * time.Minute // of our clock and Apple's, before it explains why a signature is refused
)

// refusal makes an error of an answer that is none of success.
func refusal(call string, resp *http.Response, body []byte, now time.Time, secrets []string) *Error {
	e := &Error{Call: call, Status: resp.StatusCode}
	e.RetryAfter, e.asked = retryAfter(resp.Header, now)
	e.Code, e.Text = readWord(redact(body, secrets))
	if code, _ := readWord(string(body)); code.known() { // whatever the secrets are
		e.Code = code
	}
	switch {
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable && e.asked:
		e.Reason = ErrThrottled
	case e.Status >= 500, e.Status < 400:
		e.Reason = ErrUnavailable
	}
	return e
}

// explain adds why Apple gives no session for a token.
func (e *Error) explain(t Token, header http.Header, now time.Time) {
	if e.Status != http.StatusUnauthorized && (e.Status != http.StatusForbidden || e.Code == ErrAccessDenied || e.Code == ErrTermsNotSigned) {
		return
	}
	apple, err := http.ParseTime(header.Get("Date"))
	skewed := err == nil && apple.Sub(now).Abs() > maxSkew
	said := strings.ToLower(string(e.Code) + " " + e.Text)
	switch {
	case skewed, strings.Contains(said, "timestamp"):
		e.Reason = ErrClockWrong
	case !t.Expires.IsZero() && !now.Before(t.Expires), strings.Contains(said, "expired"):
		e.Reason = ErrTokenExpired
	default:
		e.Reason = ErrTokenRefused
	}
}

// retryAfter reads the header of that name: seconds, or a date, which counts from Apple's own.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if at, err := http.ParseTime(value); err == nil {
		if apple, err := http.ParseTime(header.Get("Date")); err == nil {
			now = apple
		}
		return boundWait(at.Sub(now)), true
	}
	return seconds(value)
}

// seconds reads a number of seconds.
func seconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || n < 0 || n != n {
		return 0, false
	}
	if n >= maxRetryAfter.Seconds() {
		return maxRetryAfter, true
	}
	return boundWait(time.Duration(n * float64(time.Second))), true
}

func boundWait(d time.Duration) time.Duration { return min(max(d, 0), maxRetryAfter) }

// redact takes out of a body what must not get into an error, should it be sent back to us.
func redact(body []byte, secrets []string) string {
	s := string(body)
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			s = strings.ReplaceAll(s, form, "[secret]")
		}
	}
	return s
}

// readWord returns Apple's word in the body of an error, which is plain text, quoted, or in JSON; and what it wrote if there is
// no word in it. Pages of HTML are of somebody in between, and say nothing that is repeated here.
func readWord(body string) (Code, string) {
	text := strings.Trim(strings.TrimPrefix(body, "\ufeff"), " \t\r\n\x00")
	if len(text) > 0 && text[0] == '<' {
		return "", ""
	}
	text = unwrap(text, 0)
	text = strings.Trim(text, " \t\r\n\"'`")
	if isWord(text) {
		return Code(text), ""
	}
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if isWord(w) && Code(w).known() {
			return Code(w), printable(text)
		}
	}
	return "", printable(text)
}

// unwrap returns the text in a JSON value, the value itself if there is none.
func unwrap(text string, depth int) string {
	if text == "" || depth > 4 {
		return text
	}
	switch text[0] {
	case '"':
		var s string
		if json.Unmarshal([]byte(text), &s) == nil {
			return unwrap(strings.TrimSpace(s), depth+1)
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal([]byte(text), &list) == nil && len(list) > 0 {
			return unwrap(string(list[0]), depth+1)
		}
	case '{':
		var keys map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &keys) != nil {
			return text
		}
		for _, key := range []string{"code", "error_code", "errorCode", "error", "errors", "status", "reason", "message", "detail"} {
			raw := bytes.TrimSpace(keys[key])
			if len(raw) > 0 && strings.IndexByte(`"[{`, raw[0]) >= 0 {
				return unwrap(string(raw), depth+1)
			}
		}
	}
	return text
}

// isWord reports whether s is of the form of Apple's words.
func isWord(s string) bool {
	if len(s) < 3 || len(s) > 64 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// known reports whether it is a word of the list above, which is looked for in a longer text.
func (c Code) known() bool {
	switch c {
	case ErrUnauthorized, ErrForbidden, ErrAccessDenied, ErrTermsNotSigned, ErrMalformedBody, ErrUserAgentMissing, ErrUserAgentInvalid,
		ErrNotFound, ErrCursorRequired, ErrInvalidCursor, ErrExpiredCursor, ErrExhaustedCursor, ErrDeviceIDRequired, ErrDeviceNotFound,
		ErrProfileUUIDRequired, ErrProfileNameRequired, ErrProfileNameInvalid, ErrProfileURLRequired, ErrProfileURLInvalid,
		ErrDepartmentInvalid, ErrSupportPhoneInvalid, ErrSupportEmailInvalid, ErrMagicInvalid, ErrFlagsInvalid, ErrLocaleInvalid,
		ErrBetaTurnedOff, ErrDiscoveryURLRequired, ErrDiscoveryURLInvalid, ErrOrgNotSupported:
		return true
	}
	return false
}

// printable returns what can be shown of a text, in one line of bounded length.
func printable(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "�") {
		if b.Len()+len(string(r)) > maxErrorText-len("…") {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}
