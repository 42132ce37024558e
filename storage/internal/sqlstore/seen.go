package sqlstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm"
)

// seen collects when channels were last seen, to be written together and off the path of their requests.
type seen struct {
	mu sync.Mutex
	at map[mdm.EnrollmentID]time.Time
}

func (s *seen) note(id mdm.EnrollmentID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[mdm.EnrollmentID]time.Time{}
	}
	if at.After(s.at[id]) {
		s.at[id] = at
	}
}

// heard notes an accepted request of a channel. That of a user is a sign of life of his device, too.
func (s *seen) heard(id mdm.EnrollmentID, at time.Time) {
	s.note(id, at)
	if id.IsUser() {
		s.note(id.DeviceID(), at)
	}
}

// apply puts what is not written yet into e.
func (s *seen) apply(e *mdm.Enrollment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.at[e.ID]; at.After(e.LastSeenAt) {
		e.LastSeenAt = at
	}
}

func (s *seen) take() map[mdm.EnrollmentID]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.at
	s.at = nil
	return all
}

func (db *DB) flushSeen() {
	ticker := time.NewTicker(db.cfg.SeenInterval)
	defer ticker.Stop()
	for {
		select {
		case <-db.stop:
			return
		case <-ticker.C:
			_ = db.writeSeen(context.Background()) // what fails is kept for the next time
		}
	}
}

var opSeen = newOp("tenant$ device$ usr$ at", `UPDATE mdm_enrollments SET last_seen_at = :at {from} WHERE mdm_enrollments.tenant = :tenant
	AND mdm_enrollments.device = :device AND mdm_enrollments.usr = :usr AND mdm_enrollments.last_seen_at < :at`)

// writeSeen writes what was collected, in batches, so that no device waits long behind it.
func (db *DB) writeSeen(ctx context.Context) error {
	all := db.seen.take()
	var ids []mdm.EnrollmentID
	for id := range all {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	for len(ids) > 0 {
		batch := ids[:min(len(ids), pageSize)]
		err := db.update(ctx, func(t *tx) error {
			v := &turn{}
			for _, id := range batch {
				t.write(v, opSeen, id.Tenant, id.Device, id.User, micros(all[id]))
			}
			return nil
		})
		if err != nil {
			for _, id := range ids {
				db.seen.note(id, all[id])
			}
			return err
		}
		ids = ids[len(batch):]
	}
	return nil
}
