// Package api is the operators' side of a server as an http.Handler: JSON over HTTP, with a bearer token.
//
//	h, err := api.New(api.Config{Stores: db.Stores(), Tokens: []mdm.Secret{token}})
//	http.Handle("/v1/", h)
//
// It lists enrollments and their commands, queues commands (as raw property lists or as JSON, for one device or for all),
// cancels them, wakes devices, keeps push certificates, lists what expires, shows how workflows stand, and keeps the servers of
// Apple Business Manager and their devices. GET /v1/openapi.json describes it all, without a token.
//
// Lists are paged by key: an answer with more behind it has a next, which is the after of the next request. What goes
// wrong is answered as {"error": {"code", "message"}}; a fault of the server's own says no more than that it is one, and is
// logged. The API never answers with a push token, a key, or a secret.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the description
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/storage"
)

// Config says what the API works on.
type Config struct {
	Stores storage.Stores // Command and Roster are required; what others are for is answered 404 without them

	// Tokens are the bearer tokens that are accepted, so that one can be replaced; none may be shorter than MinToken bytes.
	Tokens []mdm.Secret
	// Authorize, instead of Tokens, says for which tenant a request may act. Its error is answered 401.
	Authorize func(*http.Request) (tenant string, err error)

	// OwnsTopic says with Authorize whether the push certificate of a topic is a tenant's to see and to replace. Nil: no tenant's.
	// With Tokens it is not asked: there is one tenant.
	OwnsTopic func(ctx context.Context, tenant, topic string) bool

	// End ends the management of an enrollment, as checkin.Service.End does. Nil: not offered.
	End func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error

	Expiry Calendar // of the credentials that expire; nil: not offered

	// Workflows is the engine, as server.Server.Workflows returns it: runs can be canceled and resumed. Nil: they can only be
	// looked at, if there is Stores.Runs. MayBegin names the workflows that can be begun; each begins with the zero value of its
	// state.
	Workflows *workflow.Engine
	MayBegin  []string

	// Syncer and Assigner are those whose Run goes on, here or in another process, for the servers of Stores.DEP at Apple: the API
	// makes those of this process act at once, and has the Assigner define profiles. Without a Syncer no sync can be asked for, without
	// an Assigner no profile defined; which profile devices ought to have can be said all the same.
	Syncer   *dep.Syncer
	Assigner *dep.Assigner

	Logger *slog.Logger // failures of the server's own; nil: nothing is logged
}

// MinToken is the least length of a token, in bytes.
const MinToken = 16

// maxBody is the size of the largest request: a command may be as large as a message to a device.
const maxBody = command.MaxBody

//go:embed openapi.json
var description []byte

// api is the handler.
type api struct {
	cfg    Config
	tokens [][sha256.Size]byte
}

// New checks cfg and returns the handler of everything under /v1/.
func New(cfg Config) (http.Handler, error) {
	a := &api{cfg: cfg}
	if cfg.Stores.Command == nil || cfg.Stores.Roster == nil {
		return nil, errors.New("api: Config.Stores.Command and Roster are required")
	}
	if len(cfg.Tokens) == 0 && cfg.Authorize == nil {
		return nil, errors.New("api: Config.Tokens or Authorize is required")
	}
	if len(cfg.MayBegin) > 0 && (cfg.Workflows == nil || cfg.Stores.Runs == nil) {
		return nil, errors.New("api: Config.MayBegin needs Workflows and Stores.Runs")
	}
	if cfg.Stores.DEP == nil && (cfg.Syncer != nil || cfg.Assigner != nil) {
		return nil, errors.New("api: Config.Syncer and Assigner need Stores.DEP")
	}
	if cfg.Syncer != nil && (cfg.Syncer.Store == nil || cfg.Syncer.Connect == nil) || cfg.Assigner != nil && (cfg.Assigner.Store == nil || cfg.Assigner.Connect == nil) {
		return nil, errors.New("api: Config.Syncer and Assigner must be set up")
	}
	for _, t := range cfg.Tokens {
		if len(t.Reveal()) < MinToken {
			return nil, fmt.Errorf("api: a token must have %d bytes at least", MinToken)
		}
		a.tokens = append(a.tokens, sha256.Sum256(t.Reveal()))
	}
	return a.routes(), nil
}

func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range a.table() {
		mux.Handle(pattern, a.serve(f))
	}
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(description)
	})
	return mux
}

