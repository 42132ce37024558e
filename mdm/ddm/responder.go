package ddm

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Backend is what a [Responder] asks: which declarations an enrollment is to have, and who hears what it reports. [Groups] is one.
// It is safe for concurrent use.
type Backend interface {
	// Declarations returns the declarations that an enrollment has now; none is an empty set, which takes back all that it
	// has. After any error it keeps what it has, and asks again.
	Declarations(ctx context.Context, id mdm.EnrollmentID) ([]Declaration, error)
	// Status takes a report. What it returns nil for is not reported again, so it is kept, or acted on, before. Reports may come
	// again, and before the answer to the command after which they come. What they have to say of the declarations is in
	// StatusItems["management"]; [StatusItemsOf] reads it.
	Status(ctx context.Context, id mdm.EnrollmentID, r StatusReport) error
}

// Limits of status reports.
const (
	DefaultMaxStatus = 2 << 20 // bytes
	MaxStatusDepth   = 32      // of objects and lists in each other
)

// Responder answers devices in declarative management: set it as the Declarative of a checkin.Service. It keeps nothing: every
// answer follows from what its Backend says at that moment, so any number of processes answer alike. The set may change between
// two requests of a device; then it gets what there is now, and synchronizes again after the command that told of the change.
//
// Only a declaration that is not there is answered NotFound, with which a device drops it. Whatever fails is Unavailable or
// Internal, and the device keeps what it has.
//
// Source: Apple, DeclarativeManagementRequest; TokensResponse; DeclarationItemsResponse; StatusReport.
type Responder struct {
	Backend   Backend          // required
	MaxStatus int              // bytes of a report; 0: DefaultMaxStatus
	Clock     func() time.Time // nil: time.Now
	Logger    *slog.Logger     // for sets that cannot be published, and odd reports; nil: nothing is logged
}

const typeJSON = "application/json"

// Declare implements checkin.Declarative.
func (r *Responder) Declare(ctx context.Context, id mdm.EnrollmentID, endpoint string, data []byte) (*checkin.Reply, error) {
	e, err := ParseEndpoint(endpoint)
	if err != nil {
		return nil, named(err, id)
	}
	switch e.Name {
	case EndpointStatus:
		return nil, r.status(ctx, id, data)
	case EndpointDeclaration:
		return r.declaration(ctx, id, e)
	}
	s, err := r.Set(ctx, id)
	if err != nil {
		return nil, err
	}
	var answer any = s.Items()
	if e.Name == EndpointTokens {
		answer = s.Tokens(r.now())
	}
	return reply(json.Marshal(answer))
}

// Set returns what an enrollment has now. An error is Unavailable if the Backend failed, whatever that said, and Internal, with a
// *[SetError] in it, if what it returned cannot be published.
func (r *Responder) Set(ctx context.Context, id mdm.EnrollmentID) (*Set, error) {
	list, err := r.Backend.Declarations(ctx, id)
	if err != nil {
		return nil, outage(err, id)
	}
	s, err := NewSet(list)
	if err != nil {
		return nil, r.unfit(ctx, id, mdm.Errorf(mdm.Internal, "ddm.Declare", "%w", err))
	}
	return s, nil
}

// declaration answers with one declaration.
func (r *Responder) declaration(ctx context.Context, id mdm.EnrollmentID, e Endpoint) (*checkin.Reply, error) {
	list, err := r.Backend.Declarations(ctx, id)
	if err != nil {
		return nil, outage(err, id)
	}
	body, err := one(list, e.Kind, e.Identifier)
	if err != nil {
		return nil, r.unfit(ctx, id, err)
	}
	if body == nil {
		return nil, &mdm.Error{Code: mdm.NotFound, Op: "ddm.Declare", Enrollment: id, Err: errors.New("the declaration is not there any more")}
	}
	return reply(body, nil)
}

// status takes a report. What has another type than the schema says is passed on as it came.
func (r *Responder) status(ctx context.Context, id mdm.EnrollmentID, data []byte) error {
	const op = "ddm.Status"
	most := r.MaxStatus
	if most <= 0 {
		most = DefaultMaxStatus
	}
	switch {
	case len(data) > most:
		return &mdm.Error{Code: mdm.TooLarge, Op: op, Enrollment: id, Err: errors.New("the report is too large")}
	case deeperThan(data, MaxStatusDepth):
		return &mdm.Error{Code: mdm.Malformed, Op: op, Enrollment: id, Err: errors.New("the report is nested too deep")}
	}
	report, _, err := ParseStatusReport(data)
	if report == nil {
		return named(err, id)
	}
	if err != nil {
		r.log(ctx, "a status report has what the schema does not", id, err)
	}
	if err := r.Backend.Status(ctx, id, *report); err != nil {
		return outage(err, id)
	}
	return nil
}

// outage is an error of the Backend as a device gets it. No code of it passes: neither may a device drop a declaration, nor end
// its management, because a database said that something is not found.
func outage(err error, id mdm.EnrollmentID) error {
	code := mdm.Unavailable
	if e := (*mdm.Error)(nil); errors.As(err, &e) && (e.Code == mdm.Internal || e.Code == mdm.TooLarge || e.Code == mdm.Malformed) {
		code = mdm.Internal
	}
	return &mdm.Error{Code: code, Op: "ddm.Declare", Enrollment: id, Err: err}
}

// unfit logs what the vendor has to repair.
func (r *Responder) unfit(ctx context.Context, id mdm.EnrollmentID, err error) error {
	r.log(ctx, "declarations cannot be published", id, err)
	return named(err, id)
}

// named says whose request failed.
func named(err error, id mdm.EnrollmentID) error {
	return &mdm.Error{Code: mdm.CodeOf(err), Op: "ddm.Declare", Enrollment: id, Err: err}
}

func (r *Responder) log(ctx context.Context, text string, id mdm.EnrollmentID, err error) {
	if r.Logger != nil {
		r.Logger.LogAttrs(ctx, slog.LevelWarn, text, slog.String("enrollment", id.String()), slog.Any("error", err))
	}
}

func (r *Responder) now() time.Time {
	if r.Clock != nil {
		return r.Clock()
	}
	return time.Now()
}

func reply(body []byte, err error) (*checkin.Reply, error) {
	if err != nil {
		return nil, mdm.Errorf(mdm.Internal, "ddm.Declare", "%w", err)
	}
	return &checkin.Reply{ContentType: typeJSON, Body: body}, nil
}

// deeperThan reports whether JSON is nested deeper than most, before it is parsed. Of what is no JSON it says something or other.
func deeperThan(data []byte, most int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// StatusItemsOf reads the items of a report as the schema has them. What has another type than the schema says is in the fields
// Extra, and named by the Mismatches.
func StatusItemsOf(r StatusReport) (*StatusItems, schema.Mismatches) {
	items := &StatusItems{}
	return items, schema.DecodeTree(r.StatusItems, items)
}
