// Package profile makes and reads configuration profiles.
//
// Every payload of Apple's schema is a struct, as [WiFi]; each is in a file of its name. Optional keys are pointers, and keys
// that a type does not know go into its field Extra. [Validate] and [Profile.Validate] check them for a device before it sees
// them; [EncodeJSON] and [DecodeJSON] are the same in JSON.
//
// A [Profile] is a list of payloads under a header; [Profile.Encode] writes it as a property list, byte for byte the same
// for the same value, and [Parse] reads it back, plain or signed. [CMSSigner] signs, [Parsed.Verify] tells by whom;
// [Profile.Encrypt] and [Profile.Decrypt] keep the payloads from others than their device.
//
// [Profile.Expand] puts values in place of variables in a profile that serves as a template, and [Diff] tells what a device
// would see change from one profile to another.
//
// The first profile that a device gets follows Apple's advice to hold only the basics: the certificates of the trust
// chain, one identity, and the MDM payload. [Enrollment] builds it and [ValidateEnrollment] checks it, whoever built
// it. Everything else is installed by command afterwards, so that it can be replaced by command, too.
package profile

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
)

// ContentType is the media type of a profile, signed or not.
const ContentType = "application/x-apple-aspen-config"

// Profile is a configuration profile: Apple's "TopLevel" keys and the payloads.
type Profile struct {
	// Identifier is the PayloadIdentifier, in reverse DNS form. A profile replaces the installed one of the same
	// identifier. Required.
	Identifier string
	// UUID is the PayloadUUID; empty: derived from Identifier, so that a rebuilt profile is the same byte for byte.
	UUID         string
	DisplayName  string
	Description  string
	Organization string
	Scope        Scope

	RemovalDisallowed    bool              // the user cannot remove it; supervised iOS and tvOS, macOS
	HasRemovalPasscode   bool              // tells of a password in the payloads: see SetRemovalPassword
	RemovalDate          time.Time         // removed by itself then; to the second
	DurationUntilRemoval time.Duration     // removed by itself after this time, to the millisecond; the earlier of both wins
	ExpirationDate       time.Time         // PayloadExpirationDate, for profiles that came over the air
	ConsentText          map[string]string // by language, "default" for others
	TargetDeviceType     int64             // 1: iPhone, iPad, iPod; 2: Apple Watch; 3: HomePod; 4: Apple TV; 5: Mac; 6: Vision Pro; 0: any
	Payloads             []Payload
	// EncryptedContent is the CMS in place of the payloads of an encrypted profile: key EncryptedPayloadContent.
	EncryptedContent []byte
	Extra            map[string]any // keys that are not here; a value that is a mdm.Secret is written as its text
}

// Scope says for whom a profile is on macOS.
type Scope string

// The scopes. Empty leaves the key out, which macOS reads as User.
const (
	ScopeSystem Scope = "System"
	ScopeUser   Scope = "User"
)

// Payload is one payload. The types of this package implement it, those of Apple's schema; [Raw] carries any other. A type
// of your own is encoded by its plist tags and should embed [Common].
type Payload interface {
	// PayloadType is Apple's name of the type, as "com.apple.mdm".
	PayloadType() string
}

// Builder makes the profile for one enrollment at the moment of delivery, so that what it holds (a challenge, a host
// name) is fresh. It is safe for concurrent use.
type Builder interface {
	Build(ctx context.Context, e *mdm.Enrollment) (*Profile, error)
}

// Signer wraps an encoded profile in CMS. It is safe for concurrent use.
type Signer interface {
	Sign(ctx context.Context, profile []byte) ([]byte, error)
}

// UUID returns the UUID that a profile or payload with this identifier has if it names none: always the same.
func UUID(identifier string) string {
	// A name-based UUID (RFC 9562, version 5) in the namespace of DNS names, which reverse DNS identifiers resemble.
	return strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceDNS, []byte(identifier)).String())
}
