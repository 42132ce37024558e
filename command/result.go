package command

import (
	"maps"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Result is a report, read. All of it is what a device says, and nothing of it is checked.
type Result struct {
	mdm.Identifiers
	Status      Status
	CommandUUID string // empty with Idle
	ErrorChain  []ErrorItem

	NotOnConsole      bool // user channel of a Mac: the user is not the one at the console
	NeedSyncResponse  bool // user channel of a Mac: the login waits for the end of the session
	UserConfiguration bool // user channel of a Mac: see [Report]

	// Extra are all other keys: what the command gives, and what this package does not know. A key of the protocol whose
	// value is not of its type is here, too. The AuthToken is nowhere: it is a secret.
	Extra map[string]any
}

// ErrorItem is one error of an ErrorChain. Codes are for people: Apple does not promise that they stay. Texts may quote
// what a profile or a command held, as names, accounts or URLs.
type ErrorItem struct {
	ErrorCode            int
	ErrorDomain          string // as "MCMDMErrorDomain"
	LocalizedDescription string // in the language of the device
	USEnglishDescription string // may be empty
}

// ParseResult reads a raw report, as [Entry.Result] has it. It is lenient with everything but the form, so that the
// result of an odd device can be looked at: every key may be missing, and one of another type is left in Extra. The error
// is a Malformed one: raw is not a property list that is a dictionary, or it is over 8 MiB.
func ParseResult(raw []byte) (*Result, error) {
	var all map[string]any
	if err := DecodeResult(raw, &all); err != nil {
		return nil, err
	}
	status, _ := take[string](all, "Status")
	r := &Result{Status: Status(status), Extra: all}
	for key, to := range map[string]*string{
		"CommandUUID": &r.CommandUUID, "UDID": &r.UDID, "EnrollmentID": &r.EnrollmentID, "UserID": &r.UserID,
		"EnrollmentUserID": &r.EnrollmentUserID, "UserShortName": &r.UserShortName, "UserLongName": &r.UserLongName,
	} {
		*to, _ = take[string](all, key)
	}
	for key, to := range map[string]*bool{
		"NotOnConsole": &r.NotOnConsole, "NeedSyncResponse": &r.NeedSyncResponse, "UserConfiguration": &r.UserConfiguration,
	} {
		*to, _ = take[bool](all, key)
	}
	r.ErrorChain = takeChain(all)
	delete(all, "AuthToken")
	return r, nil
}

// take removes key from dict if its value is a T.
func take[T any](dict map[string]any, key string) (T, bool) {
	v, ok := dict[key].(T)
	if ok {
		delete(dict, key)
	}
	return v, ok
}

// takeChain removes the ErrorChain if all of it can be read. Otherwise it returns what can be, and leaves the whole.
func takeChain(dict map[string]any) []ErrorItem {
	items, ok := dict["ErrorChain"].([]any)
	var chain []ErrorItem
	for _, item := range items {
		fields, isDict := item.(map[string]any)
		if !isDict {
			ok = false
			continue
		}
		fields = maps.Clone(fields)
		code, _ := take[uint64](fields, "ErrorCode")
		negative, _ := take[int64](fields, "ErrorCode") // one of both is zero
		e := ErrorItem{ErrorCode: int(code) + int(negative)}
		e.ErrorDomain, _ = take[string](fields, "ErrorDomain")
		e.LocalizedDescription, _ = take[string](fields, "LocalizedDescription")
		e.USEnglishDescription, _ = take[string](fields, "USEnglishDescription")
		ok = ok && len(fields) == 0
		chain = append(chain, e)
	}
	if ok {
		delete(dict, "ErrorChain")
	}
	return chain
}

// Response returns the typed answer to a command of this type, out of Extra. Of values that do not fit their keys the
// error tells, as [schema.Mismatches]; the response has the rest, and its Extra the whole of them. It is never nil.
func (r *Result) Response(requestType string) (Response, error) {
	response := NewResponse(requestType)
	if other, ok := response.(*OtherResponse); ok {
		other.Extra = r.Extra
		return other, nil
	}
	return response, schema.Decode(r.Extra, response).Err()
}

// DecodeResponse reads a raw report, as [Entry.Result] has it, as the typed answer to a command of this type. The response
// is nil if the error is a Malformed one: see [ParseResult]. It is not if the error is a [schema.Mismatches]: see
// [Result.Response].
func DecodeResponse(requestType string, raw []byte) (Response, error) {
	r, err := ParseResult(raw)
	if err != nil {
		return nil, err
	}
	return r.Response(requestType)
}

// DecodeResult decodes a raw report into v, a pointer to a struct: one of the …Response types or one of your own with plist
// tags. Keys that v does not have are passed over, or kept in its Extra; keys that the report does not have leave v as it
// is. The error is a Malformed one and holds nothing of the report. If errors.As finds [schema.Mismatches] in it, v has
// what fits.
func DecodeResult(raw []byte, v any) error {
	const op = "command.DecodeResult"
	if d, ok := v.(described); ok {
		result, err := ParseResult(raw)
		if err != nil {
			return err
		}
		if wrong := schema.Decode(result.Extra, d); len(wrong) > 0 {
			return mdm.Errorf(mdm.Malformed, op, "%w", wrong)
		}
		return nil
	}
	if err := plistx.Unmarshal(raw, v); err != nil {
		return mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	return nil
}
