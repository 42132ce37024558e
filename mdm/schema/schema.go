// Package schema holds what Apple's machine-readable schema says of commands, answers, payloads and declarations, and
// checks values against it.
//
// The generated types of packages command, profile, mdm/ddm and mdm/enroll each come with an [Object]: their keys, which
// of them must be present, what values they take, and where they work. [Check] holds a property list against an Object and
// a [Target], and returns [Findings]: the key path, the rule, and what is wrong. What is not known of a target is not held
// against it.
//
// The same tables can draw a form, or check a document of your own.
//
// [EncodePlist], [DecodePlist], [EncodeJSON] and [DecodeJSON] turn the generated types into property lists and JSON and back,
// with nothing lost: keys that a type does not know are kept in its field Extra. [Encode] and [Decode] do so with trees of
// values.
package schema

// Kind is the type of a value, as Apple's schema names it.
type Kind uint8

// The kinds, and the Go types that hold them in a tree of values, as [Encode] makes it.
const (
	Any        Kind = iota // any of the others
	String                 // string
	Integer                // int64; numbers over its range: uint64
	Real                   // float64
	Boolean                // bool
	Date                   // time.Time
	Data                   // []byte
	Array                  // []any
	Dictionary             // map[string]any
)

var kindNames = [...]string{"any", "string", "integer", "real", "boolean", "date", "data", "array", "dictionary"}

// String returns Apple's word, as "integer".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Object describes one command, answer, payload, declaration or other document. Objects are tables: do not change them.
type Object struct {
	Type    string  // the RequestType, PayloadType, declaration type, …
	Apply   string  // how several configurations of the type go together: "single", "multiple", "combined"; else empty
	Support Support // a system that is not in it is not supported
	Keys    []Key
	Free    bool // any keys: those that are used are not described
}

// Key describes one key of a dictionary, the items of an array, or the values of a dictionary with free keys.
type Key struct {
	Name     string // as on the wire; empty for items and free values
	Kind     Kind
	Required bool
	Secret   bool   // a password, a token, a private key
	Empty    bool   // an empty string has a meaning of its own, and is not a missing one
	Default  string // what the client takes if the key is absent, as text; empty: nothing is said
	Enum     []string
	Range    *Range // of a number; where there is an Enum, too, either will do
	MinItems int    // of an array
	MaxItems int    // of an array; 0: no limit
	Format   string // a regular expression (RE2) that a string matches from end to end
	Combine  string // how the values of several declarations become one, as "boolean-and"
	// AssetTypes are the types of declarations that the string may name; ContentTypes the media types of their data.
	AssetTypes   []string
	ContentTypes []string

	Keys  []Key // the keys of a dictionary
	Item  *Key  // the items of an array; without: of any type
	Value *Key  // the values of a dictionary with free keys
	// Union are the dictionaries that the items of an array may be; the value of their key Item says which.
	Union []Key
	// Up, if not 0, says that the value is formed like an enclosing one, that many levels of Key above.
	Up int

	// Support has what differs from the enclosing value. A system that is not in it is as there.
	Support Support
	// Values has the support of single values of Enum, where it differs. Devices pass over a value that they do not support,
	// as a query of DeviceInformation, so a check only warns.
	Values []Value
}

// Value is where one value of an enumeration is supported, as far as that differs from its key.
type Value struct {
	Value   string
	Support Support
}

// Range bounds a number.
type Range struct {
	Min, Max     float64
	NoMin, NoMax bool
}

// Support says on which systems something works, and under which conditions. iPadOS is IOS.
type Support struct {
	IOS, MacOS, TvOS, VisionOS, WatchOS *OS
}

// On returns what is said for a platform, nil for nothing.
func (s *Support) On(p Platform) *OS {
	switch p {
	case IOS:
		return s.IOS
	case MacOS:
		return s.MacOS
	case TvOS:
		return s.TvOS
	case VisionOS:
		return s.VisionOS
	case WatchOS:
		return s.WatchOS
	}
	return nil
}

// NotAvailable stands in place of a version: not on this system.
const NotAvailable = "n/a"

// OS has the conditions on one system. What is empty is as in the enclosing value, and at last as the comment says.
type OS struct {
	Introduced string // the first version, or NotAvailable
	Deprecated string // the version in which Apple advised against it
	Removed    string // the version in which it stopped working

	Rights        string // the access right of a command, in Apple's word; see [Right]
	DeviceChannel Bool   // true
	UserChannel   Bool   // false

	Supervised       Bool // needs a supervised device
	RequiresDEP      Bool // needs Automated Device Enrollment
	UserApproved     Bool // needs a user-approved enrollment (macOS)
	ManualInstall    Bool // of a payload: may be installed by hand
	Multiple         Bool // of a payload: may be there more than once
	AlwaysSkippable  Bool // of a Setup Assistant pane
	Beta             Bool
	UserEnrollment   Mode
	SharedIPad       Mode
	SharedIPadDevice Bool // on the device channel of a Shared iPad: true
	SharedIPadUser   Bool // on its user channels: false

	// Enrollments are those that a declaration may be used in: "supervised", "device", "user", "local". Scopes are the
	// channels: "system", "user". Nil is as in the enclosing value; empty is none.
	Enrollments, Scopes, SharedIPadScopes []string
}

// Bool is a truth that may be unsaid. Its values are those of [mdm.Tristate].
//
// [mdm.Tristate]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm#Tristate
type Bool uint8

// The values of Bool.
const (
	Unsaid Bool = iota
	False
	True
)

// BoolOf returns True or False.
func BoolOf(b bool) Bool {
	if b {
		return True
	}
	return False
}

// Or returns b, or other if b is unsaid.
func (b Bool) Or(other Bool) Bool {
	if b == Unsaid {
		return other
	}
	return b
}

// Mode says how something goes with User Enrollment or a Shared iPad.
type Mode uint8

// The modes.
const (
	UnsaidMode Mode = iota
	Allowed         // with and without
	Required        // only there
	Forbidden       // not there
	Ignored         // accepted there, without effect
)

// Or returns the value of an optional key, or otherwise if the key is absent.
func Or[T any](key *T, otherwise T) T {
	if key == nil {
		return otherwise
	}
	return *key
}
