package command

import (
	"fmt"
	"strings"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Result is a report, read.
type Result struct {
	mdm.Identifiers
	Status      Status
	CommandUUID string
	ErrorChain  []ErrorItem
	// Extra are all other keys: what the command gives, and what this package does not know.
	Extra map[string]any
}

// ErrorItem is one error of an ErrorChain. Codes are for people: Apple does not promise that they stay.
type ErrorItem struct {
	ErrorCode            int
	ErrorDomain          string
	LocalizedDescription string
	USEnglishDescription string // may be empty
}

// Error is what [Result.Err] returns for a command that a device could not do.
type Error struct {
	Status Status
	Chain  []ErrorItem // the first is the error itself, the others its causes
}

// Error lists the chain.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("command: the device answered " + string(e.Status))
	for _, item := range e.Chain {
		text := item.USEnglishDescription
		if text == "" {
			text = item.LocalizedDescription
		}
		fmt.Fprintf(&b, ": %s (%s %d)", text, item.ErrorDomain, item.ErrorCode)
	}
	return b.String()
}

// Err returns an *Error if the device answered Error or CommandFormatError, else nil.
func (r *Result) Err() error {
	if r.Status != StatusError && r.Status != StatusCommandFormatError {
		return nil
	}
	return &Error{Status: r.Status, Chain: r.ErrorChain}
}

// ParseResult reads a raw report, as [Entry.Result] has it. The error is a Malformed one.
func ParseResult(raw []byte) (*Result, error) {
	var head struct {
		Status           string
		CommandUUID      string
		ErrorChain       []ErrorItem
		UDID             string
		EnrollmentID     string
		UserID           string
		EnrollmentUserID string
		UserShortName    string
		UserLongName     string
	}
	var all map[string]any
	for _, v := range []any{&head, &all} {
		if err := DecodeResult(raw, v); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"Status", "CommandUUID", "ErrorChain", "UDID", "EnrollmentID", "UserID", "EnrollmentUserID",
		"UserShortName", "UserLongName", "AuthToken"} {
		delete(all, key)
	}
	return &Result{
		Identifiers: mdm.Identifiers{UDID: head.UDID, EnrollmentID: head.EnrollmentID, UserID: head.UserID,
			EnrollmentUserID: head.EnrollmentUserID, UserShortName: head.UserShortName, UserLongName: head.UserLongName},
		Status: Status(head.Status), CommandUUID: head.CommandUUID, ErrorChain: head.ErrorChain, Extra: all,
	}, nil
}

// DecodeResult decodes a raw report into v by its plist tags: one of the …Response types or one of your own. Keys that
// v does not have are passed over. The error is a Malformed one.
func DecodeResult(raw []byte, v any) error {
	if err := plistx.Unmarshal(raw, v); err != nil {
		return mdm.Errorf(mdm.Malformed, "command.DecodeResult", "%w", err)
	}
	return nil
}

// DeviceInformationResponse answers DeviceInformation. A query that the device does not answer is absent.
type DeviceInformationResponse struct {
	QueryResponses map[string]any
}

// SecurityInfoResponse answers SecurityInfo. Nil is a key that the device did not send, which is not false.
type SecurityInfoResponse struct {
	SecurityInfo struct {
		PasscodePresent               *bool
		PasscodeCompliant             *bool
		PasscodeCompliantWithProfiles *bool
		HardwareEncryptionCaps        *int
	}
}

// ProfileListResponse answers ProfileList.
type ProfileListResponse struct {
	ProfileList []InstalledProfile
}

// InstalledProfile is a profile on a device.
type InstalledProfile struct {
	PayloadIdentifier        string
	PayloadUUID              string
	PayloadVersion           int
	PayloadDisplayName       string
	IsManaged                bool
	HasRemovalPasscode       bool
	PayloadRemovalDisallowed bool
}
