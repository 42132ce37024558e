// Package mdm holds the words that every other package of the library uses: who is enrolled ([EnrollmentID],
// [Enrollment], [Generation]), what a device may be asked to do ([AccessRights]), what went wrong and what the device
// will do about it ([Error], [Code]), what must never be printed ([Secret]), and what happened ([Event]).
//
// It imports nothing but the standard library and does no I/O.
//
// # Who is who
//
// A device has one device channel and, on macOS and Shared iPad, any number of user channels. Each channel is an
// enrollment of its own, with its own queue and push token, keyed by tenant, device and user:
//
//	phone := mdm.EnrollmentID{Device: "00008030-001A2B3C4D5E6F70"}
//	user := mdm.EnrollmentID{Device: phone.Device, User: "8D4C3B2A-…"}
//	user.DeviceID() == phone // true
//
// [Identifiers.Resolve] makes that key from the identifiers of a message, for every kind of enrollment.
//
// # Errors and what a device does with them
//
// The zero [Code] is the harmless one: an unclassified failure is answered 500, and the device repeats its message.
// Only [Unmanaged] makes a device remove its management, so it is always written out in full.
package mdm
