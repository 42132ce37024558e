package migrate

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// The buckets of MicroMDM that are read, and what their keys and values are.
const (
	bucketDevices  = "mdm.Devices"        // uuid: Device
	bucketIndex    = "mdm.DeviceIdx"      // UDID, serial number: uuid
	bucketCert     = "mdm.UDIDCertAuth"   // UDID: SHA-256 of the certificate, 32 bytes
	bucketQueue    = "mdm.DeviceCommands" // UDID, UserID or EnrollmentID: DeviceCommand
	bucketPush     = "mdm.PushInfo"       // UDID, UserID or EnrollmentID: PushInfo
	bucketUsers    = "mdm.Users"          // uuid: User
	bucketUserIdx  = "mdm.UserIdx"        // UDID, UserID: uuid
	bucketBlocked  = "mdm.RemoveDevice"   // UDID: an operator blocked it
	bucketSettings = "mdm.ServerConfig"   // "config": ServerConfig
)

// MicroMDM is a [Source] on the bolt file of github.com/micromdm/micromdm, as release 1.13.1 has it. Get it from
// [OpenMicroMDM].
//
// Three kinds of channels are in there. Devices that are enrolled, with their certificate; one that is not enrolled may have
// checked out, be in the middle of its enrollment, or be known from Apple Business Manager only, which cannot be told apart:
// it is NotEnrolled, and so is one that is blocked. Users of Macs. Then what only push tokens tell of: User Enrollments, of
// which MicroMDM keeps no more, and devices that were deleted from its list and are served nonetheless. They are imported by
// their token; a User Enrollment has no certificate on record (see the package comment). Users of Shared iPads share one key
// there, so their queues cannot be told apart; they are left out and enroll themselves at their next login.
//
// MicroMDM keeps no times, so the imported rows have none.
type MicroMDM struct {
	db *bbolt.DB
}

// lockTime is how long OpenMicroMDM waits for another process that has the file.
const lockTime = 3 * time.Second

// OpenMicroMDM opens the file for reading, usually /var/db/micromdm/micromdm.db. A MicroMDM that runs keeps it locked: stop it,
// or take a copy that its endpoint /boltbackup gives. A file without its buckets is a Malformed error.
func OpenMicroMDM(path string) (m *MicroMDM, err error) {
	defer recovered(&err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTime})
	if err != nil {
		return nil, fmt.Errorf("migrate: open %s: %w", path, err)
	}
	m = &MicroMDM{db: db}
	err = m.view(func(f file) error {
		if f.tx.Bucket([]byte(bucketDevices)) == nil || f.tx.Bucket([]byte(bucketPush)) == nil {
			return mdm.Errorf(mdm.Malformed, "migrate.OpenMicroMDM", "%s is not a database of MicroMDM", path)
		}
		return nil
	})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return m, nil
}

// Close closes the file.
func (m *MicroMDM) Close() error { return m.db.Close() }

// Records implements [Source].
func (m *MicroMDM) Records(ctx context.Context, after string) iter.Seq2[Record, error] {
	return walk(ctx, []phase{
		{"device", m.page(bucketDevices, file.device)},
		{"push", m.page(bucketPush, file.push)},
		{"user", m.page(bucketUsers, file.user)},
	}, after)
}

// PushCertificates implements [Source]. MicroMDM has one.
func (m *MicroMDM) PushCertificates(context.Context) iter.Seq2[push.Certificate, error] {
	return func(yield func(push.Certificate, error) bool) {
		var c protoConfig
		err := m.view(func(f file) (err error) {
			c, err = decodeConfig(f.get(bucketSettings, "config"))
			return err
		})
		switch {
		case err != nil:
			yield(push.Certificate{}, mdm.Errorf(mdm.Malformed, "migrate.PushCertificates", "%w", err))
		case len(c.cert) > 0:
			yield(loadPushCertificate(c.cert, c.key))
		}
	}
}

var _ Source = (*MicroMDM)(nil)

// file is a read transaction. What it hands out is gone with the transaction.
type file struct {
	tx *bbolt.Tx
	m  *MicroMDM
}

// get returns a value, nil if there is none.
func (f file) get(bucket, key string) []byte {
	b := f.tx.Bucket([]byte(bucket))
	if b == nil || key == "" {
		return nil
	}
	return b.Get([]byte(key))
}

// view runs f in a read transaction. A damaged file is an error: bbolt panics over it, or reads past its end.
func (m *MicroMDM) view(f func(file) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recovered(&err)
	return m.db.View(func(tx *bbolt.Tx) error { return f(file{tx: tx, m: m}) })
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = mdm.Errorf(mdm.Malformed, "migrate.MicroMDM", "the file is damaged: %v", p)
	}
}

// page returns a function that reads a bucket by pages. A key that read knows nothing about is passed over.
func (m *MicroMDM) page(bucket string, read func(f file, key string, value []byte) (Record, bool)) page {
	return func(ctx context.Context, after string, n int) (records []Record, last string, err error) {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		err = m.view(func(f file) error {
			b := f.tx.Bucket([]byte(bucket))
			if b == nil {
				return nil
			}
			c := b.Cursor()
			k, v := c.Seek([]byte(after))
			if k != nil && after != "" && string(k) == after {
				k, v = c.Next()
			}
			for ; k != nil && n > 0; k, v = c.Next() {
				last, n = string(k), n-1
				if v == nil { // a bucket within the bucket
					continue
				}
				if r, ok := read(f, last, v); ok {
					r.Position = last
					records = append(records, r)
				}
			}
			return nil
		})
		return records, last, err
	}
}

// queue yields what waits for a key.
func (m *MicroMDM) queue(key string) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		var commands []Command
		err := m.view(func(f file) (err error) {
			commands, err = decodeQueue(f.get(bucketQueue, key))
			return err
		})
		if err != nil {
			yield(Command{}, fmt.Errorf("queue: %w", err))
			return
		}
		for _, c := range commands {
			if !yield(c, nil) {
				return
			}
		}
	}
}
