package sqlstore

import (
	"context"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

const (
	lockDevice   = "SELECT id FROM mdm_enrollments WHERE tenant = ? AND device = ? AND usr = '' {lock}"
	selectGroups = `SELECT d.name, e.generation, d.sealed FROM mdm_enrollments e JOIN mdm_declarations d ON d.enrollment = e.id
		WHERE e.tenant = ? AND e.device = ? AND e.usr = ? ORDER BY d.name`
	otherGroups = "SELECT COUNT(*) FROM mdm_declarations WHERE enrollment = ? AND name <> ?"
	upsertGroup = "INSERT INTO mdm_declarations (enrollment, name, sealed) VALUES (?, ?, ?) {upsert enrollment, name: sealed = {new sealed}}"
	deleteGroup = "DELETE FROM mdm_declarations WHERE enrollment = (SELECT id FROM mdm_enrollments WHERE tenant = ? AND device = ? AND usr = ?) AND name = ?"
	// deleteGroupOf deletes that of one generation.
	deleteGroupOf = "DELETE FROM mdm_declarations WHERE enrollment = (SELECT id FROM mdm_enrollments WHERE tenant = ? AND device = ? AND usr = ? AND generation = ?) AND name = ?"
	forgetGroups  = "DELETE FROM mdm_declarations WHERE enrollment = ?"
)

// PutDeclarations implements ddm.Store. The device is locked, so that its generation does not end meanwhile.
func (db *DB) PutDeclarations(ctx context.Context, id mdm.EnrollmentID, g ddm.Group) error {
	body, err := g.Encode()
	if err != nil {
		return err
	}
	sealed, err := db.cfg.Sealer.Seal(body, groupName(id, g.Name))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		var locked, others int64
		if _, err := one(ctx, t, lockDevice, []any{id.Tenant, id.Device}, &locked); err != nil {
			return err
		}
		own, err := rowOf(ctx, t, id)
		if err != nil {
			return err
		}
		if own == nil {
			return g.Refused(nil, 0)
		}
		if _, err := one(ctx, t, otherGroups, []any{own.id, g.Name}, &others); err != nil {
			return err
		}
		if err := g.Refused(&own.Enrollment, int(others)); err != nil {
			return err
		}
		t.exec(&turn{}, upsertGroup, own.id, g.Name, sealed)
		return nil
	})
}

// DeleteDeclarations implements ddm.Store.
func (db *DB) DeleteDeclarations(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, name string) error {
	if !ddm.IsGroupName(name) { // not every database takes it as text
		return ctx.Err()
	}
	return db.update(ctx, func(t *tx) error {
		if g == 0 {
			t.exec(&turn{}, deleteGroup, id.Tenant, id.Device, id.User, name)
		} else {
			t.exec(&turn{}, deleteGroupOf, id.Tenant, id.Device, id.User, int64(g), name)
		}
		return nil
	})
}

// DeclarationGroups implements ddm.Store.
func (db *DB) DeclarationGroups(ctx context.Context, id mdm.EnrollmentID) (out []ddm.Group, err error) {
	type stored struct {
		name       string
		generation int64
		sealed     []byte
	}
	var found []stored
	err = snapshot{db}.query(ctx, selectGroups, []any{id.Tenant, id.Device, id.User}, func(scan func(...any) error) error {
		var s stored
		err := scan(&s.name, &s.generation, &s.sealed)
		found = append(found, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		body, err := db.cfg.Sealer.Open(s.sealed, groupName(id, s.name))
		if err != nil {
			return nil, err
		}
		g, err := ddm.DecodeGroup(s.name, mdm.Generation(s.generation), body)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func groupName(id mdm.EnrollmentID, name string) []byte {
	return []byte("declarations/" + name + "/" + id.String())
}
