package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Version is that of [Delivery]. Keys may come without a new one; receivers pass over those that they do not know.
const Version = 1

// Delivery is the body of a request.
type Delivery struct {
	Version int       `json:"version"`
	ID      string    `json:"id"` // as IDHeader
	Event   mdm.Event `json:"event"`
	Result  *Result   `json:"result,omitempty"` // with Config.Results: of command.acknowledged and command.failed
}

// Result is what a device answered.
type Result struct {
	Status   string          `json:"status,omitempty"`
	Errors   []ResultError   `json:"errors,omitempty"`
	Response json.RawMessage `json:"response,omitempty"` // the keys of the answer, in the form of schema.EncodeJSON
	LeftOut  []string        `json:"leftOut,omitempty"`  // paths of keys that are secret, or that the schema does not know
	Note     string          `json:"note,omitempty"`     // why there is nothing
}

// ResultError is one error of a device's answer.
type ResultError struct {
	Code   int    `json:"code"`
	Domain string `json:"domain"`
	Text   string `json:"text,omitempty"` // for people
}

// eventID names an event, however often and from wherever it is sent. Numbers alone may come again in another database.
func eventID(e *mdm.Event) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", e.Type, e.Enrollment, e.Seq, e.At.UnixMicro()))
	return "evt_" + hex.EncodeToString(sum[:16])
}

// body encodes an event.
func (w *Webhook) body(ctx context.Context, id string, e *mdm.Event) ([]byte, error) {
	report, err := w.report(ctx, e)
	if err != nil {
		return nil, err
	}
	if w.cfg.MicroMDM {
		m, err := w.micro(ctx, id, e, report)
		if err != nil {
			return nil, err
		}
		return json.Marshal(m)
	}
	d := Delivery{Version: Version, ID: id, Event: *e}
	if report != nil {
		d.Result = w.result(e.RequestType, report)
	}
	return json.Marshal(d)
}

// report returns the raw report that finished a command, nil if it is not wanted or not there any more.
func (w *Webhook) report(ctx context.Context, e *mdm.Event) ([]byte, error) {
	if !w.cfg.Results || e.Type != mdm.EventCommandAcknowledged && e.Type != mdm.EventCommandFailed {
		return nil, nil
	}
	q := command.Query{Tenant: e.Enrollment.Tenant, From: e.Enrollment, UUID: e.CommandUUID, Results: true, Limit: 1}
	for entry, err := range w.cfg.Commands.Entries(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("webhook: the result: %w", err)
		}
		if entry.Generation == e.Generation { // the result of another has nothing to do with it
			return entry.Result, nil
		}
	}
	return nil, nil
}

func (w *Webhook) result(requestType string, raw []byte) *Result {
	if len(raw) > w.cfg.MaxResult {
		return &Result{Note: fmt.Sprintf("it has more than %d bytes", w.cfg.MaxResult)}
	}
	read, err := command.ParseResult(raw)
	if err != nil {
		return &Result{Note: "it cannot be read"}
	}
	out := &Result{Status: string(read.Status)}
	for _, e := range read.ErrorChain {
		text := e.USEnglishDescription
		if text == "" {
			text = e.LocalizedDescription
		}
		out.Errors = append(out.Errors, ResultError{Code: e.ErrorCode, Domain: e.ErrorDomain, Text: text})
	}
	if !w.cfg.Reveal {
		out.LeftOut = redact(requestType, read.Extra)
	}
	if len(read.Extra) == 0 {
		return out
	}
	response, _ := read.Response(requestType) // what does not fit is in its Extra
	if out.Response, err = schema.EncodeJSON(response); err != nil {
		out.Response, out.Note = nil, "it has no form in JSON"
	}
	return out
}
