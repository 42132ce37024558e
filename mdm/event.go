package mdm

import "time"

// EventType names what happened. The text is stable: vendors store and compare it.
type EventType string

// Enrollment events. Each way in has its own.
const (
	EventAuthenticated EventType = "enrollment.authenticated"      // Authenticate was accepted; not managed yet
	EventEnrolled      EventType = "enrollment.enrolled"           // first enrollment complete
	EventReenrolled    EventType = "enrollment.reenrolled"         // enrolled anew; a new generation began
	EventAfterWipe     EventType = "enrollment.enrolled-afterwipe" // enrolled anew after an erase; a new generation began
	EventRenewed       EventType = "enrollment.renewed"            // the MDM profile or identity was replaced; same generation
	EventRestored      EventType = "enrollment.restored"           // came back from a backup without Authenticate
	EventAdopted       EventType = "enrollment.adopted"            // a migrated device's certificate was bound afterwards
	EventRolledBack    EventType = "enrollment.rolledback"         // a replacement failed; the old identity goes on
	EventTokenUpdated  EventType = "enrollment.tokenupdated"       // a managed channel sent a new push token
	EventCheckedOut    EventType = "enrollment.checkedout"         // the MDM profile was removed
	EventEnded         EventType = "enrollment.ended"              // the server ended the management
	EventRefused       EventType = "enrollment.refused"            // an unmanaged device was told to remove its profile
)

// Identity events.
const (
	EventCertificateIssued  EventType = "identity.issued"   // a client certificate was issued
	EventCertificateBound   EventType = "identity.bound"    // a certificate became the identity of a device
	EventCertificateRetired EventType = "identity.retired"  // a certificate was replaced
	EventCertificateRevoked EventType = "identity.revoked"  // it was of an enrollment that ended
	EventConflict           EventType = "identity.conflict" // a certificate spoke for a device that is not its own
)

// Command events.
const (
	EventCommandQueued       EventType = "command.queued"
	EventCommandSent         EventType = "command.sent"
	EventCommandNotNow       EventType = "command.notnow"
	EventCommandAcknowledged EventType = "command.acknowledged"
	EventCommandFailed       EventType = "command.failed"   // Error or CommandFormatError
	EventCommandCanceled     EventType = "command.canceled" // by the operator, a newer command, or a new generation
	EventCommandExpired      EventType = "command.expired"  // NotAfter passed
	EventReportAside         EventType = "command.aside"    // a report that fits no open command was kept aside
)

// Events of orders for more targets than one transaction has. They tell of the order as a whole, and name no device: the
// command has no EventCommandQueued of its own on each queue.
const (
	EventOrderBegun EventType = "order.begun"
	EventOrderDone  EventType = "order.done" // the reason has the counts
)

// Secret events. The secret itself is never part of an event.
const (
	EventSecretStored EventType = "secret.stored"
	EventSecretRead   EventType = "secret.read"
)

// Push events.
const (
	EventPushFailed EventType = "push.failed" // APNs calls the push token dead; the reason is APNs' word
)

// Presence events: one for each change of an enrollment's [Presence], but none for users whose device ends, nor for the first
// enrollment: who enrolls is Active.
const (
	EventActive   EventType = "presence.active"   // it is back
	EventQuiet    EventType = "presence.quiet"    // nothing was heard of it for a while
	EventInactive EventType = "presence.inactive" // nothing for long, and pushes go unanswered
	EventGone     EventType = "presence.gone"     // it ended, or APNs calls its push token dead
)

// Expiry events: a credential of the server's ends, and somebody has to do something. They name no device, and of the
// enrollment only the tenant, if the credential is of one.
const (
	EventExpiring EventType = "credential.expiring"
	EventExpired  EventType = "credential.expired"
)

// Workflow events: of a workflow's run on an enrollment. The subject is the workflow, the name the run's ID, and the reason where
// it stands, in words.
const (
	EventWorkflowBegun    EventType = "workflow.begun"
	EventWorkflowDone     EventType = "workflow.done"
	EventWorkflowFailed   EventType = "workflow.failed"
	EventWorkflowCanceled EventType = "workflow.canceled" // by an operator, or because the enrollment ended
	EventWorkflowAside    EventType = "workflow.aside"    // a step failed too often; somebody has to look
)

// Device events: what Apple Business Manager says of the devices of an organization. They name no enrollment, only its tenant: the
// subject is the server at Apple, in our words, and the name the serial number.
const (
	EventDeviceAdded    EventType = "inventory.added"    // it is on the server, for the first time or again
	EventDeviceModified EventType = "inventory.modified" // Apple says something else of it
	EventDeviceRemoved  EventType = "inventory.removed"  // it is not on the server any more; its management goes on
	EventDeviceAssigned EventType = "inventory.assigned" // it has the enrollment profile that it ought to have
	EventDeviceRefused  EventType = "inventory.refused"  // Apple does not give it that; the reason is Apple's word
	EventServerStopped  EventType = "inventory.stopped"  // Apple refuses the server; the reason says who has to do what. It has no name
	EventServerGoesOn   EventType = "inventory.goes-on"  // and does no longer
)

// Event tells of one change. It is written in the transaction of the change itself and delivered at least once, in
// order of Seq within one enrollment. It holds no secrets.
type Event struct {
	Seq        int64        `json:"seq"` // set by the store; increases within an enrollment
	Type       EventType    `json:"type"`
	At         time.Time    `json:"at"`
	Enrollment EnrollmentID `json:"enrollment"`
	Generation Generation   `json:"generation,omitempty"`

	CommandUUID string `json:"commandUUID,omitempty"` // command events
	RequestType string `json:"requestType,omitempty"` // command events
	Status      string `json:"status,omitempty"`      // the device's word, as "Error"

	Fingerprint string `json:"fingerprint,omitempty"` // identity events
	Claimed     string `json:"claimed,omitempty"`     // conflict: the device that was claimed, where it is not Enrollment

	Subject string `json:"subject,omitempty"` // secret events: "UnlockToken" or "BootstrapToken"; expiry events: the kind, as "push-certificate"
	Reason  string `json:"reason,omitempty"`  // why, in words; never a secret

	Name     string    `json:"name,omitempty"`    // expiry events: which one of its kind, as a topic
	NotAfter time.Time `json:"notAfter,omitzero"` // expiry events: when it ends
}