// table has every route that needs a token.
func (a *api) table() map[string]func(*call) (any, error) {
	table := map[string]func(*call) (any, error){
		"GET /v1/enrollments":               a.enrollments,
		"GET /v1/enrollments/{id}":          a.enrollment,
		"GET /v1/enrollments/{id}/commands": a.queue,
		"POST /v1/commands":                 a.enqueue,
		"GET /v1/commands/{uuid}":           a.command,
		"DELETE /v1/commands/{uuid}":        a.cancel,
		"GET /v1/asides":                    a.asides,
	}
	optional := func(ok bool, pattern string, f func(*call) (any, error)) {
		if ok {
			table[pattern] = f
		}
	}
	s := &a.cfg.Stores
	optional(a.cfg.End != nil, "POST /v1/enrollments/{id}/end", a.end)
	optional(s.FanOuts != nil, "GET /v1/orders", a.orders)
	optional(s.Events != nil, "GET /v1/events", a.events)
	optional(s.Push != nil, "POST /v1/push", a.push)
	optional(a.cfg.Expiry != nil, "GET /v1/expiry", a.expiry)
	optional(s.Waves != nil, "POST /v1/waves", a.beginWave)
	optional(s.Waves != nil, "GET /v1/waves", a.waves)
	optional(s.Waves != nil, "GET /v1/waves/{id}", a.wave)
	optional(s.Waves != nil, "DELETE /v1/waves/{id}", a.cancelWave)
	optional(s.Runs != nil, "GET /v1/workflows", a.workflows)
	optional(s.Runs != nil, "GET /v1/runs", a.runs)
	optional(s.Runs != nil, "GET /v1/runs/{id}", a.run)
	engine := s.Runs != nil && a.cfg.Workflows != nil
	optional(engine, "POST /v1/workflows/{name}/runs", a.beginRuns)
	optional(engine, "POST /v1/runs/resume", a.resumeRuns)
	optional(engine, "POST /v1/runs/{id}/cancel", a.cancelRun)
	optional(engine, "POST /v1/runs/{id}/resume", a.resumeRun)
	optional(s.PushCertificates != nil, "GET /v1/push-certificates", a.pushCertificates)
	optional(s.PushCertificates != nil, "PUT /v1/push-certificates", a.savePushCertificate)
	abm := "/v1/abm/servers/{name}"
	optional(s.DEP != nil, "GET /v1/abm/servers", a.abmServers)
	optional(s.DEP != nil, "GET "+abm, a.abmServer)
	optional(s.DEP != nil, "PUT "+abm, a.enlist)
	optional(s.DEP != nil, "PUT "+abm+"/token", a.importToken)
	optional(s.DEP != nil, "PUT "+abm+"/profile", a.setProfile)
	optional(s.DEP != nil, "GET "+abm+"/profiles", a.abmProfiles)
	optional(s.DEP != nil && a.cfg.Assigner != nil, "POST "+abm+"/profiles", a.define)
	optional(s.DEP != nil && a.cfg.Syncer != nil, "POST "+abm+"/sync", a.sync)
	optional(s.DEP != nil, "GET "+abm+"/devices", a.abmDevices)
	optional(s.DEP != nil, "PUT "+abm+"/devices/profile", a.want)
	optional(s.DEP != nil, "GET /v1/abm/devices/{serial}", a.abmDevice)
	return table
}

// call is a request that may be answered.
type call struct {
	*http.Request
	w      http.ResponseWriter
	tenant string
	begun  bool // the answer: an error can no longer have a status
}

// serve turns a function into a handler.
func (a *api) serve(f func(*call) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		tenant, err := a.authorize(r)
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			write(w, http.StatusUnauthorized, failure("unauthorized", "the token is missing or wrong", ""))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		c := &call{Request: r, w: w, tenant: tenant}
		answer, err := f(c)
		switch {
		case err != nil:
			a.fail(c, err)
		case answer != nil:
			write(w, http.StatusOK, answer)
		}
	})
}

func (a *api) authorize(r *http.Request) (string, error) {
	if a.cfg.Authorize != nil {
		return a.cfg.Authorize(r)
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum, found := sha256.Sum256([]byte(given)), 0
	for _, t := range a.tokens {
		found |= subtle.ConstantTimeCompare(sum[:], t[:])
	}
	if !ok || found == 0 {
		return "", errors.New("no token")
	}
	return "", nil
}

func write(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who has gone does not need it
}

// failure is the body of a refusal. word may be empty.
func failure(code, message, word string) any {
	said := map[string]string{"code": code, "message": message}
	if word != "" {
		said["word"] = word
	}
	return map[string]any{"error": said}
}

// statuses is what codes are answered with. Unmanaged and UserDeclined are for devices only.
var statuses = map[mdm.Code]int{
	mdm.Malformed: http.StatusBadRequest, mdm.TooLarge: http.StatusRequestEntityTooLarge, mdm.Forbidden: http.StatusForbidden,
	mdm.NotFound: http.StatusNotFound, mdm.Unavailable: http.StatusServiceUnavailable,
}

// leastWait is how long who is answered 503 is to wait.
const leastWait = 5 * time.Second

// fail answers an error, or ends an answer that has begun with it.
func (a *api) fail(c *call, err error) {
	if r, ok := refusalOf(err); ok {
		if r.status >= http.StatusInternalServerError {
			a.log(c, slog.LevelWarn, "Apple refused it", err)
		}
		a.answer(c, r)
		return
	}
	var large *http.MaxBytesError
	r := refusal{message: cause(err)}
	code := mdm.CodeOf(err)
	if errors.As(err, &large) {
		code, r.message = mdm.TooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit)
	}
	status, ours := statuses[code]
	if !ours || code == mdm.Unavailable {
		a.log(c, slog.LevelError, "the request failed", err)
		r.message = "the server could not do it; its log says why"
	}
	if !ours {
		status, code = http.StatusInternalServerError, mdm.Internal
	}
	if code == mdm.Unavailable {
		r.wait = leastWait
	}
	r.status, r.code = status, code.String()
	a.answer(c, r)
}

// answer answers with a refusal.
func (a *api) answer(c *call, r refusal) {
	if r.wait > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(r.wait.Seconds()))))
	}
	answer := failure(r.code, r.message, r.word)
	if c.begun {
		_ = json.NewEncoder(c.w).Encode(answer)
		return
	}
	write(c.w, r.status, answer)
}

func (a *api) log(c *call, level slog.Level, msg string, err error) {
	if a.cfg.Logger != nil {
		a.cfg.Logger.LogAttrs(c.Context(), level, msg, slog.String("method", c.Method), slog.String("path", c.URL.Path), slog.Any("error", err))
	}
}

func malformed(format string, args ...any) error {
	return mdm.Errorf(mdm.Malformed, "api", format, args...)
}
