// Package ddm has declarative management: its vocabulary (declarations, the status that devices report, and the documents by which
// both are kept in step), and what delivers it.
//
// A [Declaration] is a [Payload] with an identifier and a server token. The payloads are the types of Apple's schema, one
// for each type of declaration, and [Raw] for others; [ParseDeclaration] and Declaration's MarshalJSON turn them from and
// into the JSON that devices read. [Validate] checks a payload against the schema and a target before a device sees it.
//
// A [Responder] answers devices: it asks a [Backend] which declarations an enrollment is to have, and passes on what it reports. It
// keeps nothing, and what an outage is it never answers as "not there". [Groups] is a Backend on a store, for several parts of a
// server that declare something each: what an enrollment has is the sum of its groups. [Check] looks whether declarations go
// together, and [SyncOrder] tells devices of a change.
//
//	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command}
//	config.Checkin.Declarative = &ddm.Responder{Backend: groups}
//	err = groups.Declare(ctx, id, ddm.Group{Name: "passcode", Declarations: list})
//
// A field that is a pointer, a slice or a map is optional and absent if nil; other fields are required. Keys that a type
// does not have, of a system that is newer than it, go into its field Extra and come out again.
package ddm
