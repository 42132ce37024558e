package ade

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/internal/refusal"
	"github.com/gomdm/applemdm/mdm/enroll"
)

// request is one request on its way.
type request struct {
	w http.ResponseWriter
	r *http.Request

	session  enroll.Session // as far as it is known
	password *Password      // how the user has to log in; nil: not at all, or not known yet
	once     bool           // the session's ID is that of a nonce
	reply    reply
	answered bool   // by a hook
	page     bool   // a user looks at the answer, in a web view
	note     string // for the log
}

// reply is an answer that is no error.
type reply struct {
	status      int // 0: there is none yet
	contentType string
	challenges  []string // WWW-Authenticate
	body        []byte
}

func (r *request) ctx() context.Context { return r.r.Context() }

// said reports whether the answer is known.
func (r *request) said() bool { return r.reply.status != 0 || r.answered }

// handler serves some methods with serve, and answers for it.
func (s *Service) handler(name string, serve func(*request) error, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve(name, &request{w: w, r: r, page: name != "enroll"}, serve, methods...)
	})
}

func (s *Service) serve(name string, r *request, serve func(*request) error, methods ...string) {
	h := r.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // what a page loads elsewhere, or leads to, does not learn states and codes
	if !slices.Contains(methods, r.r.Method) {
		h.Set("Allow", strings.Join(methods, ", "))
		http.Error(r.w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	err := s.check()
	if err == nil {
		err = serve(r)
	}
	s.log(r, name, s.answer(r, err), err)
}

// answer writes what there is to say and returns its status. The text of an error stays here.
func (s *Service) answer(r *request, err error) int {
	h := r.w.Header()
	switch status := refusal.Status(err); {
	case r.answered:
		return 0
	case err == nil:
		h.Set("Content-Type", r.reply.contentType)
		h.Set("Content-Length", strconv.Itoa(len(r.reply.body)))
		for _, challenge := range r.reply.challenges {
			h.Add("Www-Authenticate", challenge)
		}
		r.w.WriteHeader(r.reply.status)
		_, _ = r.w.Write(r.reply.body)
		return r.reply.status
	default:
		if status == http.StatusServiceUnavailable {
			h.Set("Retry-After", strconv.Itoa(refusal.RetryAfter))
		}
		if r.page && s.Page != nil {
			s.Page(r.w, r.r, status)
			return status
		}
		http.Error(r.w, http.StatusText(status), status)
		return status
	}
}

// ours is an error of a hook, a store or a signer.
func ours(err error) error { return refusal.Ours("ade.Service", err) }

// log writes the record of a request. Neither states nor passwords nor profiles are in it.
func (s *Service) log(r *request, name string, status int, err error) {
	if s.Logger == nil {
		return
	}
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("session", r.session.ID), slog.String("tenant", r.session.Tenant), slog.String("user", r.session.User),
		slog.String("udid", r.session.Device["UDID"]), slog.String("serial", r.session.Device["SERIAL"]), slog.Int("http", status)}
	if r.note != "" {
		attrs = append(attrs, slog.String("note", r.note))
	}
	if err != nil {
		level = slog.LevelWarn
		if status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		attrs = append(attrs, slog.Any("error", err))
	}
	if errors.Is(err, context.Canceled) {
		level = slog.LevelInfo // the device went away
	}
	s.Logger.LogAttrs(r.ctx(), level, "ade "+name, attrs...)
}
