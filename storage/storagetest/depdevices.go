package storagetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

func depDeviceCases() []testCase {
	return []testCase{
		{name: "kept as it is",
			why: "dep.Store: a record that is returned is written whole, and comes back as Record.Body keeps it",
			run: deviceKept},
		{name: "what is known",
			why: "dep.Store: Keep loads the records of these devices of the server; known has no entry for one that is not known",
			run: devicesKnown},
		{name: "nothing is shared",
			why: "dep.Store: what a caller does with what it was given, or gave, changes nothing that is stored",
			run: deviceCopied},
		{name: "one transaction", needs: needsEvents,
			why: "dep.Store: Keep writes the server, the records and the events together; events are the tenant's",
			run: deviceEvents},
		{name: "keep that fails",
			why: "dep.Store: if keep fails nothing is written, and its error is returned as it is",
			run: keepFailed},
		{name: "what cannot be kept",
			why: "dep.Kept.Check: a Malformed error, and nothing is written",
			run: keepLimits},
		{name: "what cannot be asked for",
			why: "dep.CheckSerials, dep.Query.Check: a Malformed error",
			run: devicesLimits},
		{name: "whole pages",
			why: "dep.MaxBatch: so many devices are kept at once, whatever Apple says of them",
			run: devicePages},
		{name: "serial numbers are bytes",
			why: "dep.Store: Records are ordered by serial number, in bytes; no two serial numbers are the same but one",
			run: deviceSerials},
		{name: "selected",
			why: "dep.Query: what Selects says of each record, whatever is asked for together",
			run: devicesSelected},
		{name: "page by page",
			why: "dep.Query: After is the last one of the page before; Limit is the most",
			run: devicesPaged},
		{name: "those that are due",
			why: "dep.Query: with DueBefore, ordered by when they are due, then by serial number",
			run: devicesDue},
		{name: "on several servers",
			why: "dep.Store: a device is known by its serial number and the server, so that one that moves loses nothing, in whatever order that is heard",
			run: deviceMoved},
		{name: "several servers at once",
			why: "dep.Store: it is safe for concurrent use by many goroutines and processes, and no server waits for another",
			run: serversAtOnce},
		{name: "counted",
			why: "dep.Counts: devices that are not gone, and of these those whose profile has to be changed",
			run: devicesCounted},
		{name: "never swept", needs: needsSweep,
			why: "dep.Store: records stay until their server is deleted, also those that are gone",
			run: devicesStay},
	}
}

// aRecord returns one of a device that Apple told of.
func aRecord(key dep.Key, serial string) dep.Record {
	return dep.Record{Server: key, Serial: serial, Device: dep.Device{SerialNumber: serial}, SeenAt: endOfJuly}
}

// fullRecord returns one with all fields set.
func fullRecord(key dep.Key, serial string) dep.Record {
	at := func(n int) time.Time { return endOfJuly.Add(time.Duration(n) * 1001 * time.Microsecond) }
	apples := func(n int) time.Time { return endOfJuly.Add(time.Duration(n) * 1_000_001) }
	return dep.Record{Server: key, Serial: serial, Gone: true, GoneAt: at(1), SeenAt: at(2), Round: 3, Want: "W",
		Assignment: dep.Assignment{Due: at(4), Tries: 5, Profile: "P", Answer: "NOT_ACCESSIBLE", At: at(6)},
		Device: dep.Device{SerialNumber: serial, Model: "iPad", Description: "IPAD <WI-FI> & \"more\" 日本語\n\x00", Color: "grey", AssetTag: "ü", OS: "iPadOS", DeviceFamily: "iPad",
			ProfileStatus: dep.ProfilePushed, ProfileUUID: "U", ProfileAssignTime: apples(1), ProfilePushTime: apples(2), DeviceAssignedDate: apples(3),
			DeviceAssignedBy: "admin@example.com", MDMMigrationDeadline: apples(4), OpType: dep.OpAdded, OpDate: apples(5), ResponseStatus: "SUCCESS",
			IMEI: []string{"1", "2"}, MEID: []string{"3"}, EID: "4", WiFiMACAddress: "5", BluetoothMACAddress: "6", EthernetMACAddress: "7",
			IsReplacementDevice: true, ReleasedByReplacement: true,
			Extra: map[string]json.RawMessage{"new": json.RawMessage(`{"a":[1,null,"x"]}`), "odd": json.RawMessage("1.50")}}}
}

