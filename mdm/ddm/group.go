package ddm

import (
	"context"
	"encoding/json"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Group is declarations of an enrollment that belong together, by a name: those of one practice, or of one feature of yours. What
// an enrollment has is the sum of its groups.
type Group struct {
	Name string // 1 to 128 printable ASCII characters
	// Generation, if not 0, is that of the enrollment for which the group is meant: what was decided for a device before it
	// was wiped is refused.
	Generation   mdm.Generation
	Declarations []Declaration
}

// MaxGroups is how many groups an enrollment has at most.
const MaxGroups = 100

const maxGroupName = 128

// Store keeps groups of declarations. They end with the generation of their enrollment, and those of user channels with that of
// their device. It is safe for concurrent use. storage.Stores has one.
type Store interface {
	// PutDeclarations stores a group in place of the one of that name, in one step. The error is a NotFound one if the enrollment
	// is not known, a Forbidden one if it is not Enrolled or has another generation, a Malformed one if the group cannot be kept.
	PutDeclarations(ctx context.Context, id mdm.EnrollmentID, g Group) error
	// DeleteDeclarations deletes a group. One that is not there is deleted, and so are those of a generation that is over: g, if not 0,
	// is the generation of the enrollment whose group is meant.
	DeleteDeclarations(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, name string) error
	// DeclarationGroups returns the groups of an enrollment in the order of their names, with the generation of the enrollment;
	// none, and no error, of one that is not known.
	DeclarationGroups(ctx context.Context, id mdm.EnrollmentID) ([]Group, error)
}

// Encode returns the declarations of a group as stores keep them. They may hold secrets, so a store seals them. The error is a
// Malformed one: the name cannot be used, or the declarations are too many or too large, or have no payload.
func (g Group) Encode() ([]byte, error) {
	const op = "ddm.Group"
	if !IsGroupName(g.Name) {
		return nil, mdm.Errorf(mdm.Malformed, op, "the name of the group is not 1 to %d printable ASCII characters", maxGroupName)
	}
	if len(g.Declarations) > MaxDeclarations {
		return nil, &SetError{[]Problem{{Rule: RuleTooMany}}}
	}
	list := make([]json.RawMessage, len(g.Declarations))
	size := 0
	for i, d := range g.Declarations {
		data, err := d.MarshalJSON()
		if err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "%w", err)
		}
		if size += len(data); size > MaxSet {
			return nil, &SetError{[]Problem{{Rule: RuleTooLarge}}}
		}
		list[i] = data
	}
	return json.Marshal(list)
}

// Refused says why a group is not stored for an enrollment, nil if it may be. Stores call it in their transaction; e is nil for an
// enrollment that is not known, and others is how many groups of other names there are.
func (g Group) Refused(e *mdm.Enrollment, others int) error {
	const op = "ddm.PutDeclarations"
	switch {
	case e == nil:
		return mdm.Errorf(mdm.NotFound, op, "the enrollment is not known")
	case e.State != mdm.Enrolled:
		return mdm.Errorf(mdm.Forbidden, op, "the enrollment is %s", e.State)
	case g.Generation != 0 && g.Generation != e.Generation:
		return mdm.Errorf(mdm.Forbidden, op, "the group is for generation %d, and this is %d", g.Generation, e.Generation)
	case others >= MaxGroups:
		return mdm.Errorf(mdm.Malformed, op, "there are %d groups already", others)
	}
	return nil
}

// DecodeGroup reads what Encode wrote.
func DecodeGroup(name string, generation mdm.Generation, data []byte) (Group, error) {
	g := Group{Name: name, Generation: generation}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return Group{}, mdm.Errorf(mdm.Internal, "ddm.DecodeGroup", "a stored group cannot be read: %w", err)
	}
	for _, one := range list {
		d, err := decodeStored(one)
		if err != nil {
			return Group{}, mdm.Errorf(mdm.Internal, "ddm.DecodeGroup", "a stored declaration cannot be read: %w", err)
		}
		g.Declarations = append(g.Declarations, d)
	}
	return g, nil
}

// decodeStored reads a declaration whatever it holds: what the types of this version do not fit stays as it was.
func decodeStored(data []byte) (Declaration, error) {
	if d, err := ParseDeclaration(data); err == nil {
		return *d, nil
	}
	var doc document
	if _, err := schema.DecodePlainJSON(data, &doc); err != nil {
		return Declaration{}, err
	}
	return Declaration{Identifier: doc.Identifier, ServerToken: doc.ServerToken, Payload: &Raw{Type: doc.Type, Values: doc.Payload}, Extra: doc.Extra}, nil
}

// IsGroupName reports whether a group can have that name.
func IsGroupName(name string) bool {
	if name == "" || len(name) > maxGroupName {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return true
}
