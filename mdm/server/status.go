package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

// unrecognized is the body that tells a device of iOS 17, macOS 14 and their like to remove its management (Apple:
// the error com.apple.unrecognized.device).
const unrecognized = "com.apple.unrecognized.device"

const retryAfter = 60 // seconds, for an Unavailable answer

// StatusOf returns the HTTP status for an error. Only [mdm.Unmanaged] gives 401, or 403 with a code that devices know:
// the two answers that end a device's management. An unclassified error gives 500, after which a device keeps its
// management and repeats.
func StatusOf(err error) int {
	var plain *httpError
	if errors.As(err, &plain) {
		return plain.status
	}
	switch mdm.CodeOf(err) {
	case mdm.Unavailable:
		return http.StatusServiceUnavailable
	case mdm.Malformed:
		return http.StatusBadRequest
	case mdm.TooLarge:
		return http.StatusRequestEntityTooLarge
	case mdm.Forbidden:
		return http.StatusForbidden
	case mdm.NotFound:
		return http.StatusNotFound
	case mdm.UserDeclined:
		return http.StatusGone
	case mdm.Unmanaged:
		if knowsUnrecognized(err) {
			return http.StatusForbidden
		}
		return http.StatusUnauthorized
	default:
		return http.StatusInternalServerError
	}
}

func knowsUnrecognized(err error) bool {
	var e *mdm.Error
	return errors.As(err, &e) && e.Code == mdm.Unmanaged && e.KnowsUnrecognized
}

// writeError writes the answer to a failed request. The text of the error stays here; a device gets the status alone.
func writeError(w http.ResponseWriter, err error) {
	status := StatusOf(err)
	switch {
	case knowsUnrecognized(err):
		body, _ := json.Marshal(map[string]string{ // of strings: cannot fail
			"code":        unrecognized,
			"description": "This device is not managed by this server.",
			"message":     "This device is no longer managed.",
		})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	case status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPut)
	}
	http.Error(w, http.StatusText(status), status)
}

// writeReply writes a successful answer. Nothing to say is a body of zero bytes: an empty property list would be read
// as a command.
func writeReply(w http.ResponseWriter, reply *checkin.Reply) {
	if reply == nil || len(reply.Body) == 0 {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", reply.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(reply.Body)
}

// httpError is a failure of HTTP itself, before there is a message.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return "server: " + e.text }

// panicError is a contained panic; unclassified, so it is answered 500.
type panicError struct {
	value string
	stack []byte
}

func (e *panicError) Error() string { return "server: panic: " + e.value }

// logRequest writes the one record of a request.
func (s *Server) logRequest(r *http.Request, x *exchange, err error) {
	if s.cfg.Requests == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("enrollment", x.id.String()),
		slog.String("message", x.header.MessageType),
		slog.String("via", x.caller.Via),
		slog.Duration("took", s.cfg.Clock().Sub(x.started)),
	}
	if x.kind == "command" {
		attrs = append(attrs, slog.String("status", x.header.Status), slog.String("command", x.header.CommandUUID), slog.String("next", x.detail))
	}
	level := slog.LevelInfo
	if err != nil {
		status := StatusOf(err)
		level = slog.LevelWarn
		if status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		attrs = append(attrs, slog.Int("http", status), slog.Any("error", err))
		var p *panicError
		if errors.As(err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
	}
	kind := x.kind
	if kind == "" {
		kind = "request"
	}
	s.cfg.Requests.LogAttrs(r.Context(), level, kind, attrs...)
}
