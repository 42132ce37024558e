package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// Media types of the protocol (Apple: MDM Protocol Reference).
const (
	typeCheckin = "application/x-apple-aspen-mdm-checkin"
	typeCommand = "application/x-apple-aspen-mdm"
	typeReply   = "application/xml; charset=UTF-8"
)

// exchange is one request on its way.
type exchange struct {
	started time.Time
	kind    string // "checkin" or "command"
	body    []byte
	header  plistx.Header
	id      mdm.EnrollmentID
	channel mdm.Channel
	caller  identity.Presented
	claim   identity.Claim
	detail  string // what was answered, for the log
}

// ServeHTTP answers one request of a device. Everything that fails is turned into a status in one place; a panic
// becomes 500.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{started: s.cfg.Clock()}
	reply, err := s.serve(w, r, x)
	if err != nil {
		writeError(w, err)
	} else {
		writeReply(w, reply)
	}
	s.logRequest(r, x, err)
}

// serve contains a panic of anything below it: one bad message must not take the process, nor a device's queue.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, x *exchange) (reply *checkin.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, &panicError{value: fmt.Sprint(p), stack: debug.Stack()}
		}
	}()
	if err := s.read(w, r, x); err != nil {
		return nil, err
	}
	if err := s.identify(r, x); err != nil {
		return nil, err
	}
	if x.kind == "checkin" {
		return s.serveCheckin(r, x)
	}
	return s.serveCommand(r, x)
}

// read takes the body in, within its limits.
func (s *Server) read(w http.ResponseWriter, r *http.Request, x *exchange) error {
	const op = "server.read"
	if r.Method != http.MethodPut {
		return &httpError{status: http.StatusMethodNotAllowed, text: "only PUT is served here"}
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && media == typeCheckin:
		x.kind = "checkin"
	case err == nil && media == typeCommand:
		x.kind = "command"
	default:
		return &httpError{status: http.StatusUnsupportedMediaType, text: "not a content type of the MDM protocol"}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &httpError{status: http.StatusUnsupportedMediaType, text: "encoded content is not accepted"}
	}
	if s.cfg.ReadTimeout > 0 { // a slow body holds its connection only so long; not every writer can do it
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
	}
	x.body, err = readBody(http.MaxBytesReader(w, r.Body, s.cfg.MaxBody), r.ContentLength, s.cfg.MaxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return mdm.Errorf(mdm.TooLarge, op, "the body is larger than %d bytes", s.cfg.MaxBody)
	case err != nil:
		return mdm.Errorf(mdm.Malformed, op, "the body cannot be read: %w", err)
	case s.cfg.ReadTimeout > 0:
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	return nil
}

// readBody reads everything, with one allocation if the length is announced and allowed.
func readBody(body io.Reader, length, limit int64) ([]byte, error) {
	if length <= 0 || length > limit {
		return io.ReadAll(body)
	}
	buf := make([]byte, length)
	n, err := io.ReadFull(body, buf)
	return buf[:n], err
}

// identify finds out who sent the message, from its certificate and its identifiers, and whether the certificate is
// acceptable at all. Whether it may speak for the enrollment is decided in the store's transaction.
func (s *Server) identify(r *http.Request, x *exchange) (err error) {
	if x.caller, err = s.cfg.Extractor.Extract(r, x.body); err != nil {
		return err
	}
	if x.caller.Leaf == nil {
		return mdm.Errorf(mdm.Malformed, "server.identify", "no client certificate")
	}
	if err := s.scan(x); err != nil {
		return err
	}
	tenant := ""
	if s.cfg.Tenant != nil {
		tenant = s.cfg.Tenant(r)
	}
	if x.id, x.channel, err = identifiers(x.header).Resolve(tenant); err != nil {
		return err
	}
	x.claim = identity.Claim{
		ID: x.id, Channel: x.channel, Message: x.header.MessageType, AuthToken: x.header.AuthToken,
		At: x.started, Certificate: x.caller.Leaf, Fingerprint: mdm.FingerprintOf(x.caller.Leaf),
	}
	return s.cfg.Validator.Validate(r.Context(), x.caller, x.claim)
}

// scan checks the message and picks out its header. A report that a device cannot write better is repaired: refused, it
// would come again for ever, and nothing behind it.
func (s *Server) scan(x *exchange) (err error) {
	limits := plistx.Limits{Bytes: int(s.cfg.MaxBody)}
	x.header, err = plistx.Scan(x.body, limits)
	if errors.Is(err, plistx.ErrSyntax) && x.kind == "command" {
		if repaired := plistx.Repair(x.body); repaired != nil {
			if header, again := plistx.Scan(repaired, limits); again == nil {
				x.header, x.body, err = header, repaired, nil
			}
		}
	}
	switch {
	case errors.Is(err, plistx.ErrTooLarge):
		return mdm.Errorf(mdm.TooLarge, "server.scan", "%w", err)
	case err != nil:
		return mdm.Errorf(mdm.Malformed, "server.scan", "%w", err)
	}
	return nil
}

func identifiers(h plistx.Header) mdm.Identifiers {
	return mdm.Identifiers{UDID: h.UDID, EnrollmentID: h.EnrollmentID, UserID: h.UserID, EnrollmentUserID: h.EnrollmentUserID,
		UserShortName: h.UserShortName, UserLongName: h.UserLongName}
}

func (s *Server) serveCheckin(r *http.Request, x *exchange) (*checkin.Reply, error) {
	if x.header.MessageType == "" {
		return nil, mdm.Errorf(mdm.Malformed, "server.checkin", "MessageType is missing")
	}
	m, err := checkin.Decode(x.body)
	if err != nil {
		return nil, err
	}
	return s.checkin.Checkin(r.Context(), &checkin.Request{
		ID: x.id, Channel: x.channel, Identifiers: identifiers(x.header), Certificate: x.claim.Certificate,
		Fingerprint: x.claim.Fingerprint, Message: m, Raw: x.body, AuthToken: x.header.AuthToken, At: x.started,
	})
}

func (s *Server) serveCommand(r *http.Request, x *exchange) (*checkin.Reply, error) {
	offer, err := s.command.Report(r.Context(), &command.Request{
		ID: x.id, Channel: x.channel, Certificate: x.claim.Certificate, Fingerprint: x.claim.Fingerprint, AuthToken: x.header.AuthToken,
		Status: command.Status(x.header.Status), CommandUUID: x.header.CommandUUID,
		UserConfiguration: x.header.UserConfiguration == plistx.True, Raw: x.body, At: x.started,
	})
	if err != nil || offer == nil {
		return nil, err
	}
	x.detail = offer.RequestType
	return &checkin.Reply{ContentType: typeReply, Body: offer.Body}, nil
}
