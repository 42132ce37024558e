package ota

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gomdm/applemdm/internal/refusal"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

// request is one request on its way.
type request struct {
	w http.ResponseWriter
	r *http.Request

	session   enroll.Session // as far as it is known
	returning bool           // the session's own device, which had its profile
	body      []byte         // the profile to answer with
	answered  bool           // by Login
}

func (r *request) ctx() context.Context { return r.r.Context() }

// handler serves one method with serve, and answers for it.
func (s *Service) handler(name, method string, serve func(*request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != method {
			w.Header().Set("Allow", method)
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		x := &request{w: w, r: r}
		err := s.check()
		if err == nil {
			err = serve(x)
		}
		status := s.answer(x, err)
		s.log(x, name, status, err)
	})
}

// answer writes what there is to say and returns its status. The text of an error stays here.
func (s *Service) answer(r *request, err error) int {
	h := r.w.Header()
	switch status := refusal.Status(err); {
	case r.answered:
		return 0
	case err == nil:
		h.Set("Content-Type", profile.ContentType)
		h.Set("Content-Length", strconv.Itoa(len(r.body)))
		r.w.WriteHeader(status)
		_, _ = r.w.Write(r.body)
		return status
	case status == http.StatusForbidden && r.returning && s.Restart != "":
		h.Set("Location", s.Restart)
		r.w.WriteHeader(http.StatusSeeOther) // to be fetched by GET
		return http.StatusSeeOther
	default:
		if status == http.StatusServiceUnavailable {
			h.Set("Retry-After", strconv.Itoa(refusal.RetryAfter))
		}
		http.Error(r.w, http.StatusText(status), status)
		return status
	}
}

// ours is an error of a hook, a store or a signer.
func ours(err error) error { return refusal.Ours("ota.Service", err) }

// log writes the record of a request. Neither challenges nor profiles are in it.
func (s *Service) log(r *request, name string, status int, err error) {
	if s.Logger == nil || r.answered {
		return
	}
	level := slog.LevelInfo
	attrs := []slog.Attr{slog.String("session", r.session.ID), slog.String("tenant", r.session.Tenant), slog.String("user", r.session.User),
		slog.String("state", r.session.State.String()), slog.String("udid", r.session.Device["UDID"]), slog.Int("http", status)}
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
	s.Logger.LogAttrs(r.ctx(), level, "ota "+name, attrs...)
}
