package mdmtest

import (
	"context"
	"crypto/md5" // the digest of Apple's UserAuthenticate is MD5
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
)

// User is a user channel of a device.
type User struct {
	device    *Device
	id        string
	shortName string
	token     []byte
	magic     string
	auth      string // AuthToken
}

// User returns the channel of a user of a Mac, by its GUID and short name.
func (d *Device) User(id, shortName string) *User {
	u := &User{device: d, id: id, shortName: shortName, token: randomBytes(32), magic: randomUUID()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users = append(d.users, u)
	return u
}

// SharedIPadUser returns the channel of a Managed Apple Account on a Shared iPad.
func (d *Device) SharedIPadUser(account string) *User { return d.User(mdm.SharedIPadUserID, account) }

func (u *User) channel() channel {
	ids := u.device.identifiers()
	if u.device.cfg.EnrollmentID != "" {
		ids["EnrollmentUserID"] = u.id
	} else {
		maps.Copy(ids, map[string]any{"UserID": u.id, "UserShortName": u.shortName})
	}
	c := channel{user: u.id, ids: ids, extra: map[string]any{}}
	if u.id == mdm.SharedIPadUserID {
		c.user = u.shortName
	}
	if u.auth != "" {
		c.extra["AuthToken"] = u.auth
	}
	return c
}

// Authenticate does the UserAuthenticate handshake with a password. A user whom the server does not manage gives a
// *StatusError with status 410.
func (u *User) Authenticate(ctx context.Context, password string) error {
	var first struct{ DigestChallenge string }
	if err := u.ask(ctx, "UserAuthenticate", nil, &first); err != nil {
		return err
	}
	if first.DigestChallenge == "" {
		return nil // no token needed
	}
	var second struct{ AuthToken string }
	response := map[string]any{"DigestResponse": DigestResponse(u.shortName, password, first.DigestChallenge)}
	if err := u.ask(ctx, "UserAuthenticate", response, &second); err != nil {
		return err
	}
	if second.AuthToken == "" {
		return errors.New("mdmtest: the password was not accepted")
	}
	u.auth = second.AuthToken
	return nil
}

// TokenUpdate tells the server the push token of the channel.
func (u *User) TokenUpdate(ctx context.Context) error {
	keys := map[string]any{"Topic": u.topic(), "Token": u.token, "PushMagic": u.magic, "NotOnConsole": false}
	return u.ask(ctx, "TokenUpdate", keys, nil)
}

// Poll connects on the user channel.
func (u *User) Poll(ctx context.Context) error {
	u.device.talk.Lock()
	defer u.device.talk.Unlock()
	return u.device.session(ctx, u.channel())
}

func (u *User) topic() string {
	if m := u.device.managed(); m != nil {
		return m.mdm.Topic
	}
	return ""
}

func (u *User) ask(ctx context.Context, messageType string, keys map[string]any, reply any) error {
	u.device.talk.Lock()
	defer u.device.talk.Unlock()
	m := u.device.managed()
	if m == nil {
		return ErrNotManaged
	}
	c := u.channel()
	ids := maps.Clone(c.ids)
	maps.Copy(ids, c.extra)
	body, err := u.device.checkin(ctx, m, messageType, ids, keys)
	if err != nil || reply == nil || len(body) == 0 {
		return err
	}
	return unmarshal(body, reply)
}

// DigestResponse computes the answer to a DigestChallenge as macOS does: an HTTP Digest of RFC 2069 for "PUT /".
func DigestResponse(user, password, challenge string) string {
	params := map[string]string{}
	for _, part := range strings.Split(strings.TrimPrefix(challenge, "Digest "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		params[name] = strings.Trim(value, `"`)
	}
	a1 := md5Hex(user + ":" + params["realm"] + ":" + password)
	response := md5Hex(a1 + ":" + params["nonce"] + ":" + md5Hex("PUT:/"))
	return fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="/",response="%s"`, user, params["realm"], params["nonce"], response)
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) // as above
	return hex.EncodeToString(sum[:])
}

func unmarshal(body []byte, v any) error {
	if err := plistx.Unmarshal(body, v); err != nil {
		return fmt.Errorf("mdmtest: reply: %w", err)
	}
	return nil
}

func asStatus(err error, target **StatusError) bool { return errors.As(err, target) }
