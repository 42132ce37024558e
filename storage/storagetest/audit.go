package storagetest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
	"github.com/gomdm/applemdm/storage"
)

func auditCases() []testCase {
	return []testCase{
		{name: "numbered and chained",
			why: "audit.Log: Append returns the entry with its number and hash; Entries yields what was appended, in order",
			run: auditOrder},
		{name: "every field",
			why: "audit.Entry: what is written is read, to the bit: its hash covers all of it",
			run: auditFields},
		{name: "tenants apart",
			why: "audit.Log: each tenant has a chain of its own",
			run: auditTenants},
		{name: "limits",
			why: "audit.Log: Malformed if Actor, Action or Reason is missing or something is too long or no text; nothing is written then",
			run: auditLimits},
		{name: "many at once on two handles",
			why: "audit.Log: the chain has no gaps and no forks, however many append to it",
			run: auditRace},
		{name: "paged",
			why: "audit.Log: Entries begins behind a number and ends at its limit, or when its reader has enough",
			run: auditPages},
		{name: "nothing of a canceled context",
			why: "audit.Log: Append returns the entry when it is safely stored, or an error",
			run: auditCanceled},
		{name: "on another handle", needs: needsDurable,
			why: "audit.Log: it goes on where it ended",
			run: auditAgain},
		{name: "never swept", needs: needsSweep,
			why: "audit.Log: nothing in it is ever changed or deleted",
			run: auditKept},
	}
}

func anEntry(tenant string, n int) audit.Entry {
	return audit.Entry{Tenant: tenant, Actor: "anna", Action: "tested", Reason: fmt.Sprint("ticket ", n)}
}

func (w *world) append(e audit.Entry) audit.Entry {
	w.Helper()
	out, err := w.Audit.Append(w.Context(), e)
	require.NoError(w, err)
	return out
}

func (w *world) audited(tenant string, after int64, limit int) []audit.Entry {
	w.Helper()
	out := []audit.Entry{}
	for e, err := range w.Audit.Entries(w.Context(), tenant, after, limit) {
		require.NoError(w, err)
		e.At = e.At.UTC()
		out = append(out, e)
	}
	return out
}

// verified returns the head of a chain that is whole.
func (w *world) verified(tenant string) audit.Head {
	w.Helper()
	head, err := audit.Verify(w.Audit.Entries(w.Context(), tenant, 0, 0), audit.Head{})
	require.NoError(w, err)
	stored, err := w.Audit.Head(w.Context(), tenant)
	require.NoError(w, err)
	require.Equal(w, stored, head)
	return head
}

func auditOrder(w *world) {
	assert.Equal(w, audit.Head{}, w.verified(""), "of an empty log")
	assert.Empty(w, w.audited("", 0, 0))
	var want []audit.Entry
	for n := range 5 {
		e := w.append(anEntry("", n))
		assert.Equal(w, int64(n+1), e.Number)
		assert.Equal(w, e.Sum(), e.Hash)
		want = append(want, e)
		assert.Equal(w, e.Head(), w.verified(""))
	}
	assert.Equal(w, want, w.audited("", 0, 0))
	assert.Equal(w, want[1].Hash, want[2].Previous)
	want[0].Reason = "changed by its reader"
	assert.Equal(w, "ticket 0", w.audited("", 0, 1)[0].Reason)
}

func auditFields(w *world) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 123456789, time.FixedZone("", 3600))
	e := audit.Entry{Number: 99, At: at, Actor: "änna & <co>", Action: "secret.released", Reason: "line 1\nline 2\t'\"\\", Tenant: "t",
		Enrollment: mdm.EnrollmentID{Tenant: "t", Device: "D", User: "U/x"}, Details: map[string]string{"b": "2", "a": "ü & <x>", "empty": ""},
		Previous: audit.Hash{1}, Hash: audit.Hash{2}}
	got := w.append(e)
	assert.Equal(w, int64(1), got.Number)
	assert.Equal(w, audit.Hash{}, got.Previous)
	assert.Equal(w, at.UTC().Truncate(time.Microsecond), got.At)
	e.Number, e.At, e.Previous, e.Hash = got.Number, got.At, got.Previous, got.Hash
	assert.Equal(w, e, got)
	assert.Equal(w, []audit.Entry{e}, w.audited("t", 0, 0))
	got.Details["a"] = "changed by its writer"
	assert.Equal(w, []audit.Entry{e}, w.audited("t", 0, 0))
	epoch := anEntry("t", 0)
	epoch.At = time.Unix(0, 0)
	w.append(epoch)
	for _, length := range []int{audit.MaxName, audit.MaxReason} {
		long := anEntry("t", 0)
		long.Actor, long.Action, long.Reason = strings.Repeat("a", min(length, audit.MaxName)), strings.Repeat("b", audit.MaxName), strings.Repeat("r", length)
		w.append(long)
	}
	w.verified("t")
}

