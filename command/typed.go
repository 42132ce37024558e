package command

import (
	"cmp"
	"slices"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// The commands of Apple's schema are in the files *_gen.go, one for each; docs/commands.md lists them. A field that is a
// pointer, a slice or a map is optional and absent if nil; other fields are required. Keys that a type does not have, of a
// system that is newer than it, go into its field Extra.

// Response is the typed answer to a command: a *DeviceInformationResponse, or an *OtherResponse. In these types nil is a
// key that the device did not send, which is not false.
type Response interface {
	// RequestType is the command that it answers.
	RequestType() string
}

// OtherResponse answers a command of which the schema lists no keys of an answer, or which it does not know.
type OtherResponse struct {
	Type  string         `plist:"-"`
	Extra map[string]any `plist:"-"` // what the answer holds besides the keys of every report
}

// MarshalJSON writes the keys as JSON; see schema.MarshalJSON.
func (r OtherResponse) MarshalJSON() ([]byte, error) { return schema.MarshalJSON(r) }

// UnmarshalJSON reads what MarshalJSON writes; Type stays as it is.
func (r *OtherResponse) UnmarshalJSON(data []byte) error { return schema.UnmarshalJSON(data, r) }

// RequestType is Type.
func (r *OtherResponse) RequestType() string { return r.Type }

// described is a generated type.
type described interface{ Schema() *schema.Object }

// entry is a command of the schema. response is nil if no keys of an answer are listed.
type entry struct {
	requestType string
	command     func() Command
	response    func() Response
}

func find(requestType string) *entry {
	i, ok := slices.BinarySearchFunc(commands[:], requestType, func(e entry, t string) int { return cmp.Compare(e.requestType, t) })
	if !ok {
		return nil
	}
	return &commands[i]
}

// RequestTypes lists the commands of the schema, in order.
func RequestTypes() []string {
	out := make([]string, len(commands))
	for i := range commands {
		out[i] = commands[i].requestType
	}
	return out
}

// New returns a pointer to the empty command of a type, as a *DeviceInformation, or nil if the schema does not know it.
func New(requestType string) Command {
	if e := find(requestType); e != nil {
		return e.command()
	}
	return nil
}

// NewResponse returns a pointer to the empty answer to a command: an *OtherResponse if the schema lists no keys for it.
func NewResponse(requestType string) Response {
	if e := find(requestType); e != nil && e.response != nil {
		return e.response()
	}
	return &OtherResponse{Type: requestType}
}

// SchemaOf describes the keys of a command, and those of the answer to it. Both are nil if the schema does not know the
// command; answer is nil if it lists no keys.
func SchemaOf(requestType string) (command, answer *schema.Object) {
	if c, ok := New(requestType).(described); ok {
		command = c.Schema()
	}
	if r, ok := NewResponse(requestType).(described); ok {
		answer = r.Schema()
	}
	return command, answer
}

// Typed returns the typed form of a command: that of its RequestType, as a pointer, with all that the property list holds.
// A typed command is returned as it is, and a Raw one that the schema does not know, too. The error is a Malformed one; if
// it is for values that do not fit, which are kept in Extra, errors.As finds a [schema.Mismatches] in it.
func Typed(c Command) (Command, error) {
	const op = "command.Typed"
	raw, ok := c.(Raw)
	if p, isPointer := c.(*Raw); isPointer && p != nil {
		raw, ok = *p, true
	}
	if !ok {
		return c, nil
	}
	message, err := raw.message()
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	dict := message["Command"].(map[string]any)
	kind, _ := dict["RequestType"].(string)
	typed := New(kind)
	if typed == nil {
		return raw, nil
	}
	delete(dict, "RequestType")
	if wrong := schema.Decode(dict, typed); len(wrong) > 0 {
		return typed, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return typed, nil
}

// EncodeJSON returns a command as JSON: its RequestType and its keys, as in the property list; see [schema.EncodeJSON].
// Secrets are revealed. A type of your own is encoded by its plist tags. The error is a Malformed one.
func EncodeJSON(c Command) ([]byte, error) {
	const op = "command.EncodeJSON"
	message, err := encode(c)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
	}
	dict := message["Command"].(map[string]any)
	kind, _ := dict["RequestType"].(string)
	typed := New(kind)
	if typed == nil {
		return schema.EncodeTreeJSON(dict)
	}
	delete(dict, "RequestType")
	_ = schema.Decode(dict, typed) // so that every value has the form of its key; what does not fit is in Extra
	return schema.EncodeJSONWith(typed, map[string]any{"RequestType": kind})
}

// DecodeJSON reads a command from the form of [EncodeJSON]: a pointer to the type of its RequestType. One that the schema
// does not know becomes a Raw. The error is a Malformed one: no JSON object, no RequestType, or values that do not fit.
func DecodeJSON(data []byte) (Command, error) {
	const op = "command.DecodeJSON"
	dict, err := schema.ParseJSON(data)
	if err != nil {
		return nil, err
	}
	kind, _ := dict["RequestType"].(string)
	if !plain(kind) {
		return nil, mdm.Errorf(mdm.Malformed, op, "RequestType is missing")
	}
	typed := New(kind)
	if typed == nil {
		raw, err := plistx.Marshal(dict)
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
		}
		return Raw(raw), nil
	}
	delete(dict, "RequestType")
	if wrong := schema.DecodeTree(dict, typed); len(wrong) > 0 {
		return nil, mdm.Errorf(mdm.Malformed, op, "%w", wrong)
	}
	return typed, nil
}
