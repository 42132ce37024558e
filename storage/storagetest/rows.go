package storagetest

import (
	"fmt"
	"reflect"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
)

func rowCases() []testCase {
	return []testCase{
		{name: "every field of an enrollment is kept",
			why: "checkin.Plan: Enrollments are rows to write as they are; a column that is forgotten loses data in silence",
			run: enrollmentFields},
		{name: "every field of a certificate is kept",
			why: "checkin.Plan: Certificates are records to write as they are",
			run: certificateFields},
		{name: "every field of an event is kept", needs: needsEvents,
			why: "mdm.Event: vendors store and compare what it says",
			run: eventFields},
		{name: "zero stays zero",
			why: "a time that was never set must not come back as 1970: IsZero decides things",
			run: zeroFields},
		{name: "identifiers are opaque",
			why: "MDM protocol, check-in: the case and the dashes of a UDID are never changed, and a user name is whatever it is",
			run: opaqueIdentifiers},
		{name: "LastSeenAt is the store's",
			why: "checkin.Plan: LastSeenAt is not taken from the rows; a row that was read long ago must not turn it back",
			run: lastSeen},
	}
}

// fill sets every field that v has, so that a field added later is tested, too.
func fill(v reflect.Value, seed *int) {
	*seed++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, *seed*1000, time.UTC)))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), seed)
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(*seed+i) % 256)
		}
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprintf("text ü'\"%%_ %d", *seed))
	case v.Kind() == reflect.Slice:
		v.SetBytes([]byte{0, 1, 0xff, byte(*seed)})
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*seed))
	case v.CanUint():
		v.SetUint(uint64(*seed) % 200)
	default:
		panic("storagetest: a field of kind " + v.Kind().String())
	}
}

// filled returns a T with every field set.
func filled[T any]() T {
	var v T
	seed := 0
	fill(reflect.ValueOf(&v).Elem(), &seed)
	return v
}

// normal returns e in the form in which rows are compared: LastSeenAt and Presence are the store's own, times are UTC, and an empty
// token is none.
func normal(e mdm.Enrollment) mdm.Enrollment {
	e.LastSeenAt, e.Presence, e.PresenceSince = time.Time{}, 0, time.Time{}
	if len(e.PushToken) == 0 {
		e.PushToken = nil
	}
	for _, t := range []*time.Time{&e.AuthenticatedAt, &e.EnrolledAt, &e.TokenUpdatedAt, &e.EndedAt} {
		*t = t.UTC()
	}
	return e
}

func normalCertificate(c mdm.Certificate) mdm.Certificate {
	for _, t := range []*time.Time{&c.NotBefore, &c.NotAfter, &c.IssuedAt, &c.BoundAt, &c.RetiredAt} {
		*t = t.UTC()
	}
	return c
}

func enrollmentFields(w *world) {
	want := filled[mdm.Enrollment]()
	want.ID, want.State, want.Channel = mdm.EnrollmentID{Device: "D"}, mdm.Enrolled, mdm.DeviceChannel
	w.update(want.ID, checkin.Plan{Enrollments: []mdm.Enrollment{want}})
	got := w.row(want.ID)
	require.NotNil(w, got)
	assert.Equal(w, normal(want), normal(*got))
	if w.Roster != nil {
		got, err := w.Roster.Enrollment(w.Context(), want.ID)
		require.NoError(w, err)
		assert.Equal(w, normal(want), normal(*got))
	}
	want.Device, want.PushToken, want.AwaitingConfiguration, want.Topic = mdm.Device{}, nil, false, ""
	w.update(want.ID, checkin.Plan{Enrollments: []mdm.Enrollment{want}})
	assert.Equal(w, normal(want), normal(*w.row(want.ID)), "a row is written as it is, its empty fields, too")
}

func certificateFields(w *world) {
	want := filled[mdm.Certificate]()
	want.Tenant, want.Device, want.Status, want.Purpose = "", "D", mdm.CertificateActive, mdm.PurposeRenew
	id := mdm.EnrollmentID{Device: "D"}
	w.update(id, checkin.Plan{Enrollments: []mdm.Enrollment{enrollment(id, w.now())}, Certificates: []mdm.Certificate{want}})
	s := w.situation(id, want.Fingerprint)
	require.NotNil(w, s.Certificate)
	assert.Equal(w, want, normalCertificate(*s.Certificate))
	require.NotNil(w, s.Active)
	assert.Equal(w, want, normalCertificate(*s.Active))
}

func eventFields(w *world) {
	want := filled[mdm.Event]()
	want.Enrollment = mdm.EnrollmentID{Device: "D", User: "anna"}
	w.update(want.Enrollment, checkin.Plan{Events: []mdm.Event{want}})
	got := w.events(want.Enrollment)
	require.Len(w, got, 1)
	assert.Positive(w, got[0].Seq)
	want.Seq, got[0].At = got[0].Seq, got[0].At.UTC()
	assert.Equal(w, want, got[0])
}

func zeroFields(w *world) {
	id := mdm.EnrollmentID{Device: "D"}
	want := mdm.Enrollment{ID: id, Channel: mdm.DeviceChannel, State: mdm.Pending, Generation: 1}
	w.update(id, checkin.Plan{Enrollments: []mdm.Enrollment{want},
		Certificates: []mdm.Certificate{{Fingerprint: mdm.Fingerprint{1}, Device: "D", Status: mdm.CertificatePending}}})
	s := w.situation(id, mdm.Fingerprint{1})
	require.NotNil(w, s.Enrollment)
	assert.Equal(w, want, normal(*s.Enrollment))
	assert.True(w, s.Enrollment.EnrolledAt.IsZero() && s.Enrollment.EndedAt.IsZero() && s.Enrollment.TokenUpdatedAt.IsZero())
	require.NotNil(w, s.Pending)
	assert.True(w, s.Pending.IssuedAt.IsZero() && s.Pending.RetiredAt.IsZero() && s.Pending.NotAfter.IsZero())
}

func opaqueIdentifiers(w *world) {
	all := []mdm.EnrollmentID{
		{Device: "abcdef"}, {Device: "ABCDEF"}, {Device: "00008030-001A2B3C4D5E6F"}, {Device: "'; DROP TABLE enrollments; --"},
		{Device: "abcdef", User: "ü@example.com"}, {Device: "abcdef", User: "Ü@example.com"}, {Device: "%_*"}, {Device: "a/b~c"},
	}
	for i, id := range all {
		e := enrollment(id, w.now())
		e.UserLongName = numbered("row ", i)
		w.update(id, checkin.Plan{Enrollments: []mdm.Enrollment{e}})
	}
	for i, id := range all {
		e := w.row(id)
		require.NotNil(w, e, "%q", id)
		assert.Equal(w, id, e.ID)
		assert.Equal(w, numbered("row ", i), e.UserLongName, "%q is a channel of its own", id)
	}
}

func lastSeen(w *world) {
	d := w.enrolled("D")
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	row := *w.row(d.id)
	row.LastSeenAt = old
	w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}})
	assert.False(w, old.Equal(w.row(d.id).LastSeenAt))
}
