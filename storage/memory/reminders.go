package memory

import (
	"context"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
)

// credential is what a reminder is about.
type credential struct {
	kind, tenant, name string
	notAfter           int64 // Unix seconds
}

// Remind implements [expiry.Store].
func (db *DB) Remind(ctx context.Context, e mdm.Event, stage expiry.Stage) (told bool, err error) {
	err = db.tx(ctx, func() error {
		c := credential{e.Subject, e.Enrollment.Tenant, e.Name, e.NotAfter.Unix()}
		if before, ok := db.reminders[c]; ok && before <= stage {
			return nil
		}
		told = true
		db.reminders[c] = stage
		db.record(e)
		return nil
	})
	return told, err
}

// sweepReminders deletes those that nobody asks for any more.
func (db *DB) sweepReminders(now time.Time) {
	for c := range db.reminders {
		if time.Unix(c.notAfter, 0).Before(now.Add(-expiry.KeepNotes)) {
			delete(db.reminders, c)
		}
	}
}
