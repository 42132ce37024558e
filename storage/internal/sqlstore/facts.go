package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
)

// What is known of a caller comes in one statement, whose rows have one shape and tell by their part what they are.
const (
	partEnrollment = iota
	partPresented  // the certificate that came with the request
	partBound      // the device's active and pending certificates
	partDenial
	partAnyOpen // something is open on the queue, other than the command that the report is about; see also opIdle
	partReported
	partFinished
	partLate
	partNext
	partReplacement
	partUser // a user channel of the device that is not ended
	partSecret
	partAgain
	partCommand // the body that has the order's UUID
)

// fact is such a row.
type fact struct {
	i, part int64
	n       [14]int64
	s       [10]string
	b       [2][]byte
}

func (f *fact) scan(scan func(...any) error) error { return scan(f.columns()...) }

// columns returns where a row is scanned to.
func (f *fact) columns() []any {
	into := make([]any, 0, 28)
	into = append(into, &f.i, &f.part)
	for i := range f.n {
		into = append(into, &f.n[i])
	}
	for i := range f.s {
		into = append(into, &f.s[i])
	}
	for i := range f.b {
		into = append(into, &f.b[i])
	}
	return into
}

// part writes one select of a statement of facts.
func part(number int, ints, texts, blobs, rest string) string {
	fill := func(list string, n int, blank string) string {
		var names []string
		for _, name := range strings.Split(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
		for len(names) < n {
			names = append(names, blank)
		}
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("SELECT {i}, %d, %s, %s, %s %s", number, fill(ints, 14, "{zero}"), fill(texts, 10, "{blank}"), fill(blobs, 2, "{null}"), rest)
}

func parts(selects ...string) string { return strings.Join(selects, "\nUNION ALL\n") }

const (
	enrollmentInts  = "id, channel, state, generation, rights, awaiting, authenticated_at, enrolled_at, token_updated_at, ended_at, last_seen_at, erase_sent, presence_at * 4 + presence"
	enrollmentTexts = "tenant, device, usr, topic, info, short_name, long_name, arrival, push_magic, end_reason"
	enrollmentBlobs = "push_token, auth_token"

	certificateInts  = "status, purpose, generation, not_before, not_after, issued_at, bound_at, retired_at"
	certificateTexts = "tenant, device, device_serial, serial, subject"

	openInts = "q.enrollment, q.priority, q.seq, q.command, q.traits, q.generation, q.state, q.sends, q.relax, q.checked"

	ofKey = "FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = :usr"

	ofDevice = "(SELECT id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = '')"
)

// lastPlace is the last place that is taken among the open commands of a priority, 0 if there is none.
const lastPlace = "COALESCE((SELECT q.seq FROM mdm_queue q WHERE q.enrollment = mdm_enrollments.id AND q.priority = %s " +
	"ORDER BY q.enrollment DESC, q.priority DESC, q.seq DESC LIMIT 1), 0)"

// targetPart is the enrollment part of a target. Its last integer, 0 elsewhere, is lastPlace.
func targetPart(priority, rest string) string {
	return strings.Replace(part(partEnrollment, enrollmentInts+", {last}", enrollmentTexts, enrollmentBlobs, rest), "{last}", fmt.Sprintf(lastPlace, priority), 1)
}

var (
	ownPart    = part(partEnrollment, enrollmentInts, enrollmentTexts, enrollmentBlobs, ofKey)
	devicePart = part(partEnrollment, enrollmentInts, enrollmentTexts, enrollmentBlobs, "FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = '' AND :usr <> ''")

	standingParts = parts(ownPart, devicePart,
		part(partPresented, certificateInts, certificateTexts, "fingerprint", "FROM mdm_certificates WHERE tenant = :tenant AND fingerprint = :fp"),
		part(partBound, certificateInts, certificateTexts, "fingerprint",
			fmt.Sprintf("FROM mdm_certificates WHERE tenant = :tenant AND device = :device AND status IN (%d, %d)", mdm.CertificateActive, mdm.CertificatePending)),
		part(partDenial, "", "reason", "", "FROM mdm_denials WHERE tenant = :tenant AND device = :device AND fingerprint = {empty}"),
		part(partDenial, "", "reason", "", "FROM mdm_denials WHERE tenant = :tenant AND device = '' AND fingerprint = :fp"))

	// opIdle asks for commands that an idle poll has something to do with. Those that are not due yet are none, if a push will
	// come in time.
	opIdle = newOp("tenant$ device$ usr$ fp# at", parts(standingParts,
		part(partAnyOpen, "", "", "", "FROM (SELECT q.seq FROM mdm_queue q WHERE q.enrollment = {caller} AND (q.not_before <= :at"+
			fmt.Sprintf(" OR q.state = %d", command.Deferred)+" OR (q.not_after > 0 AND q.not_after < :at) OR NOT EXISTS (SELECT 1 FROM mdm_pushes p"+
			" WHERE p.enrollment = q.enrollment AND p.leased = 0 AND p.due <= q.not_before)) LIMIT 1) h")))

	opReport = newOp("tenant$ device$ usr$ fp# command uuid$ settled at setup idle", parts(standingParts,
		part(partReported, openInts, "c.uuid, c.request_type", "", "FROM mdm_queue q JOIN mdm_commands c ON c.id = q.command AND c.uuid = :uuid "+
			"WHERE q.command = :command AND q.enrollment = {caller}"),
		part(partFinished, "h.state", "", "h.digest", "FROM mdm_history h JOIN mdm_commands c ON c.id = h.command AND c.uuid = :uuid "+
			"WHERE h.command = :command AND h.enrollment = {caller}"),
		part(partLate, openInts, "c.uuid, c.request_type", "", "FROM mdm_queue q JOIN mdm_commands c ON c.id = q.command "+
			"WHERE q.enrollment = {caller} AND q.not_after > 0 AND q.not_after < :at AND q.command <> :settled"),
		part(partAnyOpen, "", "", "", "FROM (SELECT q.seq FROM mdm_queue q WHERE q.enrollment = {caller} AND q.command <> :settled LIMIT 1) h"),
		part(partNext, strings.ReplaceAll(openInts, "q.", "h."), "c.uuid, c.request_type", "c.body", "FROM (SELECT "+openInts+" FROM mdm_queue q WHERE q.enrollment = {caller}"+
			// an Idle report makes deferred commands eligible, all others have a settled command or none
			fmt.Sprintf(" AND (q.state <> %d OR :idle = 1) AND q.command <> :settled AND q.not_before <= :at AND (q.not_after = 0 OR q.not_after >= :at)", command.Deferred)+
			" AND (:setup = 255 OR (q.traits & :setup) <> 0) ORDER BY q.enrollment, q.priority, q.seq LIMIT 1) h JOIN mdm_commands c ON c.id = h.command")))

	opSituation = newOp("tenant$ device$ usr$ fp#", parts(standingParts,
		part(partReplacement, "", "", "", "FROM (SELECT q.seq FROM mdm_queue q JOIN mdm_enrollments e ON e.id = q.enrollment AND e.generation = q.generation "+
			fmt.Sprintf("WHERE q.sends > 0 AND (q.traits & %d) <> 0 AND q.enrollment = ", command.ReplacesMDM)+ofDevice+" LIMIT 1) h"),
		part(partUser, enrollmentInts, enrollmentTexts, enrollmentBlobs,
			fmt.Sprintf("FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr > '' AND state <> %d", mdm.Ended)),
		part(partSecret, "", "subject", "sealed", "FROM mdm_secrets WHERE enrollment = "+ofDevice+
			fmt.Sprintf(" AND subject IN ('%s', '%s') AND archived = 0", unlockToken, bootstrapToken))))

	opTarget = newOp("tenant$ device$ usr$ command priority", parts(targetPart(":priority", ofKey), devicePart,
		part(partAgain, "q.state", "", "", "FROM mdm_queue q WHERE q.command = :command AND q.enrollment = {caller}"),
		part(partAgain, "h.state", "", "", "FROM mdm_history h WHERE h.command = :command AND h.enrollment = {caller}"),
		part(partCommand, "", "uuid", "digest", "FROM mdm_commands WHERE id = :command")))

	// opLock keeps other transactions away from a device and its user channels until the commit.
	opLock = newOp("tenant$ device$", "SELECT {i}, id FROM mdm_enrollments WHERE tenant = :tenant AND device = :device AND usr = '' {lock}")
)

// row is an enrollment with what the store knows besides.
type row struct {
	mdm.Enrollment
	id        int64
	authToken []byte
	eraseSent mdm.Generation
}

func (f *fact) row() (*row, error) {
	r := &row{id: f.n[0], authToken: f.b[1], eraseSent: mdm.Generation(f.n[11])}
	e := &r.Enrollment
	e.ID = mdm.EnrollmentID{Tenant: f.s[0], Device: f.s[1], User: f.s[2]}
	e.Channel, e.State, e.Generation, e.Rights = mdm.Channel(f.n[1]), mdm.State(f.n[2]), mdm.Generation(f.n[3]), mdm.AccessRights(f.n[4])
	e.AwaitingConfiguration = f.n[5] != 0
	e.AuthenticatedAt, e.EnrolledAt, e.TokenUpdatedAt = fromMicros(f.n[6]), fromMicros(f.n[7]), fromMicros(f.n[8])
	e.EndedAt, e.LastSeenAt = fromMicros(f.n[9]), fromMicros(f.n[10])
	e.Presence, e.PresenceSince = mdm.Presence(f.n[12]&3), fromMicros(f.n[12]>>2)
	e.Topic, e.UserShortName, e.UserLongName = f.s[3], f.s[5], f.s[6]
	e.Arrival, e.PushMagic, e.EndReason, e.PushToken = mdm.EventType(f.s[7]), f.s[8], f.s[9], f.b[0]
	return r, readInfo(f.s[4], &e.Device)
}

func (f *fact) certificate() *mdm.Certificate {
	c := &mdm.Certificate{Tenant: f.s[0], Device: f.s[1], DeviceSerial: f.s[2], SerialNumber: f.s[3], Subject: f.s[4],
		Status: mdm.CertificateStatus(f.n[0]), Purpose: mdm.Purpose(f.n[1]), Generation: mdm.Generation(f.n[2]),
		NotBefore: fromMicros(f.n[3]), NotAfter: fromMicros(f.n[4]), IssuedAt: fromMicros(f.n[5]), BoundAt: fromMicros(f.n[6]), RetiredAt: fromMicros(f.n[7])}
	copy(c.Fingerprint[:], f.b[0])
	return c
}

// open is an open command of one queue.
type open struct {
	enrollment  int64
	priority    command.Priority
	seq         int64
	command     int64
	traits      command.Traits
	generation  mdm.Generation
	state       command.State
	sends       int64
	uuid        string
	requestType string
	body        []byte
	relax       schema.Rules
	checked     int64 // digest of the target that it was checked for
}

func (f *fact) open() *open {
	return &open{enrollment: f.n[0], priority: command.Priority(f.n[1]), seq: f.n[2], command: f.n[3], traits: command.Traits(f.n[4]),
		generation: mdm.Generation(f.n[5]), state: command.State(f.n[6]), sends: f.n[7], relax: schema.Rules(f.n[8]), checked: f.n[9],
		uuid: f.s[0], requestType: f.s[1], body: f.b[0]}
}

// known is what the database knows of a caller.
type known struct {
	identity.Standing
	own, device *row

	anyOpen     bool
	reported    *open
	finished    bool
	was         command.State
	digest      []byte
	late        []*open
	next        *open
	replacement bool
	users       []*row
	secrets     map[string][]byte // sealed, by their subject
	again       bool
	last        int64  // see targetPart
	uuid        string // of the body that is stored
	body        []byte // its digest; nil: none is stored
}

func (k *known) add(f *fact, id mdm.EnrollmentID) error {
	switch f.part {
	case partEnrollment:
		r, err := f.row()
		if err != nil {
			return err
		}
		if r.ID == id {
			k.own, k.Enrollment, k.AuthTokenHash, k.last = r, &r.Enrollment, r.authToken, f.n[13]
		}
		if !r.ID.IsUser() {
			k.device, k.Device = r, &r.Enrollment
		}
	case partPresented:
		k.Certificate = f.certificate()
	case partBound:
		if c := f.certificate(); c.Status == mdm.CertificateActive {
			k.Active = c
		} else {
			k.Pending = c
		}
	case partDenial:
		k.Denied = "on the deny list"
		if f.s[0] != "" {
			k.Denied = f.s[0]
		}
	case partAnyOpen:
		k.anyOpen = true
	case partReported:
		k.reported = f.open()
	case partFinished:
		k.finished, k.was, k.digest = true, command.State(f.n[0]), f.b[0]
	case partLate:
		k.late = append(k.late, f.open())
	case partNext:
		k.next = f.open()
	case partReplacement:
		k.replacement = true
	case partUser:
		r, err := f.row()
		if err != nil {
			return err
		}
		k.users = append(k.users, r)
	case partSecret:
		if k.secrets == nil {
			k.secrets = map[string][]byte{}
		}
		k.secrets[f.s[0]] = f.b[0]
	case partAgain:
		k.again = true
	case partCommand:
		k.uuid, k.body = f.s[0], f.b[0]
	}
	return nil
}

// ask returns the calls that load what is known for rows of parameters; each answer goes to the known of its row.
func (o *op) ask(d *Dialect, rows [][]any, ids []mdm.EnrollmentID, into []*known) []*Call {
	calls := o.calls(d, rows)
	var f fact // of one row after the other
	columns := f.columns()
	for _, c := range calls {
		c.Rows = func(scan func(...any) error) error {
			f.b = [2][]byte{}
			if err := scan(columns...); err != nil {
				return err
			}
			return into[f.i].add(&f, ids[f.i])
		}
	}
	return calls
}

// rowOf returns the record of a channel, nil if there is none.
func rowOf(ctx context.Context, r reader, id mdm.EnrollmentID) (found *row, err error) {
	err = r.query(ctx, selectRow+"WHERE tenant = ? AND device = ? AND usr = ?", []any{id.Tenant, id.Device, id.User}, func(scan func(...any) error) error {
		var f fact
		if err := f.scan(scan); err != nil {
			return err
		}
		found, err = f.row()
		return err
	})
	return found, err
}

var selectRow = strings.Replace(part(partEnrollment, enrollmentInts, enrollmentTexts, enrollmentBlobs, "FROM mdm_enrollments "), "{i}", "0", 1)
