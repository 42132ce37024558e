package enroll

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/gomdm/applemdm/mdm"
)

// WatchPairingService is the TokenServiceType under which a phone asks for what lets its watch enroll.
const WatchPairingService = "com.apple.watch.pairing"

// DefaultWatchLifetime is how long a watch may take to use the token of its phone.
const DefaultWatchLifetime = 15 * time.Minute

const (
	watchKind  = "watch"
	watchGrace = 2 * time.Minute // for a watch whose answer was lost
	watchMost  = 2048            // bytes of a token
)

// WatchPairing lets an Apple Watch enroll with the phone that it is paired with, which has to be managed (Apple: GetToken, and the
// 403 answer com.apple.watch.pairing.token.missing). The watch, which has no PAIRING_TOKEN yet, is answered with a security token; its
// phone shows that in GetToken and gets a pairing token; the watch shows that in MachineInfo.
//
// It is a checkin.TokenSource: give it to a checkin.Service under [WatchPairingService]. All replicas need the same Key.
type WatchPairing struct {
	Key      mdm.Secret       // at least 32 bytes; required
	Sessions Sessions         // remembers which tokens were used; required
	Lifetime time.Duration    // of a token; 0: DefaultWatchLifetime
	Clock    func() time.Time // nil: time.Now
}

// watchPass is what a token says.
type watchPass struct {
	Nonce string
	Until time.Time
	Phone mdm.EnrollmentID
	Watch string
}

// SecurityToken returns what a watch is answered that has no token yet: a UUID, always the same for a watch.
func (p *WatchPairing) SecurityToken(tenant, watchUDID string) (string, error) {
	sum, err := p.mac("security", tenant, watchUDID)
	if err != nil {
		return "", err
	}
	id, err := uuid.FromBytes(sum[:16])
	if err != nil {
		return "", err
	}
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562, version 8
	return id.String(), nil
}

// Token makes a pairing token for a phone. The error is Malformed if the parameters are not those of a phone that a watch was paired
// with, and Forbidden if the watch was not told to ask, or another phone asks.
func (p *WatchPairing) Token(_ context.Context, id mdm.EnrollmentID, parameters map[string]any) (mdm.Secret, error) {
	const op = "enroll.WatchPairing"
	security, _ := parameters["SecurityToken"].(string)
	phone, _ := parameters["PhoneUDID"].(string)
	watch, _ := parameters["WatchUDID"].(string)
	if security == "" || phone == "" || watch == "" || len(watch) > mdm.MaxIdentifier {
		return mdm.Secret{}, mdm.Errorf(mdm.Malformed, op, "SecurityToken, PhoneUDID and WatchUDID are required")
	}
	want, err := p.SecurityToken(id.Tenant, watch)
	if err != nil {
		return mdm.Secret{}, err
	}
	given, err := uuid.Parse(security)
	if phone != id.Device || err != nil || !hmac.Equal([]byte(given.String()), []byte(want)) {
		return mdm.Secret{}, mdm.Errorf(mdm.Forbidden, op, "the watch was not told to pair, or with another phone")
	}
	lifetime := p.Lifetime
	if lifetime <= 0 {
		lifetime = DefaultWatchLifetime
	}
	body, err := json.Marshal(watchPass{Nonce: rand.Text(), Until: p.now().Add(lifetime).UTC(), Phone: id.DeviceID(), Watch: watch})
	if err != nil {
		return mdm.Secret{}, err
	}
	sum, err := p.mac("token", string(body))
	if err != nil {
		return mdm.Secret{}, err
	}
	return mdm.NewSecret(append(sum, body...)), nil
}

// Redeem checks the PAIRING_TOKEN of a watch and returns its phone. A token is good once; the same watch may show it again for a
// moment, because its answer may have been lost. The error is Forbidden if it is not good, or not this watch's.
func (p *WatchPairing) Redeem(ctx context.Context, tenant, watchUDID string, token mdm.Secret) (phone mdm.EnrollmentID, err error) {
	const op = "enroll.WatchPairing"
	refused := mdm.Errorf(mdm.Forbidden, op, "the pairing token is not good for this watch, or not any more")
	data := token.Reveal()
	if len(data) < sha256.Size || len(data) > watchMost {
		return mdm.EnrollmentID{}, refused
	}
	body := data[sha256.Size:]
	sum, err := p.mac("token", string(body))
	if err != nil {
		return mdm.EnrollmentID{}, err
	}
	var pass watchPass
	now := p.now()
	if !hmac.Equal(sum, data[:sha256.Size]) || json.Unmarshal(body, &pass) != nil || pass.Watch != watchUDID || pass.Phone.Tenant != tenant || !now.Before(pass.Until) {
		return mdm.EnrollmentID{}, refused
	}
	used := sha256.Sum256([]byte(pass.Nonce))
	id := watchKind + "-" + hex.EncodeToString(used[:16])
	err = p.Sessions.CreateEnrollmentSession(ctx, Session{ID: id, Kind: watchKind, Tenant: tenant, State: SessionDelivered, BegunAt: now, KeepUntil: pass.Until})
	if err == nil {
		return pass.Phone, nil
	}
	if mdm.CodeOf(err) != mdm.Malformed { // which it is if the ID is taken
		return mdm.EnrollmentID{}, err
	}
	s, err := p.Sessions.EnrollmentSession(ctx, id)
	if err != nil {
		return mdm.EnrollmentID{}, err
	}
	if now.Sub(s.BegunAt) > watchGrace {
		return mdm.EnrollmentID{}, refused
	}
	return pass.Phone, nil
}

func (p *WatchPairing) mac(parts ...string) ([]byte, error) {
	if len(p.Key.Reveal()) < 32 || p.Sessions == nil {
		return nil, mdm.Errorf(mdm.Internal, "enroll.WatchPairing", "a Key of at least 32 bytes and Sessions are required")
	}
	m := hmac.New(sha256.New, p.Key.Reveal())
	for _, part := range parts {
		size := sha256.Sum256([]byte(part)) // parts cannot run into each other
		m.Write(size[:])
	}
	return m.Sum(nil), nil
}

func (p *WatchPairing) now() time.Time {
	if p.Clock == nil {
		return time.Now()
	}
	return p.Clock()
}
