package checkin

import (
	"context"
	"crypto/hmac"
	"crypto/md5" // the digest of Apple's UserAuthenticate is MD5
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

// UserAuthenticator answers UserAuthenticate, with which a network user of a Mac asks to be managed.
type UserAuthenticator interface {
	// Challenge answers the first message. An empty challenge lets the user in without a token; a UserDeclined error
	// leaves the user unmanaged until the next login.
	Challenge(ctx context.Context, id mdm.EnrollmentID) (string, error)
	// Verify answers the second message: whether the digest is right. It returns false, and no error, if it is not.
	Verify(ctx context.Context, id mdm.EnrollmentID, digestResponse string) (bool, error)
}

func (s *Service) userAuthenticate(ctx context.Context, r *Request, m *UserAuthenticate) (*Reply, error) {
	if err := s.apply(ctx, r, s.admitted(r, nil)); err != nil {
		return nil, err
	}
	if !r.ID.IsUser() {
		return nil, r.refused(mdm.Malformed, "UserAuthenticate is for user channels")
	}
	if s.UserAuth == nil {
		return nil, r.refused(mdm.UserDeclined, "network users are not managed")
	}
	if m.DigestResponse == "" {
		challenge, err := s.UserAuth.Challenge(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		return plistReply(map[string]any{"DigestChallenge": challenge})
	}
	ok, err := s.UserAuth.Verify(ctx, r.ID, m.DigestResponse)
	if err != nil || !ok {
		if err != nil {
			return nil, err
		}
		return plistReply(map[string]any{"AuthToken": ""})
	}
	token := randomText()
	err = s.apply(ctx, r, s.admitted(r, func(_ *Situation, plan *Plan) { plan.AuthTokenHash = identity.HashAuthToken(token) }))
	if err != nil {
		return nil, err
	}
	return plistReply(map[string]any{"AuthToken": token})
}

// Digest is a [UserAuthenticator] that knows the users' passwords, in the form MD5(user:realm:password). Realm and
// Lookup are required. Its nonces are good once and for a short time; they carry their own proof, so that only those
// used are remembered. Replicas must share Key, and a nonce is then good once on each of them.
type Digest struct {
	Realm string
	// Lookup returns the 32 hexadecimal digits of MD5(user:realm:password), false if there is no such user.
	Lookup func(ctx context.Context, id mdm.EnrollmentID, user string) (mdm.Secret, bool, error)
	Key    mdm.Secret       // proves nonces; zero: a random one of this process
	Life   time.Duration    // of a nonce; 0: two minutes
	Clock  func() time.Time // nil: time.Now

	mu    sync.Mutex
	own   []byte
	used  map[string]time.Time
	swept time.Time // when what is too old was last dropped
}

// maxUsedNonces bounds the memory for nonces that were used; beyond it, users have to wait.
const maxUsedNonces = 100_000

func (d *Digest) now() time.Time {
	if d.Clock != nil {
		return d.Clock()
	}
	return time.Now()
}

// Challenge implements [UserAuthenticator].
func (d *Digest) Challenge(_ context.Context, id mdm.EnrollmentID) (string, error) {
	fresh := make([]byte, 8, 24)
	binary.BigEndian.PutUint64(fresh, uint64(d.now().UnixMilli())) // after 1970
	fresh = append(fresh, randomBytes(16)...)
	nonce := base64.RawURLEncoding.EncodeToString(append(fresh, d.proof(id, fresh)...))
	return `Digest nonce="` + nonce + `",realm="` + d.Realm + `"`, nil
}

// Verify implements [UserAuthenticator].
func (d *Digest) Verify(ctx context.Context, id mdm.EnrollmentID, response string) (bool, error) {
	p := parseDigest(response)
	if p["realm"] != d.Realm || p["uri"] != "/" || !d.redeem(id, p["nonce"]) {
		return false, nil
	}
	a1, ok, err := d.Lookup(ctx, id, p["username"])
	if err != nil {
		return false, err
	}
	want := md5Hex(string(a1.Reveal()) + ":" + p["nonce"] + ":" + md5Hex("PUT:/"))
	return subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(p["response"]))) == 1 && ok, nil
}

// redeem accepts a nonce of ours once.
func (d *Digest) redeem(id mdm.EnrollmentID, nonce string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != 24+sha256.Size || !hmac.Equal(d.proof(id, raw[:24]), raw[24:]) {
		return false
	}
	life := d.Life
	if life <= 0 {
		life = 2 * time.Minute
	}
	now := d.now()
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(raw))) // proved to be ours
	if now.After(made.Add(life)) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.swept) > life/4 {
		d.swept = now
		maps.DeleteFunc(d.used, func(_ string, until time.Time) bool { return now.After(until) })
	}
	if _, twice := d.used[nonce]; twice || len(d.used) >= maxUsedNonces {
		return false
	}
	if d.used == nil {
		d.used = map[string]time.Time{}
	}
	d.used[nonce] = made.Add(life)
	return true
}

// proof binds a nonce to us and to the channel that it was made for.
func (d *Digest) proof(id mdm.EnrollmentID, fresh []byte) []byte {
	key := d.Key.Reveal()
	if key == nil {
		d.mu.Lock()
		if d.own == nil {
			d.own = randomBytes(32)
		}
		key = d.own
		d.mu.Unlock()
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(fresh)
	mac.Write([]byte(id.String()))
	return mac.Sum(nil)
}

// DigestA1 returns MD5(user:realm:password), the form in which [Digest.Lookup] gives passwords.
func DigestA1(user, realm string, password mdm.Secret) mdm.Secret {
	return mdm.SecretString(md5Hex(user + ":" + realm + ":" + string(password.Reveal())))
}

// parseDigest reads the parameters of an HTTP Digest (RFC 2069). What is malformed is left out.
func parseDigest(s string) map[string]string {
	params := map[string]string{}
	s = strings.TrimPrefix(strings.TrimSpace(s), "Digest ")
	for s != "" && len(params) < 16 {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		rest = strings.TrimSpace(rest)
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, rest, ok = strings.Cut(quoted, `"`)
			if !ok {
				break
			}
			_, rest, _ = strings.Cut(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		params[strings.ToLower(strings.TrimSpace(name))] = value
		s = strings.TrimSpace(rest)
	}
	return params
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) // as above
	return hex.EncodeToString(sum[:])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func randomText() string { return base64.RawURLEncoding.EncodeToString(randomBytes(32)) }
