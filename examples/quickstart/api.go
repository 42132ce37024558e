package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/push"
)

const maxAPIBody = 1 << 20

// adminHandler is the operators' side: the console and the API under it, which needs the token.
func (a *app) adminHandler() http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("GET /api/devices", a.api(a.listDevices))
	api.HandleFunc("GET /api/commands", a.api(a.listCommands))
	api.HandleFunc("POST /api/commands", a.api(a.sendCommand))
	api.HandleFunc("POST /api/cancel", a.api(a.cancelCommand))
	api.HandleFunc("POST /api/wake", a.api(a.wake))
	api.HandleFunc("POST /api/end", a.api(a.end))
	api.HandleFunc("GET /api/runs", a.api(a.listRuns))
	api.HandleFunc("POST /api/gate", a.api(a.beginGate))
	api.HandleFunc("POST /api/clearpasscode", a.api(a.clearPasscode))
	api.HandleFunc("GET /api/audit", a.api(a.listAudit))
	api.HandleFunc("GET /api/apple", a.api(a.listApple))
	api.HandleFunc("GET /api/events", a.streamEvents)
	mux := http.NewServeMux()
	mux.Handle("/api/", a.authorized(api))
	mux.Handle("GET /static/", staticFiles())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		a.page(w, r, http.StatusOK, "console.html", map[string]any{"Base": a.base, "Push": a.apns != nil || a.options.pushCert != "", "Apple": a.apple != nil})
	})
	return mux
}

