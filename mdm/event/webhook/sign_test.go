package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
)

const (
	signedBody   = `{"hello":"world"}`
	oldSignature = "v1=369e267017e78d9ed5d2fb4ac4951e3cb137023527457b12b684d812fc3a980d" // by openssl dgst -sha256 -hmac
	newSignature = "v1=760830fa7155062b567364ae2ad50e9dc5e9e8bd799426793a2fb2771f73028c"
)

var (
	signedAt = time.Unix(1_700_000_000, 0)
	secrets  = []mdm.Secret{mdm.SecretString(oldSecret), mdm.SecretString(newSecret)}
)

func TestSignVector(t *testing.T) {
	assert.Equal(t, "t=1700000000,"+oldSignature, Sign([]byte(signedBody), signedAt, secrets[0]))
	assert.Equal(t, "t=1700000000,"+oldSignature+","+newSignature, Sign([]byte(signedBody), signedAt, secrets...))
}

func TestVerify(t *testing.T) {
	good := "t=1700000000," + oldSignature
	for _, c := range []struct {
		name, header, body string
		secrets            []mdm.Secret
		after              time.Duration
		code               mdm.Code // Internal: it is good
	}{
		{name: "good", header: good},
		{name: "spaces, and a newer scheme", header: "t=1700000000, v2=odd, " + oldSignature},
		{name: "two secrets sign, one is known", header: good + "," + newSignature, secrets: secrets[1:]},
		{name: "one secret signs, two are known", header: good, secrets: secrets},
		{name: "late within the tolerance", header: good, after: 5 * time.Minute},
		{name: "late", header: good, after: 5*time.Minute + time.Second, code: mdm.Forbidden},
		{name: "from the future", header: good, after: -5*time.Minute - time.Second, code: mdm.Forbidden},
		{name: "another time", header: "t=1700000001," + oldSignature, code: mdm.Forbidden},
		{name: "another form of the time", header: "t=+1700000000," + oldSignature, code: mdm.Forbidden},
		{name: "another body", header: good, body: signedBody + " ", code: mdm.Forbidden},
		{name: "another secret", header: good, secrets: secrets[1:], code: mdm.Forbidden},
		{name: "no secret", header: good, secrets: []mdm.Secret{}, code: mdm.Forbidden},
		{name: "an empty secret", header: Sign([]byte(signedBody), signedAt, mdm.Secret{}), secrets: []mdm.Secret{{}}, code: mdm.Forbidden},
		{name: "empty", header: "", code: mdm.Malformed},
		{name: "no time", header: oldSignature, code: mdm.Malformed},
		{name: "two times", header: "t=1," + good, code: mdm.Malformed},
		{name: "a negative time", header: "t=-1," + oldSignature, code: mdm.Malformed},
		{name: "a time that is too large", header: "t=99999999999999999999," + oldSignature, code: mdm.Malformed},
		{name: "no signature", header: "t=1700000000", code: mdm.Malformed},
		{name: "a short signature", header: "t=1700000000,v1=00", code: mdm.Malformed},
		{name: "no hex", header: "t=1700000000,v1=" + strings.Repeat("x", 64), code: mdm.Malformed},
		{name: "too many", header: good + strings.Repeat(","+newSignature, maxSignatures), code: mdm.Malformed},
		{name: "too long", header: good + strings.Repeat(" ", maxHeader), code: mdm.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.body == "" {
				c.body = signedBody
			}
			if c.secrets == nil {
				c.secrets = secrets[:1]
			}
			err := Verify(c.header, []byte(c.body), c.secrets, signedAt.Add(c.after), 0)
			if c.code == mdm.Internal {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, c.code, mdm.CodeOf(err))
		})
	}
	require.NoError(t, Verify(good, []byte(signedBody), secrets, signedAt.Add(time.Hour), time.Hour))
	require.Error(t, Verify(good, []byte(signedBody), secrets, signedAt.Add(2*time.Second), time.Second))
}

// FuzzVerify looks for headers that are taken although no secret signed, and for panics.
func FuzzVerify(f *testing.F) {
	f.Add("t=1700000000,"+oldSignature, []byte(signedBody))
	f.Add("t=1700000000,v1=,v1", []byte{})
	f.Add(",,=,t==", []byte("."))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		for now := range 2 {
			if err := Verify(header, body, secrets, signedAt.Add(time.Duration(now)*time.Hour), 0); err == nil {
				require.True(t, strings.Contains(strings.ToLower(header), oldSignature[3:]) || strings.Contains(strings.ToLower(header), newSignature[3:]))
				require.Equal(t, signedBody, string(body))
				require.Zero(t, now)
			}
		}
	})
}
