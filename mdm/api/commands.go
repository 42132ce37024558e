package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// entry is a command on a queue as the API shows it. Bodies and results hold what devices and operators entrust to the
// server, so they are there only if they are asked for.
type entry struct {
	Enrollment  mdm.EnrollmentID `json:"enrollment"`
	UUID        string           `json:"uuid"`
	RequestType string           `json:"requestType"`
	State       string           `json:"state"`
	Seq         int64            `json:"seq"`
	Generation  mdm.Generation   `json:"generation"`
	Priority    command.Priority `json:"priority"`
	Collapse    string           `json:"collapse,omitempty"`
	NotBefore   time.Time        `json:"notBefore,omitzero"`
	NotAfter    time.Time        `json:"notAfter,omitzero"`
	QueuedAt    time.Time        `json:"queuedAt,omitzero"`
	SentAt      time.Time        `json:"sentAt,omitzero"`
	Sends       int              `json:"sends"`
	DeferredAt  time.Time        `json:"deferredAt,omitzero"`
	Deferrals   int              `json:"deferrals"`
	FinishedAt  time.Time        `json:"finishedAt,omitzero"`
	Note        string           `json:"note,omitempty"`
	Body        string           `json:"body,omitempty"`   // property list
	Result      []byte           `json:"result,omitempty"` // as the device sent it; base64
}

var priorities = map[string]command.Priority{"": command.Normal, "security": command.Security, "renewal": command.Renewal,
	"profiles": command.Profiles, "normal": command.Normal, "inventory": command.Inventory}

var orderNames = append([]string{"to", "all", "push", "uuid", "priority", "collapse", "supersede", "notBefore", "notAfter"}, filterNames...)

// order reads an order, but for its command and whom it is for.
func (c *call) order() (o command.Order, err error) {
	push, errPush := c.flag("push", true)
	supersede, errSupersede := c.flag("supersede", false)
	notBefore, errBefore := c.time("notBefore")
	notAfter, errAfter := c.time("notAfter")
	priority, ok := priorities[c.param("priority")]
	if !ok {
		err = malformed("priority is none of security, renewal, profiles, normal, inventory")
	}
	return command.Order{UUID: c.param("uuid"), Priority: priority, Collapse: c.param("collapse"), Supersede: supersede, NoPush: !push,
		NotBefore: notBefore, NotAfter: notAfter}, errors.Join(err, errPush, errSupersede, errBefore, errAfter)
}

// readCommand reads the command: JSON if it says so, else a property list, the whole message or the Command dictionary.
func (c *call) readCommand() (command.Command, error) {
	body, err := io.ReadAll(c.Body)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, malformed("the body is to be a command, as a property list or as JSON")
	}
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media == "application/json" {
		return command.DecodeJSON(body)
	}
	return command.Raw(body), nil
}

// outcome is what became of one target.
type outcome struct {
	ID      mdm.EnrollmentID `json:"id"`
	Outcome string           `json:"outcome"`
	Reason  string           `json:"reason,omitempty"`
}

// receipt is the answer to an order.
type receipt struct {
	UUID        string    `json:"uuid"`
	RequestType string    `json:"requestType,omitempty"`
	Queued      int       `json:"queued"`
	Collapsed   int       `json:"collapsed"`
	Refused     int       `json:"refused"`
	Targets     []outcome `json:"targets,omitempty"`
	Done        bool      `json:"done"`
}

const ndjson = "application/x-ndjson"

func (a *api) enqueue(c *call) (any, error) {
	if err := c.one(orderNames...); err != nil {
		return nil, err
	}
	o, err := c.order()
	if err != nil {
		return nil, err
	}
	if o.To, err = c.to(); err != nil {
		return nil, err
	}
	if o.Command, err = c.readCommand(); err != nil {
		return nil, err
	}
	kind := o.Command.RequestType()
	if strings.Contains(c.Header.Get("Accept"), ndjson) {
		return nil, a.stream(c, o, kind)
	}
	var targets []outcome
	listed := len(o.To.List()) > 0
	o.Each = func(x command.Outcome) {
		if listed || x.State == command.OutcomeRefused && len(targets) < command.MaxRefusals {
			targets = append(targets, told(x))
		}
	}
	r, err := a.cfg.Stores.Command.Enqueue(c.Context(), o)
	if err != nil {
		return nil, err
	}
	answer := counted(r, true)
	answer.RequestType, answer.Targets = kind, targets
	return answer, nil
}

func told(x command.Outcome) outcome {
	o := outcome{ID: x.Enrollment, Outcome: x.State.String()}
	if x.Err != nil {
		o.Reason = reason(x.Err)
	}
	return o
}

