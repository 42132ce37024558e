// Package applemdm is an embeddable library for Apple Mobile Device Management: the whole of the MDM protocol and
// Apple's "MDM Best Practices" as code. It has no code of its own; this page is the map.
//
// # From a request to an answer
//
// Devices talk to an [http.Handler] that package mdm/server makes of the parts:
//
//	body, within limits → Extractor: which certificate → scan of the property list → Validator: is it ours
//	  → checkin.Service or command.Service → one call of a store, one transaction → reply
//
// Whoever queues a command leaves a push in the same transaction; whatever happens leaves an event in it. [Server.Run]
// sends the pushes, looks which devices are still there, tells of credentials that end, delivers the events, finishes orders
// for many whose process is gone, and deletes what is over.
//
// # The packages, from the ground up
//
// A package imports only packages of the floors below its own.
//
//   - mdm: the vocabulary. Enrollment ids, generations, access rights, error codes, secrets, events.
//   - mdm/schema: what Apple's schema says, as tables; checks and codecs for all generated types.
//   - mdm/identity: who is calling. Extractors, validators, and the rules that bind certificates to devices.
//   - mdm/event, mdm/event/webhook, mdm/audit: delivers events, at least once and in order, also to a URL; who did what and why.
//   - mdm/scep: issues client identities, by SCEP or as PKCS#12.
//   - mdm/setup, mdm/ddm: panes of Setup Assistant; declarations, which it delivers, and status.
//   - mdm/dep: Apple Business Manager and Apple School Manager. The client of their web service, a sync that loses nothing, and
//     devices that are brought to their profile.
//   - mdm/enroll: the ways in. Recipes of enrollment profiles, downloads, /MDMServiceConfig, certificate chains and what of
//     them ends when; mdm/enroll/ota enrolls over the air, mdm/enroll/ade in Setup Assistant.
//   - profile: builds, checks, signs, encrypts, compares, splits and reads profiles, with every payload of the schema; the
//     initial profile above all. profile/lint holds them against Apple's rules and practices.
//   - push, push/apns, push/vendor: wakes devices; the provider that talks to Apple; signs requests for push certificates.
//   - mdm/presence, mdm/expiry: which devices are still there; what ends, and who must do what about it.
//   - checkin: the check-in half of the protocol. What a message means is decided here.
//   - command: the command half. Queues, results, every command of the schema with its answer, raw ones, and recipes that
//     are made at delivery.
//   - profile/plan, profile/provisioning: which profiles a device lacks or should lose, and provisioning profiles of apps.
//   - mdm/workflow, mdm/practice: durable workflows, and Apple's practices as such.
//   - storage: gathers what the packages above ask of a database.
//   - storage/memory, storage/sqlite, storage/postgres, storage/mysql: stores. storage/storagetest: the suite that all pass.
//   - mdm/server: the handler, and the one place where errors become HTTP.
//   - mdm/api: the operators' side, as a handler of its own.
//   - mdm/migrate: takes over the devices of NanoMDM and MicroMDM.
//   - mdm/mdmtest: simulated devices, a fake APNs and a fake Apple Business Manager, for your integration tests, too.
//   - examples: programs. Begin with examples/quickstart and examples/embed; examples/server is
//     for production.
//
// # What you implement
//
// Nothing, to begin with. With a database of your own: [checkin.Store] and [command.Store], six methods, and then the
// other interfaces of [storage.Stores] as you need them; storagetest.Run tells when they are right. With an identity
// system of your own: one [identity.ValidatorFunc]. To see every message: a func(checkin.Handler) checkin.Handler.
//
// # Generated code
//
// The types of commands, payloads, declarations and the rest come from Apple's device-management schema. With a checkout of
// it, a new release is one command: APPLEMDM_SCHEMA=/path/to/device-management go generate .
//
// [http.Handler]: https://pkg.go.dev/net/http#Handler
// [Server.Run]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm/server#Server.Run
// [checkin.Store]: https://pkg.go.dev/github.com/gomdm/applemdm/checkin#Store
// [command.Store]: https://pkg.go.dev/github.com/gomdm/applemdm/command#Store
// [storage.Stores]: https://pkg.go.dev/github.com/gomdm/applemdm/storage#Stores
// [identity.ValidatorFunc]: https://pkg.go.dev/github.com/gomdm/applemdm/mdm/identity#ValidatorFunc
package applemdm

//go:generate go run ./internal/schemagen -schema $APPLEMDM_SCHEMA -out .
