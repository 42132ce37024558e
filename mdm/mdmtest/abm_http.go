package mdmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const abmBody = 4 << 20 // bytes of a request

// abmCall is a call as it came.
type abmCall struct {
	method, path, host string
	query              url.Values
	header             http.Header
	body               []byte
	version            int // X-Server-Protocol-Version
	now                time.Time
	server             *ABMServer // whose it is, once that is known
	paging             bool
	rotated            string // the new session
}

// name is how the call is counted.
func (c *abmCall) name() string { return c.method + " " + c.path }

// abmReply is an answer.
type abmReply struct {
	status int
	body   []byte
	kind   string // Content-Type
	retry  string
	wrong  string // what is to be noted as a violation
}

// sayABM refuses a call with a code of Apple's, through no fault of the client's.
func sayABM(status int, code string) abmReply {
	return abmReply{status: status, body: []byte(code), kind: "text/plain;charset=UTF-8"}
}

// refuseABM refuses a call that is wrong.
func refuseABM(status int, code, format string, args ...any) abmReply {
	reply := sayABM(status, code)
	reply.wrong = fmt.Sprintf("%d %s: ", status, code) + fmt.Sprintf(format, args...)
	return reply
}

// json answers with v.
func (c *abmCall) json(v any) abmReply {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("mdmtest: %v", err))
	}
	return c.raw(body)
}

func (c *abmCall) raw(body []byte) abmReply {
	return abmReply{status: http.StatusOK, body: body, kind: "application/json;charset=UTF-8"}
}

// routes are the calls, by path and method.
func (a *ABM) routes() map[string]map[string]func(*abmCall) abmReply {
	type methods = map[string]func(*abmCall) abmReply
	return map[string]methods{
		"/session":                           {"GET": a.session},
		"/account":                           {"GET": a.account},
		"/server/devices":                    {"POST": a.fetchPage},
		"/devices/sync":                      {"POST": a.syncPage},
		"/devices":                           {"POST": a.details},
		"/devices/disown":                    {"POST": a.disown},
		"/profile":                           {"POST": a.define, "GET": a.profileOf},
		"/profile/devices":                   {"PUT": a.assign, "POST": a.assign, "DELETE": a.unassign},
		"/device/activationlock":             {"POST": a.activationLock},
		"/os-beta-enrollment/tokens":         {"GET": a.betaTokens},
		"/account-driven-enrollment/profile": {"POST": a.setDiscovery, "GET": a.getDiscovery, "DELETE": a.endDiscovery},
		"/device/replacementDetails":         {"GET": a.replacement},
	}
}

// serve takes a request.
func (a *ABM) serve(w http.ResponseWriter, r *http.Request) {
	c := &abmCall{method: r.Method, path: r.URL.Path, host: r.Host, query: r.URL.Query(), header: r.Header}
	name := c.name()
	if a.calls[c.path][c.method] == nil {
		name = "other"
	}
	fault := a.strike(name)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, abmBody))
	var large *http.MaxBytesError
	if err != nil && !errors.As(err, &large) {
		panic(http.ErrAbortHandler) // the client is gone
	}
	c.body = body
	var reply abmReply
	switch {
	case fault.unseen():
	case large != nil:
		reply = a.refuseLarge(c)
	default:
		reply = a.answer(c)
	}
	defer a.done(c)
	if !a.wait(r, fault.Delay) || fault.Cut {
		panic(http.ErrAbortHandler)
	}
	a.write(w, r, fault.over(reply, a.config.Clock()), c, fault)
}

// wait reports whether the client waits for an answer for so long.
func (a *ABM) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-a.shutdown:
	}
	return false
}

