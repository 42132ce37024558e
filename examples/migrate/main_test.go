package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage/sqlite"
)

const topic = "com.apple.mgmt.External.example"

// texts encodes a protobuf message of strings by field number.
func texts(fields map[protowire.Number]string) (b []byte) {
	for num, v := range fields {
		b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	return b
}

// fixture makes a file of MicroMDM with devices, one of which is damaged if broken is set.
func fixture(t *testing.T, devices int, broken bool) string {
	path := filepath.Join(t.TempDir(), "micromdm.db")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"mdm.Devices", "mdm.DeviceIdx", "mdm.PushInfo", "mdm.UDIDCertAuth"} {
			_, err := tx.CreateBucket([]byte(name))
			require.NoError(t, err)
		}
		put := func(bucket, key string, value []byte) {
			require.NoError(t, tx.Bucket([]byte(bucket)).Put([]byte(key), value))
		}
		for i := range devices {
			udid := fmt.Sprintf("UDID%03d", i)
			device := texts(map[protowire.Number]string{1: "uuid" + udid, 2: udid, 3: "SN" + udid, 30: "a secret token"})
			put("mdm.Devices", "uuid"+udid, protowire.AppendVarint(protowire.AppendTag(device, 13, protowire.VarintType), 1))
			put("mdm.DeviceIdx", udid, []byte("uuid"+udid))
			put("mdm.PushInfo", udid, texts(map[protowire.Number]string{2: hex.EncodeToString([]byte(udid)), 3: "magic", 4: topic}))
			put("mdm.UDIDCertAuth", udid, fmt.Appendf(nil, "%032d", i+1))
		}
		if broken {
			put("mdm.Devices", "x", []byte{0xff})
		}
		return nil
	}))
	require.NoError(t, db.Close())
	return path
}

// called runs the program and returns what it printed.
func called(t *testing.T, ctx context.Context, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(ctx, args, &out, &errs)
	assert.NotContains(t, out.String()+errs.String(), "a secret token")
	return out.String(), errs.String(), err
}

func roster(t *testing.T, path string) (ids []string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for e, err := range db.Stores().Roster.Enrollments(t.Context(), mdm.Filter{Tenant: "acme"}) {
		require.NoError(t, err)
		ids = append(ids, e.ID.Device)
	}
	return ids
}

func TestRun(t *testing.T) {
	target := filepath.Join(t.TempDir(), "mdm.db")
	args := []string{"-from", "micromdm:" + fixture(t, 40, false), "-to", "sqlite:" + target, "-tenant", "acme"}
	out, _, err := called(t, t.Context(), append(args, "-dry-run")...)
	require.NoError(t, err)
	assert.Contains(t, out, "would be imported")
	assert.Regexp(t, `devices +40\n`, out)
	assert.Empty(t, roster(t, target))

	out, progress, err := called(t, t.Context(), args...)
	require.NoError(t, err)
	assert.Regexp(t, `devices +40\n`, out)
	assert.Regexp(t, `unchanged channels +0\n`, out)
	assert.Contains(t, progress, "channels/s")
	assert.Len(t, roster(t, target), 40)

	out, _, err = called(t, t.Context(), args...)
	require.NoError(t, err)
	assert.Regexp(t, `unchanged channels +40\n`, out)
}

func TestSkipped(t *testing.T) {
	args := []string{"-from", "micromdm:" + fixture(t, 2, true), "-to", "sqlite:" + filepath.Join(t.TempDir(), "mdm.db"),
		"-key-file", filepath.Join(t.TempDir(), "key")}
	out, errs, err := called(t, t.Context(), args...)
	require.ErrorIs(t, err, errSkipped)
	assert.Regexp(t, `devices +2\n`, out)
	assert.Contains(t, errs, "skipped device:x: ")
	assert.Contains(t, errs, "made a new key")
	_, errs, err = called(t, t.Context(), append(args, "-allow-skipped")...)
	require.NoError(t, err)
	assert.NotContains(t, errs, "made a new key")
}

// cancelOnWrite interrupts the program at its first line of progress.
type cancelOnWrite struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (w *cancelOnWrite) Write(b []byte) (int, error) {
	w.cancel()
	return w.Buffer.Write(b)
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := filepath.Join(t.TempDir(), "mdm.db")
	args := []string{"-from", "micromdm:" + fixture(t, 30, false), "-to", "sqlite:" + target, "-tenant", "acme", "-workers", "10"}
	stderr := &cancelOnWrite{cancel: cancel}
	err := run(ctx, args, &bytes.Buffer{}, stderr)
	require.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, stderr.String(), `-after "device:uuidUDID009"`)
	assert.Len(t, roster(t, target), 10)

	out, _, err := called(t, t.Context(), append(args, "-after", "device:uuidUDID009")...)
	require.NoError(t, err)
	assert.Regexp(t, `devices +20\n`, out)
	assert.Len(t, roster(t, target), 30)
}

func TestFlags(t *testing.T) {
	file := fixture(t, 1, false)
	for _, args := range [][]string{
		{}, {"-unknown"}, {"-from", "micromdm:" + file}, {"-from", "x:y", "-to", "sqlite:" + filepath.Join(t.TempDir(), "a.db")},
		{"-from", "micromdm:" + file, "-to", "x:y"}, {"-from", "micromdm:" + file, "-to", "postgres:x"},
		{"-from", "micromdm:" + file + ".not", "-to", "sqlite:" + filepath.Join(t.TempDir(), "a.db")},
	} {
		_, _, err := called(t, t.Context(), args...)
		assert.Error(t, err, "%q", args)
	}
}
