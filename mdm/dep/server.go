package dep

import (
	"encoding/json"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// Key names a server: one of those that an organization has made for us at Apple, by its tenant and a name of ours.
type Key struct {
	Tenant string
	Name   string // at most 255 bytes, printable
}

// String returns the tenant and the name, for logs.
func (k Key) String() string {
	if k.Tenant == "" {
		return k.Name
	}
	return k.Tenant + "~" + k.Name
}

// Server is what we know of one server at Apple: how to call for it, and how far its devices are known.
type Server struct {
	Key
	KeyPair KeyPair `json:"-"` // the token is encrypted to it; stores seal it: see Secrets
	Token   Token   `json:"-"` // zero until it was imported; stores seal it, too
	Account Account // as it was read last; zero until then
	AddedAt time.Time

	// Profile is the UUID of the profile that each device of the server ought to have, unless its Record.Want says another.
	// Empty: what the devices have is left alone. Assigner.SetProfile sets it, so that all devices are held against it.
	Profile string
	// Era counts how often another server at Apple took the place of this one: wishes of before are void.
	Era int `json:",omitzero"`
	// Profiles are those that were defined or read, by their UUIDs: what a device is told is known by its profile.
	Profiles map[string]Profile `json:",omitempty"`

	Sync  Sync
	Judge Judge
	// Stopped is why Apple refused the last call, until one succeeds: nil, or an error that somebody has to do something
	// about, as that new terms are to be accepted.
	Stopped *Problem `json:",omitempty"`
}

// Judge is how far the devices of a server were held against a new Server.Profile.
type Judge struct {
	Profile string // the one that they are held against
	After   string // the serial number up to which it was done
	Done    bool
}

// Problem is a refusal of Apple's, as it is kept.
type Problem struct {
	Code  string    // as "T_C_NOT_SIGNED"
	Text  string    // what has to be done, by whom and where
	Since time.Time // when it was met first
	At    time.Time // and last
}

// Phase is what a sync does next.
type Phase uint8

// The phases.
const (
	PhaseFetch  Phase = iota // all devices are being fetched
	PhaseSweep               // those that were not among them are being marked as gone
	PhaseChange              // changes are asked for
)

var phaseNames = [...]string{"fetch", "sweep", "changes"}

// String returns the phase in a word.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

// Sync is how far the devices of a server are known. It is written with the devices themselves, in one transaction.
type Sync struct {
	Phase  Phase
	Cursor string // Apple's; empty: from the start
	Round  int    // of the fetch of all that is going on, or was last
	Swept  string // in PhaseSweep: the serial number up to which it was done

	Holder    string    // who is at it; empty: nobody
	HeldUntil time.Time // and until when nobody else may be

	FetchBegunAt time.Time // when the fetch of all began that is going on, or was last
	FetchedAt    time.Time // when one ended last
	At           time.Time // when Apple was last heard of
	Until        time.Time // up to when Apple has told everything, by its own word (fetched_until)
	NotBefore    time.Time // Apple asked not to be called before
	Fetched      int       // devices in this round
}

// Take gives the sync to a holder for so long, or renews that. It is false if somebody else has it. One that is held for more than
// two days from now was taken by a wrong clock, and is free.
func (s *Sync) Take(holder string, now time.Time, d time.Duration) bool {
	if left := s.HeldUntil.Sub(now); s.Holder != "" && s.Holder != holder && left > 0 && left <= max(2*oddClock, d) {
		return false
	}
	s.Holder, s.HeldUntil = holder, now.Add(d)
	return true
}

// Release gives the sync back. It is no error if somebody else has it.
func (s *Sync) Release(holder string) {
	if s.Holder == holder {
		s.Holder, s.HeldUntil = "", time.Time{}
	}
}

// serverSecrets is the form of what stores seal.
type serverSecrets struct {
	Certificate, Key                          []byte
	ConsumerKey                               string
	ConsumerSecret, AccessToken, AccessSecret []byte
	Expires                                   time.Time
}

// Secrets returns the key pair and the token as one secret, which is what a store seals; zero if there is neither. The JSON form
// of a server leaves them out.
func (s *Server) Secrets() (mdm.Secret, error) {
	t, k := &s.Token, &s.KeyPair
	if len(k.Certificate) == 0 && k.Key.IsZero() && t.ConsumerKey == "" {
		return mdm.Secret{}, nil
	}
	expires := t.Expires
	round(&expires)
	data, err := json.Marshal(serverSecrets{k.Certificate, k.Key.Reveal(), t.ConsumerKey, t.ConsumerSecret.Reveal(), t.AccessToken.Reveal(), t.AccessSecret.Reveal(), expires})
	if err != nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, "dep.Server", "the secrets cannot be kept: when they expire is no time")
	}
	return mdm.NewSecret(data), nil
}

// SetSecrets is the way back.
func (s *Server) SetSecrets(sealed mdm.Secret) error {
	s.KeyPair, s.Token = KeyPair{}, Token{}
	if sealed.IsZero() {
		return nil
	}
	var v serverSecrets
	if err := json.Unmarshal(sealed.Reveal(), &v); err != nil {
		return mdm.Errorf(mdm.Internal, "dep.Server", "the stored secrets cannot be read") // the cause would tell of them
	}
	s.KeyPair = KeyPair{Certificate: v.Certificate, Key: mdm.NewSecret(v.Key)}
	s.Token = Token{v.ConsumerKey, mdm.NewSecret(v.ConsumerSecret), mdm.NewSecret(v.AccessToken), mdm.NewSecret(v.AccessSecret), v.Expires}
	return nil
}

// Changed returns what change makes of the server. Its key and AddedAt stay as they are.
func (s Server) Changed(change func(*Server) error) (Server, error) {
	next := s
	if s.Stopped != nil {
		stopped := *s.Stopped
		next.Stopped = &stopped
	}
	if err := change(&next); err != nil {
		return Server{}, err
	}
	next.Key, next.AddedAt = s.Key, s.AddedAt
	return next, nil
}

// Check reports as a Malformed error that a key cannot be kept.
func (k Key) Check() error { return k.check("dep.Server") }

// check reports as a Malformed error what cannot be kept.
func (k Key) check(op string) error {
	if !plain(k.Name, maxName) || k.Name == "" || k.Tenant != "" && !plain(k.Tenant, maxName) {
		return mdm.Errorf(mdm.Malformed, op, "the name of a server is printable text of 1 to %d bytes", maxName)
	}
	return nil
}