func auditTenants(w *world) {
	w.append(anEntry("a", 0))
	w.append(anEntry("b", 1))
	w.append(audit.Entry{Actor: "x", Action: "y", Reason: "z", Enrollment: mdm.EnrollmentID{Tenant: "a", Device: "D"}})
	w.append(anEntry("", 2))
	w.append(audit.Entry{Actor: "x", Action: "y", Reason: "z", Enrollment: mdm.EnrollmentID{Tenant: "c"}}) // of a tenant and no device
	assert.Equal(w, int64(1), w.verified("c").Number)
	assert.Equal(w, int64(2), w.verified("a").Number)
	assert.Equal(w, int64(1), w.verified("b").Number)
	assert.Equal(w, int64(1), w.verified("").Number)
	assert.Equal(w, "D", w.audited("a", 1, 0)[0].Enrollment.Device, "an entry is of the tenant of its enrollment")
	assert.Equal(w, int64(0), w.verified("A").Number)
}

func auditLimits(w *world) {
	for what, change := range map[string]func(*audit.Entry){
		"no actor":        func(e *audit.Entry) { e.Actor = " " },
		"no action":       func(e *audit.Entry) { e.Action = "" },
		"no reason":       func(e *audit.Entry) { e.Reason = "" },
		"long actor":      func(e *audit.Entry) { e.Actor = strings.Repeat("a", audit.MaxName+1) },
		"long reason":     func(e *audit.Entry) { e.Reason = strings.Repeat("a", audit.MaxReason+1) },
		"long tenant":     func(e *audit.Entry) { e.Tenant = strings.Repeat("a", audit.MaxName+1) },
		"no text":         func(e *audit.Entry) { e.Reason = "\xff" },
		"tenant with NUL": func(e *audit.Entry) { e.Tenant = "a\x00" },
		"NUL":             func(e *audit.Entry) { e.Details = map[string]string{"a": "\x00"} },
		"long value":      func(e *audit.Entry) { e.Details = map[string]string{"a": strings.Repeat("v", audit.MaxValue+1)} },
		"long key":        func(e *audit.Entry) { e.Details = map[string]string{strings.Repeat("k", audit.MaxKey+1): ""} },
		"user alone":      func(e *audit.Entry) { e.Enrollment.User = "U" },
		"control":         func(e *audit.Entry) { e.Enrollment.Device = "D\n" },
		"another tenant's": func(e *audit.Entry) {
			e.Tenant, e.Enrollment = "b", mdm.EnrollmentID{Tenant: "c", Device: "D"}
		},
	} {
		e := anEntry("", 0)
		change(&e)
		_, err := w.Audit.Append(w.Context(), e)
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), what)
	}
	assert.Empty(w, w.audited("", 0, 0))
	w.verified("")
}

func auditRace(w *world) {
	handles := []*world{w, w.again()}
	const writers, each = 8, 6
	var group sync.WaitGroup
	var mu sync.Mutex
	got := map[int64]audit.Entry{}
	for i := range writers {
		group.Go(func() {
			for n := range each {
				e, err := handles[i%2].Audit.Append(w.Context(), anEntry("t", i*each+n))
				if !assert.NoError(w, err) {
					return
				}
				mu.Lock()
				got[e.Number] = e
				mu.Unlock()
			}
		})
	}
	group.Wait()
	require.Len(w, got, writers*each, "each has a number of its own")
	assert.Equal(w, int64(writers*each), w.verified("t").Number)
	for _, e := range handles[1].audited("t", 0, 0) {
		assert.Equal(w, got[e.Number], e)
	}
}

func auditPages(w *world) {
	const many = 505 // more than a store reads at once
	for n := range many {
		w.append(anEntry("", n))
	}
	assert.Len(w, w.audited("", 0, 0), many)
	assert.Len(w, w.audited("", 0, 502), 502)
	assert.Empty(w, w.audited("", many, 0))
	page := w.audited("", 3, 2)
	require.Len(w, page, 2)
	assert.Equal(w, int64(4), page[0].Number)
	assert.Len(w, w.audited("", -1, 3), 3)
	for _, err := range w.Audit.Entries(w.Context(), "", 0, 0) {
		require.NoError(w, err)
		break // a reader that stops early holds nothing up
	}
	w.append(anEntry("", many))
	w.verified("")
}

func auditCanceled(w *world) {
	_, err := w.Audit.Append(canceled(), anEntry("", 0))
	require.Error(w, err)
	for _, err := range w.Audit.Entries(canceled(), "", 0, 0) {
		require.Error(w, err)
	}
	assert.Empty(w, w.audited("", 0, 0))
}

func auditAgain(w *world) {
	var head audit.Head
	w.session(needsAudit, func(w *world) {
		w.append(anEntry("", 0))
		e := w.append(anEntry("", 1))
		head = e.Head()
	})
	w.session(needsAudit, func(w *world) {
		assert.Equal(w, head, w.verified(""))
		e := w.append(anEntry("", 2))
		assert.Equal(w, head.Hash, e.Previous)
		w.verified("")
	})
}

func auditKept(w *world) {
	d := w.enrolled("D")
	e := anEntry("", 0)
	e.At, e.Enrollment = w.now().AddDate(-20, 0, 0), d.id
	w.append(e)
	head := w.verified("")
	d.checkOut()
	short := storage.Retention{Events: time.Second, Commands: time.Second, Asides: time.Second, Challenges: time.Second}
	_, err := w.Sweep.Sweep(w.Context(), w.now().AddDate(20, 0, 0), short)
	require.NoError(w, err)
	assert.Equal(w, head, w.verified(""))
}
