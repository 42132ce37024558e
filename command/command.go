package command

import (
	"crypto/sha256"
	"errors"
	"maps"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// Command is what a device is asked to do. A type of your own is encoded by its plist tags.
type Command interface {
	// RequestType is Apple's name of the command, as "DeviceInformation".
	RequestType() string
}

// Raw is a command as a property list, XML or binary: the Command dictionary, or a whole message with CommandUUID and
// Command. Every key is kept.
type Raw []byte

// RequestType implements [Command]; it is empty if r cannot be read.
func (r Raw) RequestType() string {
	dict, _, err := r.dictionary()
	if err != nil {
		return ""
	}
	kind, _ := dict["RequestType"].(string)
	return kind
}

// dictionary returns the Command dictionary and the CommandUUID of a whole message.
func (r Raw) dictionary() (map[string]any, string, error) {
	var dict map[string]any
	if err := plistx.UnmarshalLimits(r, &dict, plistx.Limits{Bytes: MaxBody}); err != nil {
		return nil, "", err
	}
	inner, whole := dict["Command"].(map[string]any)
	if _, direct := dict["RequestType"]; direct || !whole {
		return dict, "", nil
	}
	id, _ := dict["CommandUUID"].(string)
	return inner, id, nil
}

// Item is an order made ready for a queue.
type Item struct {
	UUID        string
	RequestType string
	Body        []byte // the whole message
	Traits      Traits
	Digest      [sha256.Size]byte // of the Command dictionary; the same for the same command under any UUID
}

// MaxBody is the largest command, in bytes.
const MaxBody = 16 << 20

const maxText = 255 // of a CommandUUID and a collapse key

// Prepare checks an order and encodes its command. Every store calls it before it queues anything. The error is a
// Malformed one that names what is wrong.
func Prepare(o Order) (Item, error) {
	item, err := prepare(o)
	if err != nil {
		return Item{}, mdm.Errorf(mdm.Malformed, "command.Prepare", "%w", err)
	}
	return item, nil
}

func prepare(o Order) (Item, error) {
	if o.Command == nil {
		return Item{}, errors.New("no command")
	}
	if err := checkOrder(o); err != nil {
		return Item{}, err
	}
	dict, own, err := encode(o.Command)
	if err != nil {
		return Item{}, err
	}
	kind, _ := dict["RequestType"].(string)
	if kind == "" || len(kind) > maxText {
		return Item{}, errors.New("the command has no RequestType")
	}
	id := o.UUID
	switch {
	case id == "" && own == "":
		id = strings.ToUpper(uuid.NewString())
	case id == "":
		id = own
	case own != "" && own != id:
		return Item{}, errors.New("the order and its raw message have different UUIDs")
	}
	if !printable(id) {
		return Item{}, errors.New("the UUID is too long or not printable")
	}
	command, err := plistx.Marshal(dict)
	if err != nil {
		return Item{}, err
	}
	body, err := plistx.MarshalIndent(map[string]any{"Command": dict, "CommandUUID": id})
	if err != nil {
		return Item{}, err
	}
	if len(body) > MaxBody {
		return Item{}, errors.New("the command is too large")
	}
	return Item{UUID: id, RequestType: kind, Body: body, Traits: traits(kind, dict), Digest: sha256.Sum256(command)}, nil
}

func checkOrder(o Order) error {
	switch {
	case len(o.Collapse) > maxText:
		return errors.New("the collapse key is too long")
	case o.Supersede && o.Collapse == "":
		return errors.New("Supersede needs a collapse key")
	case !o.NotAfter.IsZero() && o.NotAfter.Before(o.NotBefore):
		return errors.New("NotAfter is before NotBefore")
	}
	return nil
}

// dictionaryer is a command of this package that holds secrets, which no encoder may see by accident.
type dictionaryer interface{ dictionary() map[string]any }

// encode returns the Command dictionary and, of a raw message, its CommandUUID.
func encode(c Command) (map[string]any, string, error) {
	switch c := c.(type) {
	case Raw:
		dict, id, err := c.dictionary()
		return dict, id, err
	case dictionaryer:
		dict := c.dictionary()
		dict["RequestType"] = c.(Command).RequestType()
		return dict, "", nil
	}
	data, err := plistx.Marshal(c)
	if err != nil {
		return nil, "", err
	}
	var dict map[string]any
	if err := plistx.UnmarshalLimits(data, &dict, plistx.Limits{Bytes: MaxBody}); err != nil {
		return nil, "", err
	}
	dict = maps.Clone(dict)
	if dict == nil {
		dict = map[string]any{}
	}
	dict["RequestType"] = c.RequestType()
	return dict, "", nil
}

func printable(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
