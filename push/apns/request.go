package apns

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/gomdm/applemdm/push"
)

const (
	maxToken   = 4 << 10 // bytes; today's have 32
	maxPayload = 4 << 10 // bytes; Apple's limit
)

// payload returns the body that wakes an MDM client: its PushMagic and nothing else.
func payload(t *push.Target) ([]byte, error) {
	if len(t.Token) == 0 || len(t.Token) > maxToken {
		return nil, fmt.Errorf("apns: a device token of %d bytes", len(t.Token))
	}
	if t.Magic == "" {
		return nil, errors.New("apns: no PushMagic")
	}
	body := append(make([]byte, 0, len(t.Magic)+len(`{"mdm":""}`)), `{"mdm":`...)
	if plain(t.Magic) {
		body = append(append(append(body, '"'), t.Magic...), '"')
	} else {
		quoted, err := json.Marshal(t.Magic)
		if err != nil {
			return nil, fmt.Errorf("apns: PushMagic: %w", err)
		}
		body = append(body, quoted...)
	}
	body = append(body, '}')
	if len(body) > maxPayload {
		return nil, fmt.Errorf("apns: a payload of %d bytes is too large", len(body))
	}
	return body, nil
}

// plain reports whether s is the same in JSON.
func plain(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b < ' ' || b > '~', b == '"', b == '\\', b == '<', b == '>', b == '&':
			return false
		}
	}
	return true
}

// header makes the header fields of requests. Each request has its own path and ID, which HPACK must not keep (RFC 7541,
// section 7.1.3): so it keeps the others, which are the same for hours or for a second.
type header struct {
	fields     []hpack.HeaderField
	expiration int64
	path       []byte
}

// The places of the fields that change.
const (
	fieldPath       = 3
	fieldExpiration = 7
	fieldLength     = 8
	fieldID         = 9
)

func newHeader(host, topic string) header {
	return header{fields: []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: host},
		{Name: ":path", Sensitive: true},
		{Name: "apns-topic", Value: topic},
		{Name: "apns-push-type", Value: "mdm"},
		{Name: "apns-priority", Value: "10"},
		{Name: "apns-expiration"},
		{Name: "content-length"},
		{Name: "apns-id", Sensitive: true},
	}}
}

// of returns the fields of a request. They are valid until the next call.
func (h *header) of(token []byte, id string, length int, expiration time.Time) []hpack.HeaderField {
	h.path = hex.AppendEncode(append(h.path[:0], "/3/device/"...), token)
	h.fields[fieldPath].Value = string(h.path)
	h.fields[fieldID].Value = id
	h.fields[fieldLength].Value = strconv.Itoa(length)
	if unix := expiration.Unix(); unix != h.expiration || h.fields[fieldExpiration].Value == "" {
		h.expiration, h.fields[fieldExpiration].Value = unix, strconv.FormatInt(unix, 10)
	}
	return h.fields
}
