package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/storage"
)

// oddSerials are different from each other, if only by their bytes.
var oddSerials = []string{"abc", "ABC", "aBC", "abc.", "abc-", "abc_", "ab%", "ábc", "a\u0301bc", "Ábc", "straße", "strasse", "ａｂｃ", "日本語", "😀", "'", `\`, "İ", "ı", "i", "I", "0", "00",
	"1", "01", "1e0", strings.Repeat("x", 64), strings.Repeat("ü", 32), strings.Repeat("x", 63)}

func deviceSerials(w *world) {
	key := w.added("a")
	var want []dep.Record
	for i, serial := range oddSerials {
		r := aRecord(key, serial)
		r.Round, r.Assignment.Due = i+1, endOfJuly
		want = append(want, r)
	}
	w.kept(want...)
	assert.Len(w, w.known(key, oddSerials...), len(oddSerials))
	for _, r := range want {
		w.expectRecord(r)
		r.Want = "changed"
		w.kept(r)
		w.expectRecord(r)
		r.Want = ""
		w.kept(r)
	}
	slices.SortFunc(want, bySerial)
	assert.Equal(w, want, w.records(dep.Query{Server: key}))
	assert.Equal(w, want, w.records(dep.Query{Server: key, DueBefore: endOfJuly}), "due at one time: by serial number")
	for i := range want {
		assert.Equal(w, serials(want[i+1:]), serials(w.records(dep.Query{Server: key, After: want[i].Serial})), "after %q", want[i].Serial)
	}
}

// someRecords returns records of all kinds.
func someRecords(key dep.Key, n int) []dep.Record {
	var out []dep.Record
	for i := range n {
		r := aRecord(key, numbered("C", i))
		r.Gone, r.Round = i%5 == 0, i%3
		if i%4 != 0 {
			r.Assignment.Due = endOfJuly.Add(time.Duration(i*7919%60) * time.Microsecond)
		}
		out = append(out, r)
	}
	return out
}

func devicesSelected(w *world) {
	key, other := w.added("a"), w.added("b")
	all := someRecords(key, 300)
	w.kept(all...)
	w.kept(someRecords(other, 50)...)
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		q := dep.Query{Server: key, Gone: random.IntN(2) == 0, NotRound: random.IntN(4), Limit: []int{0, 0, 1, 7, 1000}[random.IntN(5)]}
		switch random.IntN(3) {
		case 0:
			q.After = numbered("C", random.IntN(300))
		case 1:
			q.DueBefore = endOfJuly.Add(time.Duration(random.IntN(70)*1000 - 1 + random.IntN(3)))
		}
		var want []dep.Record
		for _, r := range all {
			if q.Selects(&r) {
				want = append(want, r)
			}
		}
		if !q.DueBefore.IsZero() {
			slices.SortStableFunc(want, func(a, b dep.Record) int { return a.Assignment.Due.Compare(b.Assignment.Due) })
		}
		if q.Limit > 0 && len(want) > q.Limit {
			want = want[:q.Limit]
		}
		assert.Equal(w, serials(want), serials(w.records(q)), "%+v", q)
	}
}

func devicesPaged(w *world) {
	const n = 1700
	key := w.added("a")
	all := someRecords(key, n)
	for page := range slices.Chunk(all, dep.MaxBatch) {
		w.kept(page...)
	}
	want := serials(all)
	assert.Equal(w, want, serials(w.records(dep.Query{Server: key, Gone: true})))
	for _, limit := range []int{1, 499, 500, 501, 1000, 1001, n, n + 1} {
		assert.Equal(w, want[:min(limit, n)], serials(w.records(dep.Query{Server: key, Gone: true, Limit: limit})), "limit %d", limit)
	}
	var found []string
	q := dep.Query{Server: key, Gone: true, Limit: 300}
	for page := w.records(q); len(page) > 0; page = w.records(q) {
		found = append(found, serials(page)...)
		q.After = page[len(page)-1].Serial
	}
	assert.Equal(w, want, found)
	assert.Equal(w, want[1:2], serials(w.records(dep.Query{Server: key, Gone: true, After: want[0] + "x", Limit: 1})), "after one that there is not")
	for r, err := range w.DEP.Records(w.Context(), dep.Query{Server: key, Gone: true}) {
		require.NoError(w, err)
		if r.Serial == want[700] {
			break // its reader has enough
		}
		w.kept(r) // it may write, too
	}
}

func devicesDue(w *world) {
	const n = 1300
	key := w.added("a")
	var all []dep.Record
	for i := range n {
		r := aRecord(key, numbered("C", (i*7919)%n))
		r.Assignment.Due = endOfJuly.Add(time.Duration(i/100) * time.Second) // many at one time
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b dep.Record) int {
		if c := a.Assignment.Due.Compare(b.Assignment.Due); c != 0 {
			return c
		}
		return bySerial(a, b)
	})
	for page := range slices.Chunk(all, dep.MaxBatch) {
		w.kept(page...)
	}
	never, before := aRecord(key, "never"), aRecord(key, "before")
	before.Assignment.Due = time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)
	w.kept(never, before)
	all = append([]dep.Record{before}, all...)
	for _, seconds := range []int{-1, 0, 6, 12, 1_000_000_000} {
		at := endOfJuly.Add(time.Duration(seconds) * time.Second)
		var want []dep.Record
		for _, r := range all {
			if !r.Assignment.Due.After(at) {
				want = append(want, r)
			}
		}
		assert.Equal(w, serials(want), serials(w.records(dep.Query{Server: key, DueBefore: at})), "%d", seconds)
		assert.Equal(w, serials(want[:min(len(want), 750)]), serials(w.records(dep.Query{Server: key, DueBefore: at, Gone: true, Limit: 750})))
	}
	done := all[0]
	done.Assignment.Due = time.Time{}
	w.kept(done)
	assert.Equal(w, all[1].Serial, w.records(dep.Query{Server: key, DueBefore: endOfJuly.Add(time.Hour), Limit: 1})[0].Serial)
}

func deviceMoved(w *world) {
	day := func(n int) time.Time { return endOfJuly.AddDate(0, 0, n) }
	names := func(serial string) (out []string) {
		for _, r := range w.deviceRecords("tenant", serial) {
			out = append(out, fmt.Sprint(r.Server.Name, " ", r.Gone))
		}
		return out
	}
	from, to, third := w.added("from"), w.added("to"), w.added("third")
	w.addServer(dep.Server{Key: dep.Key{Tenant: "another", Name: "from"}})
	w.kept(aRecord(dep.Key{Tenant: "another", Name: "from"}, "C02"))
	tell := func(key dep.Key, d dep.Device, gone bool) {
		w.Helper()
		w.keep(key, []string{d.SerialNumber}, func(_ *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			r := dep.Record{Server: key, Serial: d.SerialNumber}
			if k := known[d.SerialNumber]; k != nil {
				r = *k
			}
			r.Tell(d, gone, endOfJuly)
			return dep.Kept{Records: []dep.Record{r}}, nil
		})
	}
	assert.Empty(w, w.deviceRecords("tenant", "C02"))
	for serial, newsFirst := range map[string]bool{"C02": true, "C03": false} {
		old := dep.Device{SerialNumber: serial, DeviceAssignedDate: day(1), OpDate: day(2)}
		fresh := dep.Device{SerialNumber: serial, DeviceAssignedDate: day(10)} // a fetch says no more
		tell(from, old, false)
		assert.Equal(w, []string{"from false"}, names(serial))
		if newsFirst {
			tell(to, fresh, false)
			assert.Equal(w, []string{"to false", "from false"}, names(serial), "the newest first")
			tell(from, dep.Device{SerialNumber: serial, OpDate: day(11)}, true)
		} else {
			tell(from, dep.Device{SerialNumber: serial, OpDate: day(11)}, true)
			assert.Equal(w, []string{"from true"}, names(serial))
			tell(to, fresh, false)
		}
		assert.Equal(w, []string{"to false", "from true"}, names(serial), "it is not lost, although its going was heard of later than it went")
		tell(to, dep.Device{SerialNumber: serial, OpDate: day(20)}, true)
		assert.Equal(w, []string{"to true", "from true"}, names(serial), "both are gone: the newest first")
		tell(third, dep.Device{SerialNumber: serial}, false)
		assert.Equal(w, []string{"third false", "to true", "from true"}, names(serial))
	}
	found := w.deviceRecords("another", "C02")
	require.Len(w, found, 1)
	assert.Equal(w, "another", found[0].Server.Tenant)
	assert.Empty(w, w.deviceRecords("", "C02"))
	assert.Empty(w, w.deviceRecords("tenant", "c02"))
}

func serversAtOnce(w *world) {
	const rounds, size = 5, 150
	handles := []*world{w, w.again()}
	var group sync.WaitGroup
	for n := range 6 {
		key := w.added(numbered("s", n))
		group.Go(func() {
			for round := range rounds {
				var page []dep.Record
				for i := range size { // half of them are new, and on each server the order is another
					page = append(page, aRecord(key, numbered("C", (i*(n+1)*7)%151+round*size/2)))
				}
				assert.NoError(w, handles[n%2].DEP.Keep(w.Context(), key, serials(page), func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
					s.Sync.Fetched += len(page) - len(known)
					return dep.Kept{Records: page, Events: []mdm.Event{page[0].Event(mdm.EventDeviceAdded, endOfJuly, "")}}, nil
				}))
			}
		})
	}
	group.Wait()
	for n := range 6 {
		s, err := w.DEP.Server(w.Context(), serverKey(numbered("s", n)))
		require.NoError(w, err)
		assert.Equal(w, s.Sync.Fetched, len(w.records(dep.Query{Server: s.Key})), "each is new once")
	}
}

func devicesCounted(w *world) {
	key, other := w.added("a"), w.added("b")
	count := func(key dep.Key, devices, due int) {
		w.Helper()
		n, err := w.DEP.CountRecords(w.Context(), key)
		require.NoError(w, err)
		assert.Equal(w, dep.Counts{Devices: devices, Due: due}, n)
	}
	count(key, 0, 0)
	records := []dep.Record{aRecord(key, "1"), aRecord(key, "2"), aRecord(key, "3"), aRecord(key, "4"), aRecord(key, "5")}
	records[0].Assignment.Due = endOfJuly
	records[1].Assignment.Due = time.Unix(0, 0)
	records[2].Gone, records[2].Assignment.Due = true, endOfJuly
	records[3].Gone = true
	w.kept(records...)
	w.kept(aRecord(other, "1"))
	count(key, 3, 2)
	count(other, 1, 0)
	records[0].Assignment.Due, records[1].Gone = time.Time{}, true
	w.kept(records...)
	count(key, 2, 0)
}

func devicesStay(w *world) {
	key := w.added("a")
	gone := fullRecord(key, "C02")
	w.kept(gone, aRecord(key, "C03"))
	_, err := w.Sweep.Sweep(w.Context(), endOfJuly.AddDate(100, 0, 0), storage.Retention{})
	require.NoError(w, err)
	w.expectServer(dep.Server{Key: key, AddedAt: endOfJuly})
	assert.Equal(w, []dep.Record{gone, aRecord(key, "C03")}, w.records(dep.Query{Server: key, Gone: true}))
}
