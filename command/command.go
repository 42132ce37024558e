package command

import (
	"errors"

	"github.com/gomdm/applemdm/internal/plistx"
)

// Command is what a device is asked to do. Use a type of this package, [Raw], or a type of your own: a struct is encoded
// by its plist tags, as `plist:"KextPaths,omitempty"`, or by its method MarshalPlist() (any, error). RequestType is added
// to its keys.
//
// A type of your own that holds an [mdm.Secret] needs that method, because a Secret has no encoding; the method reveals it.
//
// [mdm.Secret]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm#Secret
type Command interface {
	// RequestType is Apple's name of the command, as "DeviceInformation".
	RequestType() string
}

// Raw is a command as a property list, XML or binary: the Command dictionary, or a whole message with CommandUUID and
// Command. It is for commands and keys that this package does not know. Every key is kept with its exact value, those of
// the message too, but the text is not: it is encoded anew, as XML. What XML cannot express is refused.
//
// A dictionary with RequestType but without CommandUUID is a Command dictionary, even if it has a key Command.
type Raw []byte

// RequestType implements [Command]. It reads the whole list; it is empty if r cannot be read.
func (r Raw) RequestType() string {
	message, err := r.message()
	if err != nil {
		return ""
	}
	dict, _ := message["Command"].(map[string]any)
	kind, _ := dict["RequestType"].(string)
	return kind
}

// message returns the whole message. If r is a Command dictionary, that is all it holds.
func (r Raw) message() (map[string]any, error) {
	var dict map[string]any
	if err := plistx.UnmarshalLimits(r, &dict, plistx.Limits{Bytes: MaxBody}); err != nil {
		return nil, err
	}
	_, named := dict["CommandUUID"]
	_, direct := dict["RequestType"]
	command, holds := dict["Command"]
	if !named && (direct || !holds) {
		return map[string]any{"Command": dict}, nil
	}
	if _, ok := command.(map[string]any); !ok {
		return nil, errors.New("the message has no Command dictionary")
	}
	return dict, nil
}