func (w *world) keep(key dep.Key, serials []string, keep func(*dep.Server, map[string]*dep.Record) (dep.Kept, error)) {
	w.Helper()
	require.NoError(w, w.DEP.Keep(w.Context(), key, serials, keep))
}

// kept writes records of one server.
func (w *world) kept(records ...dep.Record) {
	w.Helper()
	w.keep(records[0].Server, nil, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
		return dep.Kept{Records: records}, nil
	})
}

func (w *world) records(q dep.Query) []dep.Record {
	w.Helper()
	out := []dep.Record{}
	for r, err := range w.DEP.Records(w.Context(), q) {
		require.NoError(w, err)
		out = append(out, r)
	}
	return out
}

func (w *world) deviceRecords(tenant, serial string) []dep.Record {
	w.Helper()
	out, err := w.DEP.DeviceRecords(w.Context(), tenant, serial)
	require.NoError(w, err)
	return out
}

// known returns what is known of devices.
func (w *world) known(key dep.Key, serials ...string) map[string]dep.Record {
	w.Helper()
	var out map[string]dep.Record
	w.keep(key, serials, func(_ *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
		out = map[string]dep.Record{}
		for serial, r := range known {
			out[serial] = *r
		}
		return dep.Kept{}, nil
	})
	return out
}

func serials(records []dep.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, r.Serial)
	}
	return out
}

// expectRecord reads a record in each of the ways there are.
func (w *world) expectRecord(want dep.Record) {
	w.Helper()
	assert.Equal(w, map[string]dep.Record{want.Serial: want}, w.known(want.Server, want.Serial))
	assert.Equal(w, []dep.Record{want}, w.deviceRecords(want.Server.Tenant, want.Serial))
	assert.Contains(w, w.records(dep.Query{Server: want.Server, Gone: true}), want)
}

func deviceKept(w *world) {
	key := w.added("a")
	full, bare := fullRecord(key, "C02FULL"), dep.Record{Server: key, Serial: "C02BARE"}
	w.kept(full, bare)
	w.expectRecord(full)
	w.expectRecord(bare)
	w.kept(aRecord(key, "C02FULL"))
	w.expectRecord(aRecord(key, "C02FULL"))

	precise := aRecord(key, "C02PRECISE")
	at := time.Date(2027, 1, 2, 3, 4, 5, 678_901_999, time.FixedZone("", -7200))
	precise.SeenAt, precise.GoneAt, precise.Assignment.Due, precise.Assignment.At, precise.Device.OpDate = at, at, at, at, at
	w.kept(precise)
	ours := at.UTC().Truncate(time.Microsecond)
	precise.SeenAt, precise.GoneAt, precise.Assignment.Due, precise.Assignment.At, precise.Device.OpDate = ours, ours, ours, ours, at.UTC()
	w.expectRecord(precise)

	odd := aRecord(key, "C02ODD")
	odd.Device.Description, odd.Device.IMEI = "\xff", []string{}
	odd.Device.Extra = map[string]json.RawMessage{"a": json.RawMessage("\"\xff\x80\""), "b": json.RawMessage(` [ "<" ] `)}
	w.kept(odd)
	odd.Device.Description, odd.Device.IMEI = "\ufffd", nil
	odd.Device.Extra = map[string]json.RawMessage{"a": json.RawMessage("\"\ufffd\""), "b": json.RawMessage(`["\u003c"]`)}
	w.expectRecord(odd)
}

func devicesKnown(w *world) {
	key, other := w.added("a"), w.added("b")
	w.kept(aRecord(key, "C02"), aRecord(key, "C03"), aRecord(key, "C04"))
	w.kept(aRecord(other, "C05"))
	assert.Empty(w, w.known(key))
	assert.Empty(w, w.known(key, "C05", "c02"))
	want := map[string]dep.Record{"C02": aRecord(key, "C02"), "C04": aRecord(key, "C04")}
	assert.Equal(w, want, w.known(key, "C04", "C05", "C02", "C04", "C06", "C02"), "some of them twice")
	w.keep(key, []string{"C02", "C03", "C06"}, func(_ *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
		known["C02"].Want, known["C03"].Want = "W", "not returned"
		return dep.Kept{Records: []dep.Record{*known["C02"], aRecord(key, "C06"), aRecord(key, "C07")}}, nil
	})
	changed := aRecord(key, "C02")
	changed.Want = "W"
	assert.Equal(w, []dep.Record{changed, aRecord(key, "C03"), aRecord(key, "C04"), aRecord(key, "C06"), aRecord(key, "C07")}, w.records(dep.Query{Server: key}))
	assert.Equal(w, []dep.Record{aRecord(other, "C05")}, w.records(dep.Query{Server: other}))
}

