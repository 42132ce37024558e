package sqlstore

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
)

// untold is the stage of a credential of which nothing was told.
const untold = 1 << 62

// Remind implements expiry.Store.
func (db *DB) Remind(ctx context.Context, e mdm.Event, stage expiry.Stage) (told bool, err error) {
	key := reminderKey(e)
	err = db.update(ctx, func(t *tx) error {
		told = false
		// The row is there before it is looked at, so that of several who tell at once one has it and the others wait.
		t.exec(&turn{}, "INSERT INTO mdm_reminders (credential, not_after, stage, told_at) VALUES (?, ?, ?, 0) {keep credential}",
			key, micros(e.NotAfter), int64(untold))
		var before int64
		if _, err := one(ctx, t, "SELECT stage FROM mdm_reminders WHERE credential = ? {lock}", []any{key}, &before); err != nil || before <= int64(stage) {
			return err
		}
		told = true
		v := &turn{}
		t.exec(v, "UPDATE mdm_reminders SET stage = ?, told_at = ? WHERE credential = ?", int64(stage), micros(e.At), key)
		return t.record(v, e)
	})
	return told && err == nil, err
}

// reminderKey is a hash of what tells a credential and its end from all others.
func reminderKey(e mdm.Event) []byte {
	parts := []string{e.Subject, e.Enrollment.Tenant, e.Name, strconv.FormatInt(e.NotAfter.Unix(), 10)}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum[:]
}

// sweepReminders deletes those that nobody asks for any more.
func (db *DB) sweepReminders(ctx context.Context, now time.Time) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.change(ctx, "DELETE FROM mdm_reminders WHERE not_after < ?", micros(now.Add(-expiry.KeepNotes)))
		return err
	})
}
