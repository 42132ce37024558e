package checkin

import (
	"github.com/gomdm/applemdm/mdm"
)

// Message is one check-in message: *Authenticate, *TokenUpdate and so on, or *Unknown. Apple adds messages; vendors do
// not.
type Message interface {
	// MessageType is Apple's name of the message.
	MessageType() string
	message() *Common
}

// Common has what every message may hold besides its own keys.
type Common struct {
	mdm.Identifiers
	// NotOnConsole: the user of a Mac's user channel is not the one at the console. Nil if the key is absent.
	NotOnConsole *bool
	AuthToken    mdm.Secret // of a user channel after UserAuthenticate
	// Extra are the keys that this package does not know, as they came. They are encoded again.
	Extra map[string]any
}

func (c *Common) message() *Common { return c }

// Authenticate begins an enrollment, or begins it anew. The device is not managed until its first TokenUpdate.
type Authenticate struct {
	Common
	Topic  string
	Device mdm.Device
}

// TokenUpdate tells the push token of a channel. The first one completes an enrollment.
type TokenUpdate struct {
	Common
	Topic       string
	Token       []byte
	PushMagic   string
	UnlockToken mdm.Secret // clears the passcode; zero if the key is absent or empty, which changes nothing
	// AwaitingConfiguration: the device waits for DeviceConfigured. Nil if the key is absent, which is not false.
	AwaitingConfiguration *bool
}

// CheckOut says that the MDM profile was removed. It is sent once, at best.
type CheckOut struct {
	Common
	Topic string
}

// UserAuthenticate asks whether a network user of a Mac is managed. It comes twice: the second time with the answer to
// the challenge.
type UserAuthenticate struct {
	Common
	DigestResponse string // empty the first time
}

// SetBootstrapToken escrows the bootstrap token of a device.
type SetBootstrapToken struct {
	Common
	BootstrapToken        mdm.Secret // zero: delete the stored one
	AwaitingConfiguration *bool
}

// GetBootstrapToken asks for the escrowed bootstrap token.
type GetBootstrapToken struct {
	Common
	AwaitingConfiguration *bool
}

// DeclarativeManagement carries declarative management over check-in.
type DeclarativeManagement struct {
	Common
	Endpoint string // "tokens", "declaration-items", "status" or "declaration/…"
	Data     []byte // JSON; nil if the key is absent
}

// GetToken asks for a token of a service.
type GetToken struct {
	Common
	TokenServiceType string // as "com.apple.maid"
	TokenParameters  map[string]any
}

// ReturnToService asks, from iOS 26 on, how a device is to return to service after an erase.
type ReturnToService struct{ Common }

// Unknown is a message of a type that this package does not know. All its keys but the identifiers are in Extra.
type Unknown struct {
	Common
	Type string
}

// MessageType implements [Message].
func (*Authenticate) MessageType() string { return "Authenticate" }

// MessageType implements [Message].
func (*TokenUpdate) MessageType() string { return "TokenUpdate" }

// MessageType implements [Message].
func (*CheckOut) MessageType() string { return "CheckOut" }

// MessageType implements [Message].
func (*UserAuthenticate) MessageType() string { return "UserAuthenticate" }

// MessageType implements [Message].
func (*SetBootstrapToken) MessageType() string { return "SetBootstrapToken" }

// MessageType implements [Message].
func (*GetBootstrapToken) MessageType() string { return "GetBootstrapToken" }

// MessageType implements [Message].
func (*DeclarativeManagement) MessageType() string { return "DeclarativeManagement" }

// MessageType implements [Message].
func (*GetToken) MessageType() string { return "GetToken" }

// MessageType implements [Message].
func (*ReturnToService) MessageType() string { return "ReturnToService" }

// MessageType implements [Message].
func (m *Unknown) MessageType() string { return m.Type }
