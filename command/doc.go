// Package command is the command half of the MDM protocol: queues of commands, and what devices answer to them.
//
// # The life of a command
//
// An operator makes an [Order]: a command, for whom, how urgent. A store puts it on the queue of every target and leaves
// a push for each, in one transaction. The push wakes the device, which connects and sends a report with a [Status]:
// Idle if it has nothing to tell, else what became of the command that it was given last. The reply is the next command,
// or nothing, and then the session is over.
//
//	device                     server
//	Idle                   →
//	                       ←   command A
//	Acknowledged, A        →   A is done; its report is the result
//	                       ←   command B
//	NotNow, B              →   B keeps its place, but is not offered again in this session
//	                       ←   (empty)
//
// # The rule
//
// A command leaves the queue only on Acknowledged, Error or CommandFormatError, for its CommandUUID, from the enrollment
// that it was queued for. To send it is not to deliver it: a device that says Idle while a command is unanswered never
// got it, or lost it, and is sent the same command under the same UUID again. So commands may run twice. All else
// changes nothing: a report for an unknown, finished or foreign UUID, or with an unknown status, is kept aside and answered
// as if nothing had been. It is never refused, because a device repeats for ever what is refused, and does nothing else.
//
// The final states never change again. NotNow is not one of them: the device has forgotten the command, and the server
// must offer it in a later session. The device comes by itself only if NotNow was the last thing that it said; otherwise
// the store leaves a push ([DeferredPush], [SafetyPush]).
//
// The exceptions that Apple makes: EraseDevice is answered once, if at all ([Presumed]); Acknowledged may only mean that
// a device has accepted a command, or that it has done a part of it.
//
// # Types and checks
//
// Every command of Apple's schema is a struct, as [DeviceLock], and every answer, as [DeviceInformationResponse]; each is in a
// file of its name. Optional keys are pointers: new("text") makes one, and schema.Or reads one. Keys that a type does not know
// go into its field Extra and come out again. [EncodeJSON] and [DecodeJSON] are the same in JSON.
//
// A command that cannot work is refused, with the key and the rule: what is wrong for everybody by [Prepare], what is wrong
// for one target by [Item.Check], when it is queued and, if more is known of the device by then, when it is offered. [Validate]
// tells beforehand. An order can relax each rule. What a device says of itself is learned on the way ([Learn]).
//
// # The parts
//
//   - [Command] is what to do: the types of this package, a type of your own, or any property list as [Raw].
//   - [Service] takes a report and makes one call of an [Exchanger] of it. Package mdm/server calls it.
//   - [Store] is what is asked of a database, in three interfaces: [Exchanger], [Enqueuer], [Inspector].
//   - [Prepare], [Eligible], [Overdue], [Compare] and [Status.Final] are the rules that all stores share.
//   - [ParseResult], [DecodeResponse] and [DecodeResult] read what a device answered. Raw reports are kept, so that this can
//     wait. [Advise] says what an error means for the command.
//
// The rules are those of Apple's "Mobile Device Management Protocol Reference" and of its device management
// documentation; the keys are those of Apple's published schema.
package command