func deviceCopied(w *world) {
	key := w.added("a")
	given := fullRecord(key, "C02")
	w.kept(given)
	spoil := func(r *dep.Record) {
		r.Device.IMEI[0], r.Device.Extra["new"][1] = "mine", '"'
		r.Device.Extra["more"] = json.RawMessage("1")
		r.Want = "mine"
	}
	spoil(&given)
	for _, r := range w.records(dep.Query{Server: key, Gone: true}) {
		spoil(&r)
	}
	for _, r := range w.deviceRecords("tenant", "C02") {
		spoil(&r)
	}
	w.keep(key, []string{"C02"}, func(_ *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
		spoil(known["C02"])
		return dep.Kept{}, nil
	})
	w.expectRecord(fullRecord(key, "C02"))
}

func deviceEvents(w *world) {
	key := w.added("a")
	r := aRecord(key, "C02")
	events := []mdm.Event{r.Event(mdm.EventDeviceAdded, endOfJuly, "first"), r.Event(mdm.EventDeviceModified, endOfJuly.Add(1), "second & <third>")}
	w.keep(key, []string{"C02"}, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
		s.Sync.Cursor = "next"
		return dep.Kept{Records: []dep.Record{r}, Events: events}, nil
	})
	found, err := w.Events.Events(w.Context(), "tenant", 0, 0)
	require.NoError(w, err)
	require.Len(w, found, 2)
	assert.Less(w, found[0].Seq, found[1].Seq)
	found[0].Seq, found[1].Seq = 0, 0
	assert.Equal(w, events, found)
	w.expectServer(dep.Server{Key: key, AddedAt: endOfJuly, Sync: dep.Sync{Cursor: "next"}})
	none, err := w.Events.Events(w.Context(), "", 0, 0)
	require.NoError(w, err)
	assert.Empty(w, none)
	w.keep(key, nil, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
		return dep.Kept{Events: events[:1]}, nil
	})
	leased, err := w.Events.Lease(w.Context(), "consumer", 10, lease)
	require.NoError(w, err)
	assert.Len(w, leased, 3)
}

// spoiled does all that keep can do.
func spoiled(key dep.Key, s *dep.Server, known map[string]*dep.Record) dep.Kept {
	s.Profile, s.Sync.Cursor = "mine", "mine"
	known["C02"].Want = "mine"
	known["C02"].Device.Extra["new"][1] = '"'
	r := aRecord(key, "C03")
	return dep.Kept{Records: []dep.Record{*known["C02"], r}, Events: []mdm.Event{r.Event(mdm.EventDeviceAdded, endOfJuly, "")}}
}

func (w *world) expectUnspoiled(key dep.Key) {
	w.Helper()
	w.expectServer(fullServer(key))
	assert.Equal(w, []dep.Record{fullRecord(key, "C02")}, w.records(dep.Query{Server: key, Gone: true}))
	if w.Events != nil {
		found, err := w.Events.Events(w.Context(), key.Tenant, 0, 0)
		require.NoError(w, err)
		assert.Empty(w, found)
	}
}

func keepFailed(w *world) {
	key := serverKey("a")
	w.addServer(fullServer(key))
	w.kept(fullRecord(key, "C02"))
	for _, failure := range []error{errors.New("not now"), mdm.Errorf(mdm.Forbidden, "test", "not yours"), mdm.Errorf(mdm.Internal, "test", "broken")} {
		err := w.DEP.Keep(w.Context(), key, []string{"C02"}, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			return spoiled(key, s, known), failure
		})
		assert.Same(w, failure, err, "as it is")
		w.expectUnspoiled(key)
	}
	assert.Panics(w, func() {
		_ = w.DEP.Keep(w.Context(), key, []string{"C02"}, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			spoiled(key, s, known)
			panic("a bug of the caller's")
		})
	})
	w.expectUnspoiled(key)
}