func (a *ABM) write(w http.ResponseWriter, r *http.Request, reply abmReply, c *abmCall, fault ABMFault) {
	h := w.Header()
	h.Set("Content-Type", reply.kind)
	if reply.retry != "" {
		h.Set("Retry-After", reply.retry)
	}
	if c.rotated != "" {
		h.Set(abmSessionHeader, c.rotated)
	}
	a.mu.Lock()
	if !fault.Half && !fault.Stall {
		a.totals.ByStatus[reply.status]++
	}
	if a.odd.QuoteErrors && reply.status >= http.StatusBadRequest && fault.Status == 0 {
		reply.body = []byte(" \"" + string(reply.body) + "\" \r\n")
	}
	a.mu.Unlock()
	h.Set("Content-Length", strconv.FormatInt(int64(len(reply.body))+fault.Size, 10))
	w.WriteHeader(reply.status)
	if fault.Half || fault.Stall {
		_, _ = w.Write(reply.body[:len(reply.body)/2])
		_ = http.NewResponseController(w).Flush()
		if fault.Stall {
			a.wait(r, 1<<62)
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(reply.body)
	for spaces := bytes.Repeat([]byte{' '}, 64<<10); fault.Size > 0; fault.Size -= int64(len(spaces)) {
		if _, err := w.Write(spaces[:min(int64(len(spaces)), fault.Size)]); err != nil {
			return
		}
	}
}

func (a *ABM) refuseLarge(c *abmCall) abmReply {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.violate("%s: 413: a body of more than %d bytes", c.name(), abmBody)
	return sayABM(http.StatusRequestEntityTooLarge, "MALFORMED_REQUEST_BODY")
}

// answer decides a call, one at a time.
func (a *ABM) answer(c *abmCall) abmReply {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.now = a.now()
	reply := a.decide(c)
	if reply.wrong != "" {
		a.violate("%s%s: %s", c.name(), c.whose(), reply.wrong)
	}
	return reply
}

func (c *abmCall) whose() string {
	if c.server == nil {
		return ""
	}
	return " of " + c.server.name
}

func (a *ABM) decide(c *abmCall) abmReply {
	methods := a.calls[c.path]
	call := methods[c.method]
	switch {
	case methods == nil:
		return refuseABM(http.StatusNotFound, "NOT_FOUND", "there is no such call")
	case call == nil:
		return refuseABM(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "there is no such method")
	}
	if reply, ok := a.headers(c); !ok {
		return reply
	}
	if c.path != "/session" {
		if reply, ok := a.admit(c); !ok {
			return reply
		}
	}
	return call(c)
}

// headers looks at what is common to all calls.
func (a *ABM) headers(c *abmCall) (abmReply, bool) {
	agents := c.header["User-Agent"]
	if len(agents) == 0 || agents[0] == "" {
		return refuseABM(http.StatusBadRequest, "USER_AGENT_MISSING", "there is no User-Agent"), false
	}
	product, version, _ := strings.Cut(strings.SplitN(agents[0], " ", 2)[0], "/")
	printable := strings.IndexFunc(agents[0], func(r rune) bool { return r < ' ' || r > '~' }) < 0
	if len(agents) > 1 || product == "" || version == "" || !printable || len(agents[0]) > 512 {
		return refuseABM(http.StatusBadRequest, "USER_AGENT_INVALID", "the User-Agent is no product/version"), false
	}
	if product == "Go-http-client" {
		a.violate("unwise: %s: the User-Agent does not tell who asks", c.name())
	}
	c.version = 1
	if v := c.header["X-Server-Protocol-Version"]; len(v) > 0 {
		n, err := strconv.Atoi(v[0])
		if err != nil || n < 1 || len(v) > 1 {
			return refuseABM(http.StatusBadRequest, "BAD_REQUEST", "X-Server-Protocol-Version is %q", v), false
		}
		c.version = n
	}
	if accept := c.header.Get("Accept"); accept != "" && !strings.Contains(accept, "*/*") && !strings.Contains(accept, "application/json") {
		return refuseABM(http.StatusNotAcceptable, "NOT_ACCEPTABLE", "the client does not accept JSON"), false
	}
	if len(c.body) == 0 {
		return abmReply{}, true
	}
	if c.method == http.MethodGet {
		return refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "a GET with a body"), false
	}
	kind, params, err := mime.ParseMediaType(c.header.Get("Content-Type"))
	charset := strings.ToLower(strings.ReplaceAll(params["charset"], "-", ""))
	if err != nil || kind != "application/json" || charset != "" && charset != "utf8" {
		return refuseABM(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type is %q", c.header.Get("Content-Type")), false
	}
	return abmReply{}, true
}

// decode reads the body, an object of JSON and nothing after it. Apple's keys have small letters: package json, which does not care,
// sees no others.
func (c *abmCall) decode(into any) (abmReply, bool) {
	var keys map[string]json.RawMessage
	err := json.Unmarshal(c.body, &keys)
	if err == nil && keys == nil {
		err = errors.New("no object")
	}
	if err == nil {
		maps.DeleteFunc(keys, func(key string, _ json.RawMessage) bool { return strings.ToLower(key) != key })
		if c.body, err = json.Marshal(keys); err == nil {
			err = json.Unmarshal(c.body, into)
		}
	}
	if err != nil {
		return refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "%v", err), false
	}
	return abmReply{}, true
}

// done ends what a call has begun.
func (a *ABM) done(c *abmCall) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.paging {
		c.server.paging--
	}
}
