package ota

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/profile"
)

const retryAfter = 60 // seconds, for an Unavailable answer

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
	switch status := statusOf(err); {
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
			h.Set("Retry-After", strconv.Itoa(retryAfter))
		}
		http.Error(r.w, http.StatusText(status), status)
		return status
	}
}

// statusOf is the one place of this package where errors become HTTP. Nothing is 401: a device would ask its user to log in
// again and again. Whatever else a hook may have to say of a device is a refusal.
func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	switch mdm.CodeOf(err) {
	case mdm.Internal:
		return http.StatusInternalServerError
	case mdm.Unavailable:
		return http.StatusServiceUnavailable
	case mdm.Malformed:
		return http.StatusBadRequest
	case mdm.TooLarge:
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusForbidden
	}
}

// ours is an error of a hook, a store or a signer. The device cannot have sent what these call malformed.
func ours(err error) error {
	if code := mdm.CodeOf(err); code == mdm.Malformed || code == mdm.TooLarge {
		return mdm.Errorf(mdm.Internal, "ota.Service", "%w", err)
	}
	return err
}

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
