package practice

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Declarer keeps what enrollments are to have by declaration, and tells them to synchronize. A *ddm.Groups is one.
type Declarer interface {
	// Declare has a group take the place of the one of that name. It is repeated after an error, and now and then.
	Declare(ctx context.Context, id mdm.EnrollmentID, g ddm.Group) error
	// Withdraw takes a group back that was declared in a generation. One that is not there is withdrawn; that of another generation stays.
	Withdraw(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, group string) error
}

// EventReported is what [TellReport] tells runs. It is in no log of events.
const EventReported mdm.EventType = "declarations.reported"

// TellReport tells the practices what a device reports by declarative management, so that they need not ask. It is for
// ddm.Groups.Reported, or for the Status of a ddm.Backend of yours:
//
//	groups.Reported = func(ctx context.Context, id mdm.EnrollmentID, r ddm.StatusReport) error {
//		return practice.TellReport(ctx, server.Workflows(), id, r)
//	}
//
// The run that it is about has it when TellReport returns nil, though it may act on it later. It costs one query; reports that say
// nothing for a practice cost none.
func TellReport(ctx context.Context, e *workflow.Engine, id mdm.EnrollmentID, r ddm.StatusReport) error {
	word := declaredWordOf(r)
	if word.empty() {
		return nil
	}
	text, err := json.Marshal(word)
	if err != nil || e == nil {
		return err
	}
	return e.Consume(ctx, mdm.Event{Type: EventReported, Enrollment: id, Reason: string(text)})
}

// declaredWord is what a report says that matters to a practice. What it does not say is as it was.
type declaredWord struct {
	Compliant *bool                       `json:",omitempty"`
	Version   string                      `json:",omitempty"`
	Build     string                      `json:",omitempty"`
	Install   string                      `json:",omitempty"` // the state of an update
	Stands    map[string]declaredStanding `json:",omitempty"` // of declarations of practices
}

// declaredStanding is how a declaration stands.
type declaredStanding struct {
	Token  string
	Active bool   `json:",omitempty"`
	Valid  string // the device's word
	Reason string `json:",omitempty"` // the first
}

// maxStands is how many declarations of a report are passed on: more than practices declare on one device. A run keeps what it has not
// come to.
const maxStands = 12

func declaredWordOf(r ddm.StatusReport) (w declaredWord) {
	items, _ := ddm.StatusItemsOf(r)
	if p := items.Passcode; p != nil {
		w.Compliant = p.IsCompliant
	}
	if d := items.Device; d != nil && d.OperatingSystem != nil {
		w.Version, w.Build = declaredText(d.OperatingSystem.Version), declaredText(d.OperatingSystem.BuildVersion)
	}
	if u := items.SoftwareUpdate; u != nil && u.InstallState != nil {
		w.Install = lockWord(string(*u.InstallState))
	}
	m := items.Management
	if m == nil || m.Declarations == nil {
		return w
	}
	w.Stands = map[string]declaredStanding{}
	all := slices.Concat(m.Declarations.Configurations, m.Declarations.Activations, m.Declarations.Assets)
	for _, s := range all {
		if !declaredOurs(s.Identifier) || len(w.Stands) >= maxStands || len(s.Identifier) > ddm.MaxIdentifier {
			continue
		}
		one := declaredStanding{Active: s.Active, Valid: lockWord(string(s.Valid))}
		if len(s.ServerToken) <= ddm.MaxIdentifier { // else it is none of ours
			one.Token = s.ServerToken
		}
		if len(s.Reasons) > 0 {
			one.Reason = declaredReason(s.Reasons[0].Code)
		}
		w.Stands[s.Identifier] = one
	}
	return w
}

func (w *declaredWord) empty() bool {
	return w.Compliant == nil && w.Version == "" && w.Install == "" && len(w.Stands) == 0
}

// declaredOurs reports whether a practice declares something by that identifier.
func declaredOurs(identifier string) bool {
	return identifier == UpdateDeclaration || strings.HasSuffix(identifier, passcodeSuffix) || strings.HasSuffix(identifier, passcodeSuffix+passcodeGateSuffix)
}

// declaredHeard returns what a step was woken with, false if that was no report.
func declaredHeard(t *workflow.Turn) (w declaredWord, ok bool) {
	signal := t.Signal()
	if signal == nil || signal.Type != EventReported {
		return w, false
	}
	return w, json.Unmarshal([]byte(signal.Reason), &w) == nil
}

// declaredText is a short text, else empty.
func declaredText(s *string) string {
	if s == nil || len(*s) > 32 {
		return ""
	}
	return *s
}

// declaredReason keeps a reason from being anything else: Apple's are letters and dots.
func declaredReason(code string) string {
	if code == "" || len(code) > 80 || strings.ContainsFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '.'
	}) {
		return "a reason of its own"
	}
	return code
}

// unsupported reports whether the device does not know the declaration, or what it asks for.
func (s declaredStanding) unsupported() bool {
	return s.Valid == string(ddm.StatusValidInvalid) && slices.Contains([]string{ddm.ReasonErrorConfigurationNotSupported, ddm.ReasonErrorUnknownDeclarationType,
		ddm.ReasonErrorUnableToParsePredicate, ddm.ReasonErrorUnableToParsePredicateWithCustomOperator}, s.Reason)
}

// trouble says in words what is wrong with a declaration; empty if nothing is.
func (s declaredStanding) trouble() string {
	if s.Valid != string(ddm.StatusValidInvalid) {
		return ""
	}
	return "the device calls the declaration invalid: " + s.Reason
}

// declaredSubscription asks the device to report status items.
func declaredSubscription(items ...ddm.StatusItem) *ddm.ManagementStatusSubscriptions {
	s := &ddm.ManagementStatusSubscriptions{}
	for _, item := range items {
		s.StatusItems = append(s.StatusItems, ddm.ManagementStatusSubscriptionsStatusItem{Name: string(item)})
	}
	return s
}