// authorized lets requests with the token pass. It is a header, never a cookie, so no other site can use it.
func (a *app) authorized(next http.Handler) http.Handler {
	want := []byte("Bearer " + a.options.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "the token is missing or wrong", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// api turns a function into a handler that answers in JSON.
func (a *app) api(f func(context.Context, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := f(r.Context(), r)
		if err != nil {
			a.apiError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (a *app) apiError(w http.ResponseWriter, r *http.Request, err error) {
	var e *mdm.Error
	switch {
	case errors.As(err, &e) && e.Code == mdm.Malformed:
		http.Error(w, e.Err.Error(), http.StatusBadRequest)
	case errors.As(err, &e) && e.Code == mdm.NotFound:
		http.Error(w, "not found", http.StatusNotFound)
	default:
		a.internal(w, r, err)
	}
}

// device is an enrollment as the console shows it.
type device struct {
	ID         mdm.EnrollmentID `json:"id"`
	Channel    string           `json:"channel"`
	State      string           `json:"state"`
	Generation mdm.Generation   `json:"generation"`
	Name       string           `json:"name"`
	Product    string           `json:"product"`
	OS         string           `json:"os"`
	Serial     string           `json:"serial"`
	LastSeen   *time.Time       `json:"lastSeen,omitempty"`
	Presence   mdm.Presence     `json:"presence"`
	Push       string           `json:"push,omitempty"` // what became of the last one, in words
	Setup      bool             `json:"awaitingConfiguration,omitempty"`
}

func (a *app) listDevices(ctx context.Context, _ *http.Request) (any, error) {
	devices := []device{}
	for e, err := range a.stores.Roster.Enrollments(ctx, mdm.Filter{Limit: 500}) {
		if err != nil {
			return nil, err
		}
		d := device{ID: e.ID, Channel: e.Channel.String(), State: e.State.String(), Generation: e.Generation, Name: e.Device.Name,
			Product: e.Device.ProductName, OS: e.Device.OSVersion, Serial: e.Device.SerialNumber, Presence: e.Presence}
		last, err := a.stores.Push.LastPush(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		d.Push = pushWords(last)
		if d.Setup, err = a.waits(ctx, e); err != nil {
			return nil, err
		}
		if e.ID.IsUser() {
			d.Name = firstOf(e.UserLongName, e.UserShortName, e.ID.User)
		}
		if !e.LastSeenAt.IsZero() {
			d.LastSeen = &e.LastSeenAt
		}
		devices = append(devices, d)
	}
	return devices, nil
}

func pushWords(r push.Record) string {
	switch {
	case r.Outcome == 0:
		return ""
	case r.Outcome == push.Delivered:
		return "pushed " + r.At.Local().Format(time.TimeOnly)
	}
	return fmt.Sprintf("push failed: %s %s", r.Outcome, r.Reason)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// entry is a command as the console shows it.
type entry struct {
	UUID        string         `json:"uuid"`
	RequestType string         `json:"requestType"`
	State       string         `json:"state"`
	Queued      time.Time      `json:"queued"`
	Sends       int            `json:"sends"`
	Deferrals   int            `json:"deferrals"`
	Note        string         `json:"note,omitempty"`
	Error       string         `json:"error,omitempty"`
	Result      map[string]any `json:"result,omitempty"`
}

func (a *app) listCommands(ctx context.Context, r *http.Request) (any, error) {
	id, err := mdm.ParseEnrollmentID(r.URL.Query().Get("device"))
	if err != nil {
		return nil, err
	}
	after, err := a.lastEntries(ctx, id, 200)
	if err != nil {
		return nil, err
	}
	entries := []entry{}
	for e, err := range a.stores.Command.Entries(ctx, command.Query{From: id, AfterSeq: after, Results: true}) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, showEntry(e))
	}
	return entries, nil
}

// lastEntries returns the Seq after which the last n entries of a queue are.
func (a *app) lastEntries(ctx context.Context, id mdm.EnrollmentID, n int) (int64, error) {
	var seqs []int64
	for e, err := range a.stores.Command.Entries(ctx, command.Query{From: id}) {
		if err != nil {
			return 0, err
		}
		seqs = append(seqs, e.Seq)
	}
	if len(seqs) <= n {
		return 0, nil
	}
	return seqs[len(seqs)-n-1], nil
}

func showEntry(e command.Entry) entry {
	out := entry{UUID: e.UUID, RequestType: e.RequestType, State: e.State.String(), Queued: e.QueuedAt, Sends: e.Sends,
		Deferrals: e.Deferrals, Note: e.Note}
	if len(e.Result) == 0 {
		return out
	}
	result, err := command.ParseResult(e.Result)
	if err != nil {
		out.Error = "the result cannot be read"
		return out
	}
	out.Result = result.Extra
	if err := result.Err(); err != nil {
		out.Error = err.Error()
	}
	if len(result.ErrorChain) > 0 { // the device's own words; the error has domains and codes only
		out.Error += ": " + result.ErrorChain[0].Description()
	}
	return out
}

// sendCommand queues a command: a property list, any command as JSON, or one of a few by name.
func (a *app) sendCommand(ctx context.Context, r *http.Request) (any, error) {
	var req struct {
		Device  mdm.EnrollmentID
		Command string // a RequestType, JSON with a RequestType, or a property list
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	c, err := a.command(ctx, req.Device, strings.TrimSpace(req.Command))
	if err != nil {
		return nil, err
	}
	receipt, err := a.stores.Command.Enqueue(ctx, command.Order{Command: c, To: mdm.IDs(req.Device)})
	if err != nil {
		return nil, err
	}
	if len(receipt.Refused) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, "quickstart", "not queued: %w", receipt.Refused[0].Err)
	}
	return map[string]any{"uuid": receipt.UUID, "warnings": a.warnings(ctx, req.Device, c)}, nil
}

// warnings are what Apple's schema has to say about a command that was queued all the same.
func (a *app) warnings(ctx context.Context, id mdm.EnrollmentID, c command.Command) []string {
	out := []string{}
	e, err := a.stores.Roster.Enrollment(ctx, id)
	if err != nil {
		return out
	}
	device, err := a.stores.Roster.Enrollment(ctx, id.DeviceID())
	if err != nil {
		return out
	}
	for _, f := range command.Validate(c, schema.TargetOf(e, device)) {
		out = append(out, f.String())
	}
	return out
}

func (a *app) command(ctx context.Context, id mdm.EnrollmentID, text string) (command.Command, error) {
	switch text {
	case "DeviceInformation":
		return command.DeviceInformation{Queries: []command.DeviceInformationQuery{"DeviceName", "OSVersion", "BuildVersion", "ProductName", "SerialNumber",
			"BatteryLevel", "DeviceCapacity", "AvailableDeviceCapacity", "IsSupervised"}}, nil
	case "SecurityInfo":
		return command.SecurityInfo{}, nil
	case "ProfileList":
		return command.ProfileList{}, nil
	case "InstalledApplicationList":
		return command.InstalledApplicationList{}, nil
	case "DeviceLock":
		return command.DeviceLock{Message: new("Locked by applemdm quick start")}, nil
	case "DeviceConfigured":
		return command.DeviceConfigured{}, nil
	case "Renew": // a new identity: the enrollment profile again, with a challenge for this device
		data, err := a.renewal(ctx, id.Device)
		return command.InstallProfile{Payload: data}, err
	}
	if strings.HasPrefix(text, "{") {
		return command.DecodeJSON([]byte(text))
	}
	if !strings.HasPrefix(text, "<") {
		return nil, mdm.Errorf(mdm.Malformed, "quickstart", "not a command by name, nor JSON, nor a property list")
	}
	return command.Raw(text), nil
}

func (a *app) cancelCommand(ctx context.Context, r *http.Request) (any, error) {
	var req struct {
		Device mdm.EnrollmentID
		UUID   string
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	n, err := a.stores.Command.Cancel(ctx, req.UUID, mdm.IDs(req.Device))
	return map[string]int{"canceled": n}, err
}

func (a *app) wake(ctx context.Context, r *http.Request) (any, error) {
	var req struct{ Device mdm.EnrollmentID }
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	n, err := a.stores.Push.Wake(ctx, mdm.IDs(req.Device), time.Now())
	return map[string]int{"woken": n}, err
}

func (a *app) end(ctx context.Context, r *http.Request) (any, error) {
	var req struct{ Device mdm.EnrollmentID }
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return map[string]string{}, a.mdm.Checkin().End(ctx, req.Device.DeviceID(), 0, "ended in the console")
}

func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAPIBody)).Decode(v); err != nil {
		return mdm.Errorf(mdm.Malformed, "quickstart", "the request is not the JSON that is expected")
	}
	return nil
}

// streamEvents sends what happens as server-sent events until the browser leaves: the last fifty, then all new ones.
func (a *app) streamEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	var after int64
	live := false // still catching up
	for {
		events, err := a.stores.Events.Events(r.Context(), "", after, 500)
		if err != nil {
			if r.Context().Err() == nil {
				a.log.LogAttrs(r.Context(), slog.LevelError, "events", slog.Any("error", err))
			}
			return
		}
		if !live {
			if len(events) == 500 { // far behind
				after = events[499].Seq
				continue
			}
			live, events = true, events[max(0, len(events)-50):]
		}
		for _, e := range events {
			after = e.Seq
			data, err := json.Marshal(e)
			if err != nil {
				continue
			}
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.Seq, data); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}
