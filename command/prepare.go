package command

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Item is an order made ready for a queue.
type Item struct {
	UUID        string
	RequestType string
	Body        []byte // the whole message, an XML property list
	Traits      Traits
	Digest      [sha256.Size]byte // of the Command dictionary; the same for the same command under any UUID
	Relax       schema.Rules      // of the order; stores keep it for [Recheck]

	inspection *schema.Inspection
}

// MaxBody is the largest message, in bytes, both as a [Raw] and as it goes to the device.
const MaxBody = 16 << 20

const maxText = 255 // bytes of a CommandUUID, a RequestType and a collapse key

// Prepare checks an order and encodes its command. Every store calls it before it queues anything. It does not look at
// Order.To.
//
// The UUID is Order.UUID, else the CommandUUID of a whole raw message, else a random one in upper case, as Apple writes
// them. UUIDs are compared byte by byte; case matters.
//
// The error is a Malformed one that names what is wrong: no command, or one without RequestType; keys that break a rule of
// Apple's schema whatever the target is, and that Order.Relax does not name (errors.As finds the [schema.Findings]); two different UUIDs, or one that is not printable ASCII of at most 255 bytes; a collapse key over 255
// bytes; Supersede without a collapse key; NotAfter before NotBefore; a message over [MaxBody]. It holds nothing of the
// command.
func Prepare(o Order) (Item, error) {
	item, err := prepare(o)
	if err != nil {
		return Item{}, mdm.Errorf(mdm.Malformed, "command.Prepare", "%w", err)
	}
	return item, nil
}

func prepare(o Order) (Item, error) {
	if err := checkOrder(o); err != nil {
		return Item{}, err
	}
	message, err := encode(o.Command)
	if err != nil {
		return Item{}, err
	}
	dict := message["Command"].(map[string]any)
	kind, _ := dict["RequestType"].(string)
	if !plain(kind) {
		return Item{}, fmt.Errorf("the command has no RequestType, or not one of 1 to %d printable ASCII characters", maxText)
	}
	inspection, of := inspect(kind, dict), traits(kind, dict)
	if r, ok := recipeOf(dict); ok {
		o.Relax, of = o.Relax|unmade, r.traits()
	}
	if err := inspection.Check(schema.Target{}).Relaxed(o.Relax).Err(); err != nil {
		return Item{}, fmt.Errorf("%s: %w", kind, err)
	}
	id, err := chooseUUID(o.UUID, message)
	if err != nil {
		return Item{}, err
	}
	message["CommandUUID"] = id
	command, err := plistx.Marshal(dict)
	if err != nil {
		return Item{}, err
	}
	body, err := plistx.MarshalIndent(message)
	if err != nil {
		return Item{}, err
	}
	if len(body) > MaxBody {
		return Item{}, fmt.Errorf("the message has %d bytes, over the limit of %d", len(body), MaxBody)
	}
	return Item{UUID: id, RequestType: kind, Body: body, Traits: of, Digest: sha256.Sum256(command),
		Relax: o.Relax, inspection: inspection}, nil
}

func checkOrder(o Order) error {
	switch {
	case isNil(o.Command):
		return errors.New("no command")
	case len(o.Collapse) > maxText:
		return fmt.Errorf("the collapse key has %d bytes, over the limit of %d", len(o.Collapse), maxText)
	case o.Supersede && o.Collapse == "":
		return errors.New("an order with Supersede needs a collapse key")
	case !o.NotAfter.IsZero() && o.NotAfter.Before(o.NotBefore):
		return errors.New("NotAfter is before NotBefore")
	}
	return nil
}

// isNil reports whether there is no command, not even one behind a pointer.
func isNil(c Command) bool {
	v := reflect.ValueOf(c)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// chooseUUID returns the UUID of an order whose own is asked.
func chooseUUID(asked string, message map[string]any) (string, error) {
	value, given := message["CommandUUID"]
	own, isText := value.(string)
	switch {
	case given && !isText:
		return "", errors.New("the CommandUUID of the message is not a string")
	case asked == "":
		asked = own
	case own != "" && own != asked:
		return "", errors.New("the order and its message have different UUIDs")
	}
	if asked == "" {
		return strings.ToUpper(uuid.NewString()), nil
	}
	if !plain(asked) {
		return "", fmt.Errorf("the UUID is not printable ASCII of at most %d bytes", maxText)
	}
	return asked, nil
}

// plain reports whether s is a name that survives every encoding unchanged. A UUID that comes back from a device in
// another form would never finish its command.
func plain(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
