package mdmtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ServeHTTP answers one push. It is exported for net/http only.
func (a *APNs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Apns-Id")
	if id == "" {
		id = uuid.NewString()
	}
	p, refused := apnsReadPush(r)
	if refused != nil {
		a.violate(refused.Error())
		RefusePush(refused.status, refused.reason).write(w, id)
		return
	}
	conn := apnsConnOf(r)
	p.ID, p.At, p.Conn = id, time.Now(), conn.number
	answer := a.decide(p)
	if !answer.Drop && !answer.Stall {
		p.Status = answer.status()
	}
	a.record(p)
	switch {
	case answer.Drop:
		_ = conn.Close()
		panic(http.ErrAbortHandler)
	case answer.Stall:
		a.stall(r)
	}
	if answer.Accepted() {
		a.deliver(p)
	}
	answer.write(w, id)
}

func (a *APNs) record(p Push) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pushes) >= 2*apnsKept { // not at every push
		a.pushes = append(a.pushes[:0], a.pushes[apnsKept:]...)
	}
	a.pushes = append(a.pushes, p)
}

func (a *APNs) violate(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.violations) < apnsKept {
		a.violations = append(a.violations, what)
	}
}

// stall waits until nobody wants an answer any more.
func (a *APNs) stall(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-a.closed:
	}
	panic(http.ErrAbortHandler)
}

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

// apnsReadPush checks r against "Sending notification requests to APNs" and the rules for MDM.
func apnsReadPush(r *http.Request) (Push, *apnsRefusal) {
	var p Push
	for _, check := range []func(*http.Request, *Push) *apnsRefusal{checkLine, checkTopic, checkHeaders, checkBody} {
		if refused := check(r, &p); refused != nil {
			return Push{}, refused
		}
	}
	return p, nil
}

func checkLine(r *http.Request, p *Push) *apnsRefusal {
	if r.ProtoMajor != 2 {
		return apnsRefuse(http.StatusBadRequest, "BadPath", "HTTP/2 is required, not %s", r.Proto)
	}
	if r.Method != http.MethodPost {
		return apnsRefuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "%s is not POST", r.Method)
	}
	digits, ok := strings.CutPrefix(r.URL.EscapedPath(), "/3/device/")
	if !ok || r.URL.RawQuery != "" {
		return apnsRefuse(http.StatusNotFound, "BadPath", "%q", r.URL.String())
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

func checkTopic(r *http.Request, p *Push) *apnsRefusal {
	p.Topic = r.Header.Get("Apns-Topic")
	if p.Topic == "" {
		return apnsRefuse(http.StatusBadRequest, "MissingTopic", "no apns-topic")
	}
	if own := apnsPeerTopic(r.TLS); own != p.Topic {
		return apnsRefuse(http.StatusBadRequest, "TopicDisallowed", "apns-topic %q with a certificate of %q", p.Topic, own)
	}
	return nil
}

func checkHeaders(r *http.Request, p *Push) *apnsRefusal {
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Apns-") && len(values) > 1 {
			return apnsRefuse(http.StatusBadRequest, "DuplicateHeaders", "%s", name)
		}
	}
	if kind := r.Header.Get("Apns-Push-Type"); kind != "mdm" {
		return apnsRefuse(http.StatusBadRequest, "InvalidPushType", "apns-push-type %q", kind)
	}
	if priority := r.Header.Get("Apns-Priority"); priority != "" && priority != "10" && priority != "5" {
		return apnsRefuse(http.StatusBadRequest, "BadPriority", "apns-priority %q", priority)
	}
	if id := r.Header.Get("Apns-Id"); id != "" && (uuid.Validate(id) != nil || len(id) != 36 || id != strings.ToLower(id)) {
		return apnsRefuse(http.StatusBadRequest, "BadMessageId", "apns-id %q", id)
	}
	seconds, err := strconv.ParseInt(r.Header.Get("Apns-Expiration"), 10, 64)
	if err != nil || seconds <= 0 {
		return apnsRefuse(http.StatusBadRequest, "BadExpirationDate", "apns-expiration %q does not let APNs keep the push", r.Header.Get("Apns-Expiration"))
	}
	p.Expiration = time.Unix(seconds, 0)
	return nil
}

func checkBody(r *http.Request, p *Push) *apnsRefusal {
	const maxPayload = 4096
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	switch {
	case err != nil:
		panic(http.ErrAbortHandler) // the client went away: not a violation
	case len(body) == 0:
		return apnsRefuse(http.StatusBadRequest, "PayloadEmpty", "no body")
	case len(body) > maxPayload:
		return apnsRefuse(http.StatusRequestEntityTooLarge, "PayloadTooLarge", "more than %d bytes", maxPayload)
	}
	var payload struct {
		MDM *string `json:"mdm"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&payload); err != nil || payload.MDM == nil || *payload.MDM == "" {
		return apnsRefuse(http.StatusBadRequest, "PayloadEmpty", "the body is not {\"mdm\": PushMagic}")
	}
	p.Magic, p.Payload = *payload.MDM, body
	return nil
}
