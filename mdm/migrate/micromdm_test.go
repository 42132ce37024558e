package migrate_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/migrate"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// message is a protobuf message by field number: a string, []byte, bool, or several messages.
type message map[protowire.Number]any

func (m message) encode() (b []byte) {
	for num := protowire.Number(1); num < 40; num++ {
		switch v := m[num].(type) {
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		case bool:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), protowire.EncodeBool(v))
		case []message:
			for _, e := range v {
				b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), e.encode())
			}
		}
	}
	return b
}

// bolt makes a file of MicroMDM.
type bolt map[string]map[string][]byte

func (b bolt) put(bucket, key string, value []byte) {
	if b[bucket] == nil {
		b[bucket] = map[string][]byte{}
	}
	b[bucket][key] = value
}

// device adds an enrolled device as MicroMDM would, changed by what is in other.
func (b bolt) device(udid string, other message) {
	m := message{1: "uuid-" + udid, 2: udid, 3: "SN" + udid, 4: "17.4", 6: "iPhone15,2", 9: hex.EncodeToString([]byte("token of " + udid)),
		10: "magic of " + udid, 12: hex.EncodeToString([]byte("unlock " + udid)), 13: true, 15: "Name of " + udid, 30: []byte("bootstrap " + udid)}
	for num, v := range other {
		m[num] = v
	}
	b.put("mdm.Devices", "uuid-"+udid, m.encode())
	b.put("mdm.DeviceIdx", udid, []byte("uuid-"+udid))
	b.pushInfo(udid)
	fp := fingerprint(udid)
	b.put("mdm.UDIDCertAuth", udid, fp[:])
}

func (b bolt) pushInfo(key string) {
	b.put("mdm.PushInfo", key, message{1: key, 2: hex.EncodeToString([]byte("token of " + key)), 3: "magic of " + key, 4: topic}.encode())
}

func (b bolt) user(udid, id string) {
	b.put("mdm.Users", "uuid-"+id, message{1: "uuid-" + id, 2: udid, 3: id, 4: "short", 5: "Long Name"}.encode())
	b.put("mdm.UserIdx", id, []byte("uuid-"+id))
	b.put("mdm.UserIdx", udid, []byte("uuid-"+id))
	b.pushInfo(id)
}

func pendingCommands(uuids ...string) (out []message) {
	for _, uuid := range uuids {
		out = append(out, message{1: uuid, 2: commandBody("ProfileList", uuid)})
	}
	return out
}

func (b bolt) write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "micromdm.db")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		for bucket, values := range b {
			in, err := tx.CreateBucketIfNotExists([]byte(bucket))
			require.NoError(t, err)
			for k, v := range values {
				require.NoError(t, in.Put([]byte(k), v))
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	return path
}

func openMicroMDM(t testing.TB, path string) *migrate.MicroMDM {
	t.Helper()
	m, err := migrate.OpenMicroMDM(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, m.Close()) })
	return m
}

func micro(t testing.TB) bolt {
	t.Helper()
	b := bolt{}
	b.device("A", nil)
	b.put("mdm.DeviceCommands", "A", message{1: "A", 2: pendingCommands("second", "third"), 3: pendingCommands("done"), 4: pendingCommands("failed"),
		5: pendingCommands("deferred")}.encode())
	b.user("A", "anna")
	b.put("mdm.DeviceCommands", "anna", message{1: "anna", 2: pendingCommands("for anna")}.encode())
	cert, err := mdmtest.NewPushCertificate(topic)
	require.NoError(t, err)
	certPEM, keyPEM, err := cert.PEM()
	require.NoError(t, err)
	b.put("mdm.ServerConfig", "config", message{1: certPEM, 2: keyPEM.Reveal()}.encode())
	return b
}

func TestMicroMDM(t *testing.T) {
	path := micro(t).write(t)
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		src := openMicroMDM(t, path)
		dry := migrated(t, src, stores, migrate.Options{DryRun: true})
		report := migrated(t, src, stores, migrate.Options{})
		assert.Equal(t, migrate.Report{Enrollments: 1, Users: 1, Certificates: 1, UnlockTokens: 1, BootstrapTokens: 1, Commands: 4,
			PushCertificates: 1, Position: "user:uuid-anna"}, report)
		dry.DryRun = false
		assert.Equal(t, report, dry)
		assert.Equal(t, 2, migrated(t, src, stores, migrate.Options{}).Unchanged)

		a := mdm.EnrollmentID{Device: "A"}
		row := enrollment(t, stores, a)
		assert.Equal(t, mdm.Device{Name: "Name of A", SerialNumber: "SNA", OSVersion: "17.4", ProductName: "iPhone15,2"}, row.Device)
		assert.Equal(t, []string{"token of A", "magic of A", topic}, []string{string(row.PushToken), row.PushMagic, row.Topic})
		unlock, bootstrap := secrets(t, stores, a)
		assert.Equal(t, []string{"unlock A", "bootstrap A"}, []string{unlock, bootstrap})
		assert.Equal(t, []string{"second", "third", "deferred"}, client{t: t, stores: stores, id: a, cert: "A"}.run())
		anna := mdm.EnrollmentID{Device: "A", User: "anna"}
		assert.Equal(t, []string{"for anna"}, client{t: t, stores: stores, id: anna, cert: "A"}.run())
		topics, err := stores.PushCertificates.PushTopics(t.Context())
		require.NoError(t, err)
		assert.Len(t, topics, 1)
	})
}

