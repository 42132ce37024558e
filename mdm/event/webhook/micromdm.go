package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// MicroEvent is the body of a request with Config.MicroMDM, in the form of the webhook of MicroMDM, so that receivers that were
// written for it go on. The topics are mdm.Authenticate, mdm.TokenUpdate, mdm.CheckOut and mdm.Connect; events that are none of
// these are not sent. Not there, because this server does not keep it or has no event of it:
//   - check-in messages as they came: raw_payload is made anew, of the MessageType and who sent it, and with a Roster of what the
//     device said of itself; it never has a token, a PushMagic or an UnlockToken;
//   - reports as they came, but with Results and Reveal; with Results alone raw_payload is made anew without what is secret and
//     what the schema does not know; otherwise, and of NotNow, it has only Status, CommandUUID and who sent it;
//   - reports with Idle, and those that fit no command; url_params are always empty;
//   - without a Roster, the difference between a UDID and the EnrollmentID of a User Enrollment: all are udid.
type MicroEvent struct {
	Topic       string            `json:"topic"`
	ID          string            `json:"event_id"`
	CreatedAt   time.Time         `json:"created_at"`
	Acknowledge *MicroAcknowledge `json:"acknowledge_event,omitempty"`
	Checkin     *MicroCheckin     `json:"checkin_event,omitempty"`
}

// MicroAcknowledge is what a [MicroEvent] says of a report.
type MicroAcknowledge struct {
	UDID         string            `json:"udid,omitempty"`
	EnrollmentID string            `json:"enrollment_id,omitempty"`
	Status       string            `json:"status"`
	CommandUUID  string            `json:"command_uuid,omitempty"`
	Params       map[string]string `json:"url_params"`
	RawPayload   []byte            `json:"raw_payload"`
}

// MicroCheckin is what a [MicroEvent] says of a check-in message.
type MicroCheckin struct {
	UDID         string            `json:"udid,omitempty"`
	EnrollmentID string            `json:"enrollment_id,omitempty"`
	Params       map[string]string `json:"url_params"`
	RawPayload   []byte            `json:"raw_payload"`
}

// Roster finds an enrollment; a checkin.Roster is one.
type Roster interface {
	Enrollment(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error)
}

const (
	microConnect = "mdm.Connect"
	microCheckin = "mdm." // and the MessageType
)

// topicOf returns the topic of an event, empty if it has none.
func topicOf(t mdm.EventType) string {
	switch t {
	case mdm.EventCommandAcknowledged, mdm.EventCommandFailed, mdm.EventCommandNotNow:
		return microConnect
	}
	if message := messageOf(t); message != "" {
		return microCheckin + message
	}
	return ""
}

// messageOf returns the MessageType that led to an event. A renewed certificate that is used before its Authenticate, and a
// device that is let in again, are told as a TokenUpdate, too: receivers take it for enrolled then.
func messageOf(t mdm.EventType) string {
	switch t {
	case mdm.EventAuthenticated:
		return "Authenticate"
	case mdm.EventEnrolled, mdm.EventReenrolled, mdm.EventAfterWipe, mdm.EventRenewed, mdm.EventRestored, mdm.EventTokenUpdated:
		return "TokenUpdate"
	case mdm.EventCheckedOut:
		return "CheckOut"
	}
	return ""
}

// micro makes the body. report may be nil.
func (w *Webhook) micro(ctx context.Context, id string, e *mdm.Event, report []byte) (*MicroEvent, error) {
	known, err := w.known(ctx, e.Enrollment)
	if err != nil {
		return nil, err
	}
	m := &MicroEvent{Topic: topicOf(e.Type), ID: id, CreatedAt: e.At.UTC()}
	who := whoOf(e.Enrollment, known)
	udid, enrollmentID := who["UDID"], who["EnrollmentID"]
	if m.Topic == microConnect {
		payload, err := w.microReport(e, who, report)
		m.Acknowledge = &MicroAcknowledge{UDID: udid, EnrollmentID: enrollmentID, Status: e.Status, CommandUUID: e.CommandUUID,
			Params: map[string]string{}, RawPayload: payload}
		return m, err
	}
	dict := map[string]any{}
	if e.Type == mdm.EventAuthenticated && known != nil {
		describe(dict, &known.Device)
	}
	put(dict, who)
	put(dict, map[string]string{"MessageType": messageOf(e.Type), "Topic": topicIn(known)})
	payload, err := plistx.MarshalIndent(dict)
	m.Checkin = &MicroCheckin{UDID: udid, EnrollmentID: enrollmentID, Params: map[string]string{}, RawPayload: payload}
	return m, err
}

func (w *Webhook) known(ctx context.Context, id mdm.EnrollmentID) (*mdm.Enrollment, error) {
	if w.cfg.Roster == nil {
		return nil, nil
	}
	known, err := w.cfg.Roster.Enrollment(ctx, id)
	if err != nil && mdm.CodeOf(err) != mdm.NotFound {
		return nil, fmt.Errorf("webhook: the enrollment: %w", err)
	}
	return known, nil
}

// whoOf names the sender as a message does.
func whoOf(id mdm.EnrollmentID, known *mdm.Enrollment) map[string]string {
	device, user := "UDID", "UserID"
	if known != nil && known.Channel.IsUserEnrollment() {
		device, user = "EnrollmentID", "EnrollmentUserID"
	}
	if known != nil && known.Channel == mdm.SharedIPadChannel {
		return map[string]string{device: id.Device, user: mdm.SharedIPadUserID, "UserShortName": id.User}
	}
	return map[string]string{device: id.Device, user: id.User}
}

func topicIn(known *mdm.Enrollment) string {
	if known == nil {
		return ""
	}
	return known.Topic
}

// describe adds what an Authenticate has of a device.
func describe(dict map[string]any, d *mdm.Device) {
	put(dict, map[string]string{"DeviceName": d.Name, "Model": d.Model, "ModelName": d.ModelName, "ProductName": d.ProductName,
		"SerialNumber": d.SerialNumber, "OSVersion": d.OSVersion, "BuildVersion": d.BuildVersion, "IMEI": d.IMEI, "MEID": d.MEID})
}

// put adds what is not empty.
func put(dict map[string]any, texts map[string]string) {
	for key, text := range texts {
		if text != "" {
			dict[key] = text
		}
	}
}

// microReport makes the raw_payload of a report.
func (w *Webhook) microReport(e *mdm.Event, who map[string]string, raw []byte) ([]byte, error) {
	if len(raw) > w.cfg.MaxResult {
		raw = nil
	}
	if w.cfg.Reveal && raw != nil {
		return raw, nil
	}
	dict := map[string]any{}
	if raw != nil {
		if read, err := command.ParseResult(raw); err == nil {
			dict = read.Extra
			redact(e.RequestType, dict)
			if len(read.ErrorChain) > 0 {
				dict["ErrorChain"] = chain(read.ErrorChain)
			}
		}
	}
	put(dict, who)
	put(dict, map[string]string{"Status": e.Status, "CommandUUID": e.CommandUUID})
	return plistx.MarshalIndent(dict)
}

func chain(items []command.ErrorItem) []any {
	var out []any
	for _, item := range items {
		one := map[string]any{"ErrorCode": int64(item.ErrorCode)}
		put(one, map[string]string{"ErrorDomain": item.ErrorDomain, "LocalizedDescription": item.LocalizedDescription,
			"USEnglishDescription": item.USEnglishDescription})
		out = append(out, one)
	}
	return out
}
