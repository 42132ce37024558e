package storagetest

import (
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

func fitCases() []testCase {
	return []testCase{
		{name: "a command that cannot work is refused, with the reason",
			why: "command.Enqueuer: a target that Item.Check has something against is refused, and does not hinder the others",
			run: refusedByTheSchema},
		{name: "a user channel is judged by its device",
			why: "schema.TargetOf: the device channel says what the device is; a user channel has no model of its own",
			run: userByItsDevice},
		{name: "a rule can be relaxed for one order",
			why: "command.Order: Relax names rules that the command may break; the schema lags behind systems",
			run: relaxedOrder},
		{name: "what a device says of itself is kept",
			why: "command.Learn: no check-in message tells supervision, nor the version after an update; the serial number is not learned",
			run: learned},
		{name: "what is learned belongs to one generation",
			why: "a device that was erased may come back without supervision: what its last generation said must not refuse it anything",
			run: learnedInAGeneration},
		{name: "only an acknowledged answer teaches", why: "command.Learn: reports that acknowledge; an Error may hold anything", run: learnedFromErrors},
		{name: "a command that does not fit any more is not offered",
			why: "command.Exchanger: it is canceled with a Note that says why, and the next one is offered",
			run: fitsNoMore},
		{name: "a relaxed command is offered whatever is learned",
			why: "command.Recheck: relax is what its order relaxed",
			run: relaxedDelivery},
		{name: "what a replica learned counts for the other",
			why: "any number of processes on one database: what one was told, all know",
			run: learnedByAReplica},
	}
}

// phone returns an enrolled iPhone of which no more is known than its Authenticate says.
func (w *world) phone(name string) *device {
	w.Helper()
	d := w.device(mdm.EnrollmentID{Device: name})
	require.NoError(w, d.checkin(&checkin.Authenticate{Topic: topic, Device: mdm.Device{ProductName: "iPhone15,2", OSVersion: "17.0", SerialNumber: "SN" + name}}))
	require.NoError(w, d.tokenUpdate())
	return d
}

// restart is a command that iOS takes only if it is supervised.
func restart() command.Command { return command.RestartDevice{} }

// says answers a DeviceInformation with these elements of QueryResponses.
func (d *device) says(uuid, answers string) *command.Offer {
	d.w.Helper()
	return d.report(command.Request{Status: command.StatusAcknowledged, CommandUUID: uuid, Raw: reportOf("Acknowledged", uuid,
		"<key>QueryResponses</key><dict>"+answers+"</dict>")})
}

func reportOf(status, uuid, elements string) []byte {
	return fmt.Appendf(nil, `<plist version="1.0"><dict><key>Status</key><string>%s</string><key>CommandUUID</key><string>%s</string>%s</dict></plist>`,
		status, uuid, elements)
}

const unsupervised = "<key>IsSupervised</key><false/>"

// tell has a device say something of itself.
func (d *device) tell(answers string) {
	d.w.Helper()
	uuid := d.w.queued(information("IsSupervised"), d)
	d.expect(d.idle(), uuid)
	d.says(uuid, answers)
}

func refusedByTheSchema(w *world) {
	told, silent := w.phone("A"), w.phone("B")
	told.tell(unsupervised)
	receipt := w.enqueue(to(restart(), told, silent))
	assert.Equal(w, 1, receipt.Queued, "what is not known refuses nothing")
	require.Len(w, receipt.Refused, 1)
	assert.Equal(w, told.id, receipt.Refused[0].Enrollment)
	assert.Equal(w, mdm.Forbidden, mdm.CodeOf(receipt.Refused[0].Err))
	var findings schema.Findings
	require.ErrorAs(w, receipt.Refused[0].Err, &findings, "the reason can be read")
	assert.Equal(w, schema.RuleSupervised, findings.Rules())
	told.expect(told.idle(), "")
	silent.expect(silent.idle(), receipt.UUID)
}

func userByItsDevice(w *world) {
	mac := w.enrolled("D")
	user := mac.user("anna")
	receipt := w.enqueue(to(command.DeviceLock{}, mac, user))
	assert.Equal(w, 1, receipt.Queued)
	require.Len(w, receipt.Refused, 1)
	assert.Equal(w, user.id, receipt.Refused[0].Enrollment)
	var findings schema.Findings
	require.ErrorAs(w, receipt.Refused[0].Err, &findings)
	assert.Equal(w, schema.RuleChannel, findings.Rules())
	assert.Equal(w, 1, w.enqueue(to(profiles(), user)).Queued)

	old := w.device(mdm.EnrollmentID{Device: "Old"})
	require.NoError(w, old.checkin(&checkin.Authenticate{Topic: topic, Device: mdm.Device{ProductName: "MacBookPro9,1", OSVersion: "10.12"}}))
	require.NoError(w, old.tokenUpdate())
	receipt = w.enqueue(to(command.ActiveNSExtensions{}, old.user("bert"))) // since macOS 10.13
	assert.Equal(w, 1, receipt.RefusedAll, "the version is that of the device")
}

func relaxedOrder(w *world) {
	d := w.phone("D")
	d.tell(unsupervised)
	o := to(restart(), d)
	o.Relax = schema.RuleSupervised
	receipt := w.enqueue(o)
	assert.Equal(w, 1, receipt.Queued)
	d.expect(d.idle(), receipt.UUID)
	_, err := w.Command.Enqueue(w.Context(), to(command.RemoveProfile{}, d))
	assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), "a required key is missing, whoever it is for")
	o = to(command.RemoveProfile{}, d)
	o.Relax = schema.RuleRequired
	assert.Equal(w, 1, w.enqueue(o).Queued)
}

