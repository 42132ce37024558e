package mdmtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Limits, in bytes.
const (
	apnsMaxPayload  = 4096
	apnsMaxCollapse = 64
)

// apnsRefusal is a rule of Apple's that a request breaks.
type apnsRefusal struct {
	status int
	reason string
	detail string
}

func (r *apnsRefusal) Error() string { return fmt.Sprintf("%d %s: %s", r.status, r.reason, r.detail) }

func apnsRefuse(status int, reason, format string, args ...any) *apnsRefusal {
	return &apnsRefusal{status, reason, fmt.Sprintf(format, args...)}
}

// readPush fills p from a request, and checks it against "Sending notification requests to APNs" and "Handling notification
// responses from APNs". Beyond those, the body and the type are those of MDM. topic is that of the client's certificate.
func (p *Push) readPush(h *apnsHead, body []byte, topic string) *apnsRefusal {
	if refused := p.readLine(h); refused != nil {
		return refused
	}
	if refused := p.readTopic(h, topic); refused != nil {
		return refused
	}
	if refused := p.readHeaders(h); refused != nil {
		return refused
	}
	return p.readBody(body)
}

func (p *Push) readLine(h *apnsHead) *apnsRefusal {
	if h.method != http.MethodPost {
		return apnsRefuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "%s is not POST", h.method)
	}
	digits, ok := strings.CutPrefix(h.path, "/3/device/")
	if !ok || strings.Contains(digits, "?") {
		return apnsRefuse(http.StatusNotFound, "BadPath", "%q", h.path)
	}
	if digits == "" {
		return apnsRefuse(http.StatusBadRequest, "MissingDeviceToken", "no token in the path")
	}
	token, err := hex.DecodeString(digits)
	if err != nil || digits != strings.ToLower(digits) {
		return apnsRefuse(http.StatusBadRequest, "BadDeviceToken", "%q is not lower-case hexadecimal", digits)
	}
	p.Token = token
	return nil
}

func (p *Push) readTopic(h *apnsHead, own string) *apnsRefusal {
	p.Topic = h.topic
	if p.Topic == "" { // Apple insists on it only if the certificate has several
		p.Topic = own
	}
	if own != p.Topic {
		return apnsRefuse(http.StatusBadRequest, "TopicDisallowed", "apns-topic %q with a certificate of %q", p.Topic, own)
	}
	return nil
}

func (p *Push) readHeaders(h *apnsHead) *apnsRefusal {
	if h.duplicate != "" {
		return apnsRefuse(http.StatusBadRequest, "DuplicateHeaders", "%s", h.duplicate)
	}
	if h.kind != "" && h.kind != "mdm" {
		return apnsRefuse(http.StatusBadRequest, "InvalidPushType", "apns-push-type %q", h.kind)
	}
	if h.priority != "" && h.priority != "10" && h.priority != "5" && h.priority != "1" {
		return apnsRefuse(http.StatusBadRequest, "BadPriority", "apns-priority %q", h.priority)
	}
	if len(h.collapse) > apnsMaxCollapse {
		return apnsRefuse(http.StatusBadRequest, "BadCollapseId", "apns-collapse-id of %d bytes", len(h.collapse))
	}
	if h.id != "" && (len(h.id) != 36 || uuid.Validate(h.id) != nil || h.id != strings.ToLower(h.id)) {
		return apnsRefuse(http.StatusBadRequest, "BadMessageId", "apns-id %q", h.id)
	}
	return p.readExpiration(h.expiration)
}

func (p *Push) readExpiration(value string) *apnsRefusal {
	if value == "" || value == "0" {
		return nil // tried once
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return apnsRefuse(http.StatusBadRequest, "BadExpirationDate", "apns-expiration %q", value)
	}
	p.Expiration = time.Unix(seconds, 0)
	return nil
}

// unwise returns what Apple takes and MDM suffers from, or nothing.
func (p *Push) unwise(h *apnsHead) string {
	if p.Expiration.After(p.At) && h.kind != "" && h.topic != "" {
		return ""
	}
	var what []string
	if !p.Expiration.After(p.At) {
		what = append(what, fmt.Sprintf("apns-expiration %q, which loses the push if the device sleeps", h.expiration))
	}
	if h.kind == "" {
		what = append(what, "no apns-push-type, which Apple asks for since iOS 13")
	}
	if h.topic == "" {
		what = append(what, "no apns-topic, so the certificate decides")
	}
	return strings.Join(what, "; ")
}

func (p *Push) readBody(body []byte) *apnsRefusal {
	if len(body) == 0 {
		return apnsRefuse(http.StatusBadRequest, "PayloadEmpty", "no body")
	}
	magic, ok := apnsPlainMagic(body)
	if !ok {
		magic, ok = apnsMagic(body)
	}
	if !ok {
		return apnsRefuse(http.StatusBadRequest, "PayloadEmpty", "the body is not {\"mdm\": PushMagic}")
	}
	p.Magic, p.Payload = magic, body
	return nil
}

// apnsPlainMagic reads the payload as nearly all are, which is much quicker than to parse it.
func apnsPlainMagic(body []byte) (string, bool) {
	magic, ok := bytes.CutPrefix(body, []byte(`{"mdm":"`))
	if !ok {
		return "", false
	}
	magic, ok = bytes.CutSuffix(magic, []byte(`"}`))
	if !ok || len(magic) == 0 {
		return "", false
	}
	for _, b := range magic {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return "", false
		}
	}
	return string(magic), true
}

// apnsMagic reads any JSON that has a PushMagic and nothing else.
func apnsMagic(body []byte) (string, bool) {
	var payload struct {
		MDM *string `json:"mdm"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&payload); err != nil || payload.MDM == nil || *payload.MDM == "" {
		return "", false
	}
	_, err := decoder.Token()
	return *payload.MDM, errors.Is(err, io.EOF)
}
