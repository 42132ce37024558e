package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// What Apple tells of a page of devices.
const (
	benchNew       = "new"       // none is known: all are written, each with an event
	benchSeen      = "seen"      // all are known and written with when they were seen
	benchUnchanged = "unchanged" // all are known and none is written
)

// benchmarkKeep measures pages of devices, each told of as a fetch does.
func benchmarkKeep(b *testing.B, open Opener, what string) {
	w := benchmarkWorld(b, open)
	key := w.added("a")
	page := func(n int) (out []dep.Record) {
		for i := range dep.MaxBatch {
			r := fullRecord(key, fmt.Sprintf("C%04d%06d", i, n)) // not in order
			r.Gone, r.Device.Extra = false, nil
			out = append(out, r)
		}
		return out
	}
	keep := func(n int, what string) {
		page := page(n)
		err := w.DEP.Keep(b.Context(), key, serials(page), func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			s.Sync.Fetched++
			k := dep.Kept{}
			for i := range page {
				r := known[page[i].Serial]
				if r == nil {
					r = &dep.Record{Server: key, Serial: page[i].Serial}
				}
				if r.Tell(page[i].Device, false, endOfJuly.Add(time.Duration(s.Sync.Fetched)*time.Second)) == dep.Added {
					k.Events = append(k.Events, r.Event(mdm.EventDeviceAdded, endOfJuly, ""))
				}
				if what != benchUnchanged {
					k.Records = append(k.Records, *r)
				}
			}
			return k, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if what != benchNew {
		keep(0, benchNew)
	}
	n := 0
	for b.Loop() {
		if what == benchNew {
			n++
		}
		keep(n, what)
	}
	b.ReportMetric(dep.MaxBatch*float64(b.N)/b.Elapsed().Seconds(), "devices/s")
}