func learned(w *world) {
	d := w.phone("D")
	before := w.row(d.id).Device
	d.tell(unsupervised + `<key>OSVersion</key><string>18.2</string><key>SerialNumber</key><string>FORGED</string><key>IsMultiUser</key><true/>`)
	uuid := w.queued(security(), d)
	d.expect(d.idle(), uuid)
	d.report(command.Request{Status: command.StatusAcknowledged, CommandUUID: uuid, Raw: reportOf("Acknowledged", uuid,
		"<key>SecurityInfo</key><dict><key>ManagementStatus</key><dict><key>EnrolledViaDEP</key><true/></dict></dict>")})
	want := before
	want.OSVersion, want.Supervised, want.SharedIPad, want.Automated = "18.2", mdm.No, mdm.Yes, mdm.Yes
	assert.Equal(w, want, w.row(d.id).Device)
	d.tell("<key>IsSupervised</key><true/>")
	assert.Equal(w, mdm.Yes, w.row(d.id).Device.Supervised)
	d.tell("<key>OSVersion</key><integer>1</integer>")
	assert.Equal(w, "18.2", w.row(d.id).Device.OSVersion, "what is no version is not learned")
}

func learnedInAGeneration(w *world) {
	d := w.phone("D")
	d.tell(unsupervised)
	d.reenroll()
	assert.Equal(w, mdm.Unsaid, w.row(d.id).Device.Supervised)
}

func learnedFromErrors(w *world) {
	d := w.phone("D")
	for _, status := range []command.Status{command.StatusError, command.StatusCommandFormatError} {
		uuid := w.queued(information("IsSupervised"), d)
		d.expect(d.idle(), uuid)
		d.report(command.Request{Status: status, CommandUUID: uuid, Raw: reportOf(string(status), uuid, "<key>QueryResponses</key><dict>"+unsupervised+"</dict>")})
	}
	uuid := w.queued(profiles(), d)
	d.expect(d.idle(), uuid)
	d.says(uuid, unsupervised) // an answer to another command
	d.report(command.Request{Status: command.StatusAcknowledged, CommandUUID: "unknown", Raw: reportOf("Acknowledged", "unknown",
		"<key>QueryResponses</key><dict>"+unsupervised+"</dict>")})
	assert.Equal(w, mdm.Unsaid, w.row(d.id).Device.Supervised)
}

func fitsNoMore(w *world) {
	d := w.phone("D")
	asked, no, yes := w.queued(information("IsSupervised"), d), w.queued(restart(), d), w.queued(profiles(), d)
	d.expect(d.idle(), asked)
	d.expect(d.says(asked, unsupervised), yes)
	e := w.entry(d, no)
	assert.Equal(w, command.Canceled, e.State)
	assert.Contains(w, e.Note, "supervised")
	w.expectEvents(d.id, mdm.EventCommandCanceled, 1)
	d.expect(d.answer("Acknowledged", yes), "")
}

func relaxedDelivery(w *world) {
	d := w.phone("D")
	asked := w.queued(information("IsSupervised"), d)
	o := to(restart(), d)
	o.Relax = schema.RuleSupervised
	uuid := w.enqueue(o).UUID
	d.expect(d.idle(), asked)
	d.expect(d.says(asked, unsupervised), uuid)
	d.expect(d.idle(), uuid)
}

func learnedByAReplica(w *world) {
	d := w.phone("D")
	other := w.again()
	uuid := w.queued(information("IsSupervised"), d)
	there := *d
	there.w = other
	there.expect(there.idle(), uuid)
	there.says(uuid, unsupervised)
	assert.Equal(w, 1, w.enqueue(to(restart(), d)).RefusedAll)
}
