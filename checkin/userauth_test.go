package checkin_test

import (
	"context"
	"crypto/md5" // the digest of Apple's UserAuthenticate is MD5
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

const digestUser, digestRealm, digestPassword = "net1", "fusion.home", "test"

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) // as above
	return hex.EncodeToString(sum[:])
}

// Apple's published example (MDM Protocol Reference, 2018): the formula must give its response.
func TestDigestFormula(t *testing.T) {
	a1 := checkin.DigestA1(digestUser, digestRealm, mdm.SecretString(digestPassword))
	const nonce = "8BrAkk4GZgrG//2XaDLMSSSo89VenjV5E8Se73z98RvSW7Rs"
	assert.Equal(t, "84db40bbaf5e0d49cabb0ef7d8cac369", md5Hex(string(a1.Reveal())+":"+nonce+":"+md5Hex("PUT:/")))
	response := mdmtest.DigestResponse(digestUser, digestPassword, `Digest nonce="`+nonce+`",realm="`+digestRealm+`"`)
	assert.Contains(t, response, "84db40bbaf5e0d49cabb0ef7d8cac369", "the simulated Mac computes it alike")
}

func newDigest() *checkin.Digest {
	return &checkin.Digest{Realm: digestRealm, Lookup: lookup(digestUser, checkin.DigestA1(digestUser, digestRealm, mdm.SecretString(digestPassword)))}
}

func TestDigest(t *testing.T) {
	ctx := context.Background()
	d := newDigest()
	challenge, err := d.Challenge(ctx, anna)
	require.NoError(t, err)
	verify := func(id mdm.EnrollmentID, response string) bool {
		ok, err := d.Verify(ctx, id, response)
		require.NoError(t, err)
		return ok
	}
	right := mdmtest.DigestResponse(digestUser, digestPassword, challenge)
	assert.False(t, verify(mdm.EnrollmentID{Device: "OTHER", User: "anna"}, right), "a nonce is one channel's")
	assert.True(t, verify(anna, right))
	assert.False(t, verify(anna, right), "a nonce is good once")
	for name, response := range map[string]string{
		"wrong password": mdmtest.DigestResponse(digestUser, "guess", fresh(t, d)),
		"unknown user":   mdmtest.DigestResponse("nobody", digestPassword, fresh(t, d)),
		"made-up nonce":  mdmtest.DigestResponse(digestUser, digestPassword, `Digest nonce="AAAA",realm="`+digestRealm+`"`),
		"other realm":    mdmtest.DigestResponse(digestUser, digestPassword, strings.Replace(fresh(t, d), digestRealm, "elsewhere", 1)),
		"garbage":        `Digest "=,,"=x`,
		"empty":          "",
	} {
		assert.False(t, verify(anna, response), name)
	}
}

func fresh(t *testing.T, d *checkin.Digest) string {
	t.Helper()
	challenge, err := d.Challenge(context.Background(), anna)
	require.NoError(t, err)
	return challenge
}

func TestNoncesExpire(t *testing.T) {
	at := start
	d := newDigest()
	d.Clock = func() time.Time { return at }
	challenge := fresh(t, d)
	at = at.Add(3 * time.Minute)
	ok, err := d.Verify(context.Background(), anna, mdmtest.DigestResponse(digestUser, digestPassword, challenge))
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestReplicasShareAKey(t *testing.T) {
	one, two := newDigest(), newDigest()
	one.Key, two.Key = mdm.SecretString("shared"), mdm.SecretString("shared")
	ok, err := two.Verify(context.Background(), anna, mdmtest.DigestResponse(digestUser, digestPassword, fresh(t, one)))
	require.NoError(t, err)
	assert.True(t, ok)
}

func TestUserAuthenticate(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	_, _, err := k.say(anna, cert, &checkin.UserAuthenticate{})
	assert.Equal(t, mdm.UserDeclined, mdm.CodeOf(err), "without a directory, users are declined")

	k.service.UserAuth = newDigest()
	_, reply, err := k.say(anna, cert, &checkin.UserAuthenticate{})
	require.NoError(t, err)
	challenge := between(string(reply.Body), "<string>", "</string>")
	_, reply, err = k.say(anna, cert, &checkin.UserAuthenticate{DigestResponse: "wrong"})
	require.NoError(t, err, "a wrong password is answered 200 with an empty AuthToken")
	assert.Contains(t, string(reply.Body), "<string></string>")
	plan, reply, err := k.say(anna, cert, &checkin.UserAuthenticate{DigestResponse: mdmtest.DigestResponse(digestUser, digestPassword, challenge)})
	require.NoError(t, err)
	token := between(string(reply.Body), "<string>", "</string>")
	require.NotEmpty(t, token)
	assert.NotContains(t, string(plan.AuthTokenHash), token, "only its hash is stored")

	_, _, err = k.say(anna, cert, tokenUpdate("of anna"))
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "without the token it is not this user")
	_, err = k.service.Checkin(context.Background(), &checkin.Request{ID: anna, Channel: mdm.UserChannel, Certificate: cert,
		Fingerprint: mdm.FingerprintOf(cert), Message: tokenUpdate("of anna"), At: k.at, AuthToken: token})
	require.NoError(t, err)
	_, _, err = k.say(phone, cert, &checkin.UserAuthenticate{})
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), "it is for user channels")
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return strings.NewReplacer("&#34;", `"`, "&quot;", `"`).Replace(s)
}

func FuzzDigest(f *testing.F) {
	f.Add(`Digest username="net1",realm="fusion.home",nonce="x",uri="/",response="y"`)
	f.Fuzz(func(t *testing.T, response string) {
		ok, err := newDigest().Verify(context.Background(), anna, response)
		require.NoError(t, err)
		require.False(t, ok, "nobody guesses a nonce")
	})
}

func ExampleDigest() {
	passwords := map[string]mdm.Secret{"ada": checkin.DigestA1("ada", "example.com", mdm.SecretString("hunter2"))}
	d := &checkin.Digest{Realm: "example.com", Lookup: func(_ context.Context, _ mdm.EnrollmentID, user string) (mdm.Secret, bool, error) {
		a1, ok := passwords[user]
		return a1, ok, nil
	}}
	mac := mdm.EnrollmentID{Device: "UDID", User: "GUID"}
	challenge, _ := d.Challenge(context.Background(), mac)
	ok, err := d.Verify(context.Background(), mac, mdmtest.DigestResponse("ada", "hunter2", challenge))
	fmt.Println(ok, err)
	// Output: true <nil>
}