// reason says why a target was refused, without the name of the function that did.
func reason(err error) string {
	if e, ok := errors.AsType[*mdm.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

func counted(r command.Receipt, done bool) receipt {
	return receipt{UUID: r.UUID, Queued: r.Queued, Collapsed: r.Collapsed, Refused: r.RefusedAll, Done: done}
}

// stream answers an order with a line of JSON for each target and for each step, so that one for a million can be watched
// and needs no more memory than one for ten.
func (a *api) stream(c *call, o command.Order, kind string) error {
	lines := json.NewEncoder(c.w)
	begin := func() {
		if !c.begun {
			c.begun = true
			c.w.Header().Set("Content-Type", ndjson)
			c.w.WriteHeader(http.StatusOK)
		}
	}
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // it takes as long as it takes
	o.Each = func(x command.Outcome) {
		begin()
		_ = lines.Encode(told(x))
	}
	o.Progress = func(r command.Receipt) {
		begin()
		_ = lines.Encode(counted(r, false))
		_ = http.NewResponseController(c.w).Flush()
	}
	r, err := a.cfg.Stores.Command.Enqueue(c.Context(), o)
	if err != nil {
		return err
	}
	begin()
	answer := counted(r, true)
	answer.RequestType = kind
	return lines.Encode(answer)
}

func (a *api) entries(c *call, q command.Query, next func(*command.Entry) string) (any, error) {
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	if q.States, err = named(commandStates, c.param("state"), "state of a command"); err != nil {
		return nil, err
	}
	if q.Bodies, err = c.flag("bodies", false); err != nil {
		return nil, err
	}
	if q.Results, err = c.flag("results", false); err != nil {
		return nil, err
	}
	q.Limit = limit + 1
	answer := struct {
		Commands []entry `json:"commands"`
		Next     string  `json:"next,omitempty"`
	}{Commands: []entry{}}
	var last command.Entry
	for e, err := range a.cfg.Stores.Command.Entries(c.Context(), q) {
		if err != nil {
			return nil, err
		}
		if len(answer.Commands) == limit {
			answer.Next = next(&last)
			break
		}
		answer.Commands = append(answer.Commands, entry{Enrollment: e.Enrollment, UUID: e.UUID, RequestType: e.RequestType, State: e.State.String(),
			Seq: e.Seq, Generation: e.Generation, Priority: e.Priority, Collapse: e.Collapse, NotBefore: e.NotBefore, NotAfter: e.NotAfter,
			QueuedAt: e.QueuedAt, SentAt: e.SentAt, Sends: e.Sends, DeferredAt: e.DeferredAt, Deferrals: e.Deferrals, FinishedAt: e.FinishedAt,
			Note: e.Note, Body: string(e.Body), Result: e.Result})
		last = e
	}
	return answer, nil
}

var entryNames = []string{"after", "limit", "state", "bodies", "results"}

// queue lists the commands of one enrollment, open and finished.
func (a *api) queue(c *call) (any, error) {
	if err := c.one(entryNames...); err != nil {
		return nil, err
	}
	id, err := c.id(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	after, err := c.number("after")
	if err != nil {
		return nil, err
	}
	if _, err := a.enrollment(c); err != nil {
		return nil, err
	}
	return a.entries(c, command.Query{Tenant: c.tenant, From: id, AfterSeq: after}, func(e *command.Entry) string { return strconv.FormatInt(e.Seq, 10) })
}

// command lists the queues that one command is on.
func (a *api) command(c *call) (any, error) {
	if err := c.one(entryNames...); err != nil {
		return nil, err
	}
	q := command.Query{Tenant: c.tenant, UUID: c.PathValue("uuid")}
	if text := c.param("after"); text != "" {
		var err error
		if q.AfterEnrollment, err = c.id(text); err != nil {
			return nil, err
		}
		q.AfterSeq = 1<<63 - 1 // a command is on a queue once
	}
	return a.entries(c, q, func(e *command.Entry) string { return e.Enrollment.String() })
}

func (a *api) cancel(c *call) (any, error) {
	if err := c.one(append([]string{"to", "all"}, filterNames...)...); err != nil {
		return nil, err
	}
	to, err := c.to()
	if err != nil {
		return nil, err
	}
	if f, ok := to.Filter(); ok && c.param("state") == "" { // everybody, in whatever state they are now
		f.States = nil
		to = mdm.Matching(f)
	}
	n, err := a.cfg.Stores.Command.Cancel(c.Context(), c.PathValue("uuid"), to)
	if err != nil {
		return nil, err
	}
	return map[string]int{"canceled": n}, nil
}

func (a *api) orders(c *call) (any, error) {
	under, err := a.cfg.Stores.FanOuts.FanOuts(c.Context(), c.tenant)
	if err != nil {
		return nil, err
	}
	type order struct {
		receipt
		BegunAt time.Time `json:"begunAt"`
	}
	list := []order{}
	for _, f := range under {
		r := counted(f.Done, false)
		r.RequestType = f.RequestType
		list = append(list, order{r, f.BegunAt})
	}
	return map[string]any{"orders": list}, nil
}

func (a *api) asides(c *call) (any, error) {
	if err := c.one("after", "limit"); err != nil {
		return nil, err
	}
	after, err := c.number("after")
	if err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	type aside struct {
		Number     int64            `json:"number"`
		Enrollment mdm.EnrollmentID `json:"enrollment"`
		At         time.Time        `json:"at"`
		Status     string           `json:"status"`
		UUID       string           `json:"uuid,omitempty"`
		Reason     string           `json:"reason"`
		Raw        []byte           `json:"raw"`
	}
	list := []aside{}
	answer := map[string]any{}
	for x, err := range a.cfg.Stores.Command.Aside(c.Context(), c.tenant, after, limit) {
		if err != nil {
			return nil, err
		}
		list = append(list, aside{x.Number, x.Enrollment, x.At, string(x.Status), x.CommandUUID, x.Reason, x.Raw})
	}
	if answer["asides"] = list; len(list) == limit {
		answer["next"] = strconv.FormatInt(list[limit-1].Number, 10)
	}
	return answer, nil
}
