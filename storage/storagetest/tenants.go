package storagetest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func tenantCases() []testCase {
	return []testCase{
		{name: "the same device at two tenants",
			why: "mdm.EnrollmentID: Tenant keeps customers of one server apart, even if a UDID says otherwise",
			run: sameDeviceTwoTenants},
		{name: "certificates of tenants", needs: needsIdentity,
			why: "mdm.Certificate: a certificate is one tenant's; it proves nothing to another",
			run: tenantCertificates},
		{name: "lists of tenants",
			why: "mdm.Filter and command.Query: a list holds one tenant's rows, never another's",
			run: tenantLists},
		{name: "filters of tenants",
			why: "mdm.Filter: the zero Filter selects every enrollment of the tenant \"\", not of all",
			run: tenantTargets},
		{name: "events of tenants", needs: needsEvents,
			why: "event.Log: Events returns events of a tenant",
			run: tenantEvents},
		{name: "denials of tenants", needs: needsDeny,
			why: "identity.Denial: names a device or a certificate of a tenant",
			run: tenantDenials},
	}
}

var tenants = [...]string{"", "acme", "Acme"}

// twins enrolls the device "D" at every tenant.
func (w *world) twins() []*device {
	w.Helper()
	out := make([]*device, len(tenants))
	for i, tenant := range tenants {
		out[i] = w.enrolledID(mdm.EnrollmentID{Tenant: tenant, Device: "D"})
	}
	return out
}

func sameDeviceTwoTenants(w *world) {
	twins := w.twins()
	for i, d := range twins {
		d.user("anna")
		row := *w.row(d.id)
		row.UserLongName = tenants[i]
		w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}, AuthTokenHash: []byte("of " + tenants[i])})
		d.unlockToken("unlock " + tenants[i])
		w.enqueue(command.Order{Command: security(), To: mdm.IDs(d.id), UUID: "order of " + tenants[i]})
	}
	twins[1].checkOut()
	for i, d := range twins {
		s := w.situation(d.id, mdm.Fingerprint{})
		assert.Equal(w, tenants[i], s.Device.UserLongName)
		require.NotNil(w, s.Active)
		assert.Equal(w, d.fingerprint(), s.Active.Fingerprint)
		if i == 1 {
			assert.Equal(w, mdm.Ended, s.Device.State)
			continue
		}
		assert.Equal(w, mdm.Enrolled, s.Device.State)
		assert.Len(w, s.Users, 1)
		assert.Equal(w, "of "+tenants[i], string(s.AuthTokenHash))
		if w.Escrow != nil {
			w.expectSecrets(d.id, "unlock "+tenants[i], "")
		}
		assert.Equal(w, []string{"order of " + tenants[i]}, d.run())
	}
}

func tenantCertificates(w *world) {
	twins := w.twins()
	for i, d := range twins {
		for j, tenant := range tenants {
			id, err := w.Identity.Resolve(w.Context(), tenant, d.fingerprint())
			if i == j {
				require.NoError(w, err)
				assert.Equal(w, d.id, id)
			} else {
				assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
			}
			known := w.situation(twins[j].id, d.fingerprint()).Certificate != nil
			assert.Equal(w, i == j, known)
		}
	}
}

func tenantLists(w *world) {
	for _, d := range w.twins() {
		w.queued(security(), d)
		d.answer("Acknowledged", "never-queued")
	}
	for _, tenant := range tenants {
		entries := w.entries(command.Query{Tenant: tenant})
		require.Len(w, entries, 1)
		assert.Equal(w, tenant, entries[0].Enrollment.Tenant)
		aside := w.aside(tenant)
		require.Len(w, aside, 1)
		assert.Equal(w, tenant, aside[0].Enrollment.Tenant)
		if w.Roster != nil {
			assert.Equal(w, []mdm.EnrollmentID{{Tenant: tenant, Device: "D"}}, w.roster(mdm.Filter{Tenant: tenant}))
		}
	}
	assert.Empty(w, w.entries(command.Query{Tenant: "other"}))
}

func tenantTargets(w *world) {
	twins := w.twins()
	receipt := w.enqueue(command.Order{Command: security(), To: mdm.Matching(mdm.Filter{Tenant: "acme"})})
	assert.Equal(w, 1, receipt.Queued)
	assert.Equal(w, []string{receipt.UUID}, twins[1].run())
	receipt = w.enqueue(command.Order{Command: security(), To: mdm.Matching(mdm.Filter{})})
	assert.Equal(w, 1, receipt.Queued)
	assert.Equal(w, 0, w.cancel(receipt.UUID, mdm.Matching(mdm.Filter{Tenant: "acme"})))
	assert.Equal(w, []string{receipt.UUID}, twins[0].run())
	receipt = w.enqueue(to(security(), twins...))
	assert.Equal(w, len(twins), receipt.Queued, "an order may name channels of many tenants")
}

func tenantEvents(w *world) {
	for _, d := range w.twins() {
		w.queued(security(), d)
	}
	for _, tenant := range tenants {
		events, err := w.Events.Events(w.Context(), tenant, 0, 1000)
		require.NoError(w, err)
		require.NotEmpty(w, events)
		for _, e := range events {
			assert.Equal(w, tenant, e.Enrollment.Tenant)
		}
	}
	events, err := w.Events.Events(w.Context(), "other", 0, 1000)
	require.NoError(w, err)
	assert.Empty(w, events)
}

func tenantDenials(w *world) {
	twins := w.twins()
	w.deny(identity.Denial{Tenant: "acme", Device: "D", Reason: "stolen"})
	w.deny(identity.Denial{Tenant: "acme", Fingerprint: twins[0].fingerprint(), Reason: "stolen"})
	for i, d := range twins {
		assert.Equal(w, i == 1, w.situation(d.id, d.fingerprint()).Denied != "", tenants[i])
	}
	got, err := w.Deny.Denials(w.Context(), "")
	require.NoError(w, err)
	assert.Empty(w, got)
}
