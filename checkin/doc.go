// Package checkin is the check-in half of the MDM protocol: the messages with which devices enroll, tell their push
// tokens, escrow secrets and leave.
//
// A [Service] answers them. What a message means is decided by pure functions of this package, which a [Store] calls
// inside its transaction: the store loads a [Situation], and writes the [Plan] that comes back. One message is one
// transaction.
//
// # A renewal is not a new enrollment
//
// Every Authenticate looks alike, whether a device is new, renews its identity, was wiped, or repeats itself. [Classify]
// tells them apart by evidence: for what the certificate was issued, whether a replacement of the MDM profile or an erase
// had been sent. A renewal keeps everything. A new enrollment begins a new generation: open commands are canceled and
// secrets archived, so that nothing old reaches a wiped device and nothing is lost if it was a mistake. Either way the old
// identity and push token stay valid until the first TokenUpdate, because an installation that fails rolls back on the
// device.
//
// # Absent is not false
//
// Optional booleans are pointers, and a key that a message does not have leaves what is stored. Keys that this package
// does not know are kept and encoded again.
package checkin