func keepLimits(w *world) {
	key, other := serverKey("a"), w.added("b")
	w.addServer(fullServer(key))
	w.kept(fullRecord(key, "C02"))
	with := func(change func(*dep.Record)) func(*dep.Kept) {
		return func(k *dep.Kept) {
			r := aRecord(key, "C09")
			change(&r)
			k.Records = append(k.Records, r)
		}
	}
	for name, spoil := range map[string]func(*dep.Kept){
		"too many": func(k *dep.Kept) {
			for i := range dep.MaxBatch {
				k.Records = append(k.Records, aRecord(key, numbered("D", i)))
			}
		},
		"of another server":       with(func(r *dep.Record) { r.Server = other }),
		"of another tenant":       with(func(r *dep.Record) { r.Server.Tenant = "" }),
		"of no server":            with(func(r *dep.Record) { r.Server = dep.Key{} }),
		"no serial number":        with(func(r *dep.Record) { r.Serial = "" }),
		"a long serial number":    with(func(r *dep.Record) { r.Serial = strings.Repeat("x", 65) }),
		"an odd serial number":    with(func(r *dep.Record) { r.Serial = "C\x00" }),
		"twice":                   with(func(r *dep.Record) { r.Serial = "C03" }),
		"a time of no calendar":   with(func(r *dep.Record) { r.SeenAt = time.Date(30_000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"too much":                with(func(r *dep.Record) { r.Want = strings.Repeat("x", dep.MaxBody) }),
		"what is no JSON":         with(func(r *dep.Record) { r.Device.Extra = map[string]json.RawMessage{"a": json.RawMessage("{")} }),
		"another tenant's event":  func(k *dep.Kept) { k.Events[0].Enrollment.Tenant = "x" },
		"an event without tenant": func(k *dep.Kept) { k.Events[0].Enrollment.Tenant = "" },
	} {
		err := w.DEP.Keep(w.Context(), key, []string{"C02"}, func(s *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			kept := spoiled(key, s, known)
			spoil(&kept)
			return kept, nil
		})
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), name)
		w.expectUnspoiled(key)
	}
	assert.Empty(w, w.records(dep.Query{Server: other}))
}

func devicesLimits(w *world) {
	key := w.added("a")
	w.kept(aRecord(key, "C02"))
	many := make([]string, dep.MaxBatch+1)
	for i := range many {
		many[i] = "C02"
	}
	assert.Len(w, w.known(key, many[:dep.MaxBatch]...), 1)
	odd := []string{"", "C\x00", "\xff", "C 2", "C02 ", " C02", "C\n", strings.Repeat("x", 65)}
	for _, asked := range append([][]string{many}, slices.Collect(slices.Chunk(odd, 1))...) {
		err := w.DEP.Keep(w.Context(), key, asked, func(*dep.Server, map[string]*dep.Record) (dep.Kept, error) {
			w.Errorf("there is nothing to keep")
			return dep.Kept{}, nil
		})
		assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), "%q", asked[0])
	}
	queries := []dep.Query{{Server: key, After: "C01", DueBefore: endOfJuly}}
	for _, serial := range odd {
		assert.Empty(w, w.deviceRecords("tenant", serial), "%q", serial)
		assert.Empty(w, w.deviceRecords(serial, "C02"), "%q", serial)
		if serial != "" {
			queries = append(queries, dep.Query{Server: key, After: serial})
		}
	}
	for _, q := range queries {
		n := 0
		for r, err := range w.DEP.Records(w.Context(), q) {
			n++
			assert.Equal(w, mdm.Malformed, mdm.CodeOf(err), "%q", q.After)
			assert.Equal(w, dep.Record{}, r)
		}
		assert.Equal(w, 1, n)
	}
}

func devicePages(w *world) {
	key := w.added("a")
	page := func(extra string, want string) (out []dep.Record) {
		for i := range dep.MaxBatch {
			r := aRecord(key, numbered("C", i))
			r.Want, r.Device.Extra = want, map[string]json.RawMessage{"extra": json.RawMessage(`"` + extra + `"`)}
			out = append(out, r)
		}
		return out
	}
	for n, extra := range []string{"x", strings.Repeat(`\"`, 4000), ""} { // some MB are more than servers take at once
		want := page(extra, fmt.Sprint(n))
		w.keep(key, serials(want), func(_ *dep.Server, known map[string]*dep.Record) (dep.Kept, error) {
			assert.Len(w, known, len(want)*min(n, 1))
			return dep.Kept{Records: want}, nil
		})
		assert.Equal(w, want, w.records(dep.Query{Server: key}))
	}
}

func bySerial(a, b dep.Record) int { return cmp.Compare(a.Serial, b.Serial) }
