package storagetest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

const topic = "com.apple.mgmt.External.storagetest"

// device is one channel of a device that speaks to the store through the services of the library, as a server does.
type device struct {
	w       *world
	id      mdm.EnrollmentID
	channel mdm.Channel
	cert    *x509.Certificate
	token   []byte
	magic   string
	auth    string // AuthToken
}

// device returns one that is not enrolled.
func (w *world) device(id mdm.EnrollmentID) *device {
	d := &device{w: w, id: id, channel: mdm.DeviceChannel}
	d.newIdentity()
	return d
}

// enrolled returns an enrolled device of the tenant "".
func (w *world) enrolled(name string) *device {
	w.Helper()
	return w.enrolledID(mdm.EnrollmentID{Device: name})
}

func (w *world) enrolledID(id mdm.EnrollmentID) *device {
	w.Helper()
	d := w.device(id)
	d.enroll()
	return d
}

// user returns an enrolled user channel of d.
func (d *device) user(name string) *device {
	d.w.Helper()
	u := *d
	u.id.User, u.channel = name, mdm.UserChannel
	u.newToken()
	require.NoError(d.w, u.tokenUpdate())
	return &u
}

// newIdentity gives the device a certificate that the store never saw. Nothing of it is checked below the server.
func (d *device) newIdentity() {
	n := d.w.number()
	raw := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", d.w.name, d.id, n))
	d.cert = &x509.Certificate{
		Raw: raw[:], SerialNumber: big.NewInt(int64(n)), Subject: pkix.Name{CommonName: "device " + d.id.Device},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	d.newToken()
}

func (d *device) newToken() {
	token := sha256.Sum256(fmt.Appendf(nil, "token %s %d", d.id, d.w.number()))
	d.token, d.magic = token[:], fmt.Sprintf("magic-%x", token[:4])
}

func (d *device) fingerprint() mdm.Fingerprint { return mdm.FingerprintOf(d.cert) }

func (d *device) checkin(m checkin.Message) error {
	service := checkin.Service{Store: d.w.Checkin, Escrow: d.w.Escrow}
	_, err := service.Checkin(d.w.Context(), &checkin.Request{
		ID: d.id, Channel: d.channel, Identifiers: mdm.Identifiers{UDID: d.id.Device, UserID: d.id.User, UserShortName: d.id.User},
		Certificate: d.cert, Fingerprint: d.fingerprint(), Message: m, AuthToken: d.auth, At: d.w.now(),
	})
	return err
}

func (d *device) authenticate() error {
	return d.checkin(&checkin.Authenticate{Topic: topic, Device: mdm.Device{
		Name: "Name of " + d.id.Device, SerialNumber: "SN" + d.id.Device, ProductName: "MacBookPro18,3", OSVersion: "15.0",
	}})
}

func (d *device) tokenUpdate() error {
	return d.checkin(&checkin.TokenUpdate{Topic: topic, Token: d.token, PushMagic: d.magic})
}

// enroll enrolls the device, anew if it was enrolled before.
func (d *device) enroll() {
	d.w.Helper()
	require.NoError(d.w, d.authenticate(), "Authenticate of %s", d.id)
	require.NoError(d.w, d.tokenUpdate(), "TokenUpdate of %s", d.id)
}

// reenroll enrolls the device anew with another identity, as after a wipe.
func (d *device) reenroll() {
	d.w.Helper()
	d.newIdentity()
	d.enroll()
}

// unlockToken escrows an UnlockToken.
func (d *device) unlockToken(secret string) {
	d.w.Helper()
	require.NoError(d.w, d.checkin(&checkin.TokenUpdate{Topic: topic, Token: d.token, PushMagic: d.magic, UnlockToken: mdm.SecretString(secret)}))
}

// bootstrapToken escrows a bootstrap token; an empty one deletes it.
func (d *device) bootstrapToken(secret string) {
	d.w.Helper()
	require.NoError(d.w, d.checkin(&checkin.SetBootstrapToken{BootstrapToken: mdm.SecretString(secret)}))
}

func (d *device) checkOut() {
	d.w.Helper()
	require.NoError(d.w, d.checkin(&checkin.CheckOut{Topic: topic}))
}

// try sends a report and returns what is offered.
func (d *device) try(r command.Request) (*command.Offer, error) {
	r.ID, r.Channel, r.Certificate, r.Fingerprint, r.AuthToken = d.id, d.channel, d.cert, d.fingerprint(), d.auth
	if r.At.IsZero() {
		r.At = d.w.now()
	}
	if r.Raw == nil {
		r.Raw = fmt.Appendf(nil, "<report from %s: %s %s>", d.id, r.Status, r.CommandUUID)
	}
	service := command.Service{Store: d.w.Command}
	return service.Report(d.w.Context(), &r)
}

func (d *device) report(r command.Request) *command.Offer {
	d.w.Helper()
	offer, err := d.try(r)
	require.NoError(d.w, err, "a report of %s: %s %s", d.id, r.Status, r.CommandUUID)
	return offer
}

func (d *device) idle() *command.Offer {
	d.w.Helper()
	return d.report(command.Request{Status: command.StatusIdle})
}

func (d *device) answer(status command.Status, uuid string) *command.Offer {
	d.w.Helper()
	return d.report(command.Request{Status: status, CommandUUID: uuid})
}

// ack acknowledges what was offered and returns what is offered next.
func (d *device) ack(o *command.Offer) *command.Offer {
	d.w.Helper()
	require.NotNil(d.w, o, "nothing was offered to %s", d.id)
	return d.answer(command.StatusAcknowledged, o.UUID)
}

// run acknowledges everything and returns the UUIDs in the order in which they were offered.
func (d *device) run() []string {
	d.w.Helper()
	var uuids []string
	for o := d.idle(); o != nil; o = d.ack(o) {
		uuids = append(uuids, o.UUID)
		require.LessOrEqual(d.w, len(uuids), 10_000, "the session does not end")
	}
	return uuids
}

// expect checks that the command with this UUID was offered; an empty one is the end of the session.
func (d *device) expect(o *command.Offer, uuid string) {
	d.w.Helper()
	if uuid == "" {
		if o != nil {
			require.Failf(d.w, "the session should end", "%s %s was offered to %s", o.RequestType, o.UUID, d.id)
		}
		return
	}
	require.NotNil(d.w, o, "nothing was offered to %s", d.id)
	require.Equal(d.w, uuid, o.UUID, "the command offered to %s", d.id)
	assert.True(d.w, bytes.Contains(o.Body, []byte(uuid)), "the body is the whole message, with its CommandUUID")
	assert.NotEmpty(d.w, o.RequestType)
}

// enrollMany enrolls n devices in few transactions and returns their ids.
func (w *world) enrollMany(n int) []mdm.EnrollmentID {
	w.Helper()
	at := w.now()
	all := make([]mdm.EnrollmentID, n)
	for from := 0; from < n; from += 500 {
		var plan checkin.Plan
		for i := from; i < min(from+500, n); i++ {
			all[i] = mdm.EnrollmentID{Device: numbered("device-", i)}
			plan.Enrollments = append(plan.Enrollments, enrollment(all[i], at))
		}
		w.update(all[from], plan)
	}
	return all
}

// enrollment returns the row of an enrolled device.
func enrollment(id mdm.EnrollmentID, at time.Time) mdm.Enrollment {
	return mdm.Enrollment{
		ID: id, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1, Topic: topic, Arrival: mdm.EventEnrolled,
		PushToken: []byte("token of " + id.Device), PushMagic: "magic",
		AuthenticatedAt: at, EnrolledAt: at, TokenUpdatedAt: at,
	}
}

// profileOf returns a configuration profile with one payload.
func profileOf(payloadType string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example</string><key>PayloadUUID</key><string>9A1F8B7E-0001</string>
<key>PayloadContent</key><array><dict>
<key>PayloadType</key><string>%s</string><key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>com.example.payload</string><key>PayloadUUID</key><string>9A1F8B7E-0002</string>
</dict></array></dict></plist>`, payloadType)
}
