package plistx

// Tristate is a boolean that may be missing. In MDM messages an absent key does not mean false: a TokenUpdate without
// AwaitingConfiguration must not clear what an earlier one said.
type Tristate uint8

// The three states. The zero value is Absent.
const (
	Absent Tristate = iota
	False
	True
)

// String returns the state in words.
func (t Tristate) String() string {
	switch t {
	case False:
		return "false"
	case True:
		return "true"
	}
	return "absent"
}

// Header is what the MDM protocol needs from a message before anything is decoded: the top-level keys that say what it
// is, for which enrollment, and on whose behalf. A text is empty if its key is absent or empty. In an accepted message
// each key occurs at most once and has the type that Apple's schema (mdm/checkin, mdm/commands) gives it.
type Header struct {
	MessageType string // of a check-in message, as "TokenUpdate"
	Status      string // of a command result, as "Acknowledged"
	CommandUUID string
	RequestType string // only newer systems repeat it in results

	UDID, EnrollmentID          string
	UserID, EnrollmentUserID    string
	UserShortName, UserLongName string
	Topic                       string
	AuthToken                   string // a secret: what UserAuthenticate gave the user; keep it out of logs
	NotOnConsole                Tristate
	NeedSyncResponse            Tristate
	UserConfiguration           Tristate
	AwaitingConfiguration       Tristate
	Elements, Depth             int // what the scan counted
}

// text returns the field for a top-level key whose value is a string, or nil.
func (h *Header) text(key []byte) *string {
	switch string(key) {
	case "MessageType":
		return &h.MessageType
	case "Status":
		return &h.Status
	case "CommandUUID":
		return &h.CommandUUID
	case "RequestType":
		return &h.RequestType
	case "UDID":
		return &h.UDID
	case "EnrollmentID":
		return &h.EnrollmentID
	case "UserID":
		return &h.UserID
	case "EnrollmentUserID":
		return &h.EnrollmentUserID
	case "UserShortName":
		return &h.UserShortName
	case "UserLongName":
		return &h.UserLongName
	case "Topic":
		return &h.Topic
	case "AuthToken":
		return &h.AuthToken
	}
	return nil
}

// flag returns the field for a top-level key whose value is a boolean, or nil.
func (h *Header) flag(key []byte) *Tristate {
	switch string(key) {
	case "NotOnConsole":
		return &h.NotOnConsole
	case "NeedSyncResponse":
		return &h.NeedSyncResponse
	case "UserConfiguration":
		return &h.UserConfiguration
	case "AwaitingConfiguration":
		return &h.AwaitingConfiguration
	}
	return nil
}
