package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

// PutDeclarations implements [ddm.Store].
func (db *DB) PutDeclarations(ctx context.Context, id mdm.EnrollmentID, g ddm.Group) error {
	body, err := g.Encode()
	if err != nil {
		return err
	}
	return db.tx(ctx, func() error {
		groups := db.declarations[id]
		others := len(groups)
		if groups[g.Name] != nil {
			others--
		}
		if err := g.Refused(db.row(id), others); err != nil {
			return err
		}
		if groups == nil {
			groups = map[string][]byte{}
			db.declarations[id] = groups
		}
		groups[g.Name] = body
		return nil
	})
}

// DeleteDeclarations implements [ddm.Store].
func (db *DB) DeleteDeclarations(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, name string) error {
	return db.tx(ctx, func() error {
		if e := db.row(id); g != 0 && e != nil && e.Generation != g {
			return nil
		}
		delete(db.declarations[id], name)
		if len(db.declarations[id]) == 0 {
			delete(db.declarations, id)
		}
		return nil
	})
}

// DeclarationGroups implements [ddm.Store].
func (db *DB) DeclarationGroups(ctx context.Context, id mdm.EnrollmentID) (out []ddm.Group, err error) {
	err = db.tx(ctx, func() error {
		for name, body := range db.declarations[id] {
			g, err := ddm.DecodeGroup(name, db.rows[id].Generation, body)
			if err != nil {
				return err
			}
			out = append(out, g)
		}
		return nil
	})
	slices.SortFunc(out, func(a, b ddm.Group) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}

// forgetDeclarations deletes what a device and its users were to have.
func (db *DB) forgetDeclarations(device mdm.EnrollmentID) {
	delete(db.declarations, device)
	for _, id := range db.users[device] {
		delete(db.declarations, id)
	}
}
