package migrate

import (
	"database/sql"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

// FuzzProto decodes anything as every message: without a panic, and without more in the result than there was.
func FuzzProto(f *testing.F) {
	var b []byte
	for num := protowire.Number(1); num < 32; num++ {
		b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), "text")
		b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), 1)
	}
	f.Add(b)
	f.Add(protowire.AppendFixed64(protowire.AppendTag(nil, 13, protowire.Fixed64Type), 1))
	f.Add(protowire.AppendTag(nil, 1, protowire.StartGroupType))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _ := decodeDevice(b)
		p, _ := decodePush(b)
		u, _ := decodeUser(b)
		c, _ := decodeConfig(b)
		for _, s := range []string{d.udid + d.token + d.name, p.token + p.magic + p.topic, u.udid + u.id, string(d.bootstrapToken), string(c.cert)} {
			assert.LessOrEqual(t, len(s), len(b))
		}
		queue, _ := decodeQueue(b)
		total := len(queue)
		for _, c := range queue {
			total += len(c.UUID) + len(c.Body)
		}
		assert.LessOrEqual(t, total, len(b))
	})
}

// FuzzRecord reads rows of NanoMDM with anything in them. What is usable has an id that a device can have; what is told of
// the rest has no secret in it.
func FuzzRecord(f *testing.F) {
	first, err := checkin.Encode(&checkin.Authenticate{Common: checkin.Common{Identifiers: mdm.Identifiers{UDID: "A"}}, Topic: "t"})
	require.NoError(f, err)
	update, err := checkin.Encode(&checkin.TokenUpdate{Common: checkin.Common{Identifiers: mdm.Identifiers{UDID: "A"}}, Topic: "t", Token: []byte{1}, PushMagic: "m"})
	require.NoError(f, err)
	f.Add(first, update, []byte("dG9rZW4="), "00ff", strings.Repeat("0a", 32), true)
	f.Add(update, first, []byte("*"), "zz", "0a", false)
	f.Fuzz(func(t *testing.T, authenticate, update, bootstrap []byte, token, hash string, enabled bool) {
		p := nanoPush{enabled: sql.NullBool{Bool: enabled, Valid: true}, topic: sql.NullString{String: "t"}, magic: sql.NullString{String: "m"},
			token: sql.NullString{String: token}}
		d := nanoDevice{id: "A", authenticate: authenticate, tokenUpdate: update, bootstrapToken: bootstrap, unlockToken: bootstrap, push: p,
			associations: []association{{sha256: hash}}}
		u := nanoUser{id: "A:B", device: "A", tokenUpdate: update, push: p}
		for _, r := range []Record{d.record(), u.record()} {
			if r.Err == nil && r.NotEnrolled == "" && r.prepare("") == nil {
				_, err := mdm.ParseEnrollmentID(r.Enrollment.ID.String())
				assert.NoError(t, err)
			}
			for _, err := range append(r.Problems, r.Err) {
				if err != nil && len(token) > 20 {
					assert.NotContains(t, err.Error(), token)
				}
			}
		}
	})
}

func TestFromHexTellsNothing(t *testing.T) {
	for _, s := range []string{"zz", "0", strings.Repeat("0", 1<<20)} {
		_, err := fromHex(s)
		assert.Equal(t, errHex, err)
	}
	b, err := fromHex(hex.EncodeToString([]byte("token")))
	require.NoError(t, err)
	assert.Equal(t, "token", string(b))
}