// What is odd in a file is counted; nothing of it stops the run, and no secret is told.
func TestMicroMDMOdd(t *testing.T) {
	b := micro(t)
	for i := range 250 { // several pages
		b.device(fmt.Sprintf("X%03d", i), nil)
	}
	b.put("mdm.Devices", "uuid-dep", message{1: "uuid-dep", 3: "SNDEP"}.encode())
	b.device("gone", message{13: false})
	b.user("gone", "bob")
	b.device("blocked", nil)
	b.put("mdm.RemoveDevice", "blocked", message{1: "blocked"}.encode())
	b.put("mdm.Devices", "uuid-former", message{1: "uuid-former", 2: "A", 13: true}.encode())
	b.put("mdm.UserIdx", "former user", []byte("uuid-deleted"))
	b.pushInfo("former user")
	b.device("damaged", nil)
	b.put("mdm.Devices", "uuid-damaged", []byte{0xff, 0xff})
	b.device("badhex", message{12: "not hex"})
	b.device("badtoken", nil)
	b.put("mdm.PushInfo", "badtoken", message{2: "zz", 3: "m", 4: topic}.encode())
	b.device("badqueue", nil)
	b.put("mdm.DeviceCommands", "badqueue", []byte{0xff})
	b.device("badcert", nil)
	b.put("mdm.UDIDCertAuth", "badcert", []byte("short"))
	b.user("A", mdm.SharedIPadUserID)
	b.put("mdm.Users", "account", message{1: "account", 4: "admin"}.encode())

	report := migrated(t, openMicroMDM(t, b.write(t)), memory.New().Stores(), migrate.Options{})
	assert.Equal(t, 1+250+3, report.Enrollments, "those with a bad part, too")
	assert.Equal(t, 1, report.Users)
	assert.Equal(t, 6, report.NotEnrolled, "dep, gone, blocked, former, bob, the former user")
	assert.Equal(t, 1, report.Unbound)
	var problems []string
	for _, p := range report.Problems {
		problems = append(problems, p.Record)
		assert.NotContains(t, p.Reason, "zz")
	}
	assert.ElementsMatch(t, []string{"device:uuid-damaged", "device:uuid-badhex", "device:uuid-badtoken", "device:uuid-badqueue",
		"device:uuid-badcert", "user:uuid-" + mdm.SharedIPadUserID}, problems)
}

// Of User Enrollments MicroMDM has the push token and the queue, of a device deleted from its list the certificate, too.
func TestMicroMDMPushOnly(t *testing.T) {
	b := micro(t)
	b.pushInfo("user-enrollment")
	b.put("mdm.DeviceCommands", "user-enrollment", message{2: pendingCommands("byod")}.encode())
	b.device("deleted", nil)
	delete(b["mdm.Devices"], "uuid-deleted")
	delete(b["mdm.DeviceIdx"], "deleted")
	b.user("deleted", "carl")
	path := b.write(t)
	bothStores(t, func(t *testing.T, stores storage.Stores) {
		report := migrated(t, openMicroMDM(t, path), stores, migrate.Options{})
		assert.Equal(t, []int{3, 2, 1, 0}, []int{report.Enrollments, report.Users, report.Unbound, report.Skipped})
		byod := mdm.EnrollmentID{Device: "user-enrollment"}
		assert.Equal(t, mdm.UserEnrollmentChannel, enrollment(t, stores, byod).Channel)
		assert.Equal(t, mdm.DeviceChannel, enrollment(t, stores, mdm.EnrollmentID{Device: "deleted"}).Channel)
		c := client{t: t, stores: stores, id: byod, cert: "byod", policy: identity.Policy{AdoptUntil: time.Now().Add(time.Hour)}}
		assert.Equal(t, []string{"byod"}, c.run())
	})
}

func TestMicroMDMPosition(t *testing.T) {
	b := bolt{}
	for i := range 220 {
		b.device(fmt.Sprintf("D%03d", i), nil)
	}
	b.user("D000", "anna")
	src := openMicroMDM(t, b.write(t))
	var all []string
	for r, err := range src.Records(t.Context(), "") {
		require.NoError(t, err)
		all = append(all, r.Position)
	}
	require.Len(t, all, 221)
	for _, at := range []int{0, 99, 100, 218, 219, 220} {
		var rest []string
		for r, err := range src.Records(t.Context(), all[at]) {
			require.NoError(t, err)
			rest = append(rest, r.Position)
		}
		assert.Equal(t, all[at+1:], append([]string{}, rest...), "after %s", all[at])
	}
	for _, err := range src.Records(t.Context(), "nowhere:1") {
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
}

func TestOpenMicroMDM(t *testing.T) {
	_, err := migrate.OpenMicroMDM(filepath.Join(t.TempDir(), "none.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = migrate.OpenMicroMDM(bolt{"other": {"k": {1}}}.write(t))
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))

	path := micro(t).write(t)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := 2 * os.Getpagesize(); i < len(data); i += 64 { // the pages after the two heads
		copy(data[i:], strings.Repeat("\xff", 40))
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	m, err := migrate.OpenMicroMDM(path)
	if err == nil {
		_, err = migrate.Run(t.Context(), m, memory.New().Stores(), migrate.Options{})
		require.NoError(t, m.Close())
	}
	require.Error(t, err, "a damaged file is no panic")
}
