// Package migrate takes over the devices of another MDM server: of NanoMDM (PostgreSQL or MySQL) and of MicroMDM (its bolt
// file), into any store of this library. A [Source] reads, [Run] writes, through the interfaces that a server uses too.
//
//	source := migrate.NanoMDM{DB: db, Dialect: migrate.PostgreSQL}
//	report, err := migrate.Run(ctx, source, stores, migrate.Options{DryRun: true})
//
// What comes over: enrollments of devices and users with their push tokens, the certificates that speak for them, unlock and
// bootstrap tokens, commands without a final answer in their order, and push certificates. No device is pushed, and no
// enrollment event is left: for a device nothing happens.
//
// # How to move a fleet
//
// Run it while the old server still works, with DryRun first. Then stop the old server, run it once more, and let the new
// one answer under the old host name. A run may be repeated as often as is liked: what has not changed is not written, what
// changed at the source is, and a device that has spoken to the new server since is never overwritten ([Report].Kept). Do
// not let both servers answer at once: a command that one of them delivered would be delivered by the other, too.
//
// # Which devices are let in
//
// The next message of a device is accepted if its certificate is bound to it as the active one (identity.Policy.Admit). A
// source may have devices without a certificate on record; [Report].Unbound counts them. They are accepted only while
// identity.Policy.AdoptUntil lies ahead: then the first certificate that they present is bound, and an EventAdopted is left.
// The certificates must also pass the server's identity.Validator, so give it the CA of the old server.
//
// # Who is not taken over
//
// Nobody is imported as ended. To an ended device the answer is that it is not managed, and it removes its profile; none
// of the sources knows that well enough, and a device which a store does not know is answered without that word. So a device
// that checked out, or never came to its first TokenUpdate, is counted (NotEnrolled) and left where it is.
package migrate
