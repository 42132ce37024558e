// Package ddm has the vocabulary of declarative management: declarations, the status that devices report, and the documents
// by which both are kept in step.
//
// A [Declaration] is a [Payload] with an identifier and a server token. The payloads are the types of Apple's schema, one
// for each type of declaration, and [Raw] for others; [ParseDeclaration] and Declaration's MarshalJSON turn them from and
// into the JSON that devices read. [Validate] checks a payload against the schema and a target before a device sees it.
//
// A field that is a pointer, a slice or a map is optional and absent if nil; other fields are required. Keys that a type
// does not have, of a system that is newer than it, go into its field Extra and come out again.
package ddm
