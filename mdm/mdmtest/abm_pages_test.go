package mdmtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestABMFetchesAndSyncs(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq, branch := abm.Server("HQ"), abm.Server("Branch")
	c := newABMClient(t, abm, hq, now.now)
	abm.AddMany(hq, 250)
	abm.AddMany(branch, 3)

	p := c.page(abmFetch, "", 0)
	require.Len(t, p.Devices, 100, "the default")
	require.Equal(t, true, p.More)
	require.Equal(t, now.now(), p.Until)
	require.Empty(t, p.Devices[0].OpType)

	now.add(time.Minute)
	abm.AddSerials(hq, "NEW1")                                 // while the fetch goes on
	abm.Unassign(mdmtest.ABMSerial(3), mdmtest.ABMSerial(200)) // one that was told of, one that was not
	abm.Move(branch, mdmtest.ABMSerial(4))
	rest, cursor := c.all(abmFetch, p.Cursor, 1000)
	require.Len(t, rest, 149)
	seen := map[string]bool{}
	for _, d := range append(p.Devices, rest...) {
		require.False(t, seen[d.SerialNumber])
		seen[d.SerialNumber] = true
	}
	require.False(t, seen["NEW1"])
	require.False(t, seen[mdmtest.ABMSerial(200)])

	p = c.page(abmSync, cursor, 1000)
	require.Equal(t, "NEW1 added, "+mdmtest.ABMSerial(3)+" deleted, "+mdmtest.ABMSerial(200)+" deleted, "+mdmtest.ABMSerial(4)+" deleted", p.ops())
	require.Equal(t, now.now(), p.Devices[0].OpDate)
	require.Equal(t, false, p.More)
	p = c.page(abmSync, p.Cursor, 0)
	require.Empty(t, p.Devices)
	require.Equal(t, 247+1, abm.Count(hq))

	other := newABMClient(t, abm, branch, now.now)
	all, _ := other.all(abmFetch, "", 2)
	require.Len(t, all, 4)
	require.Empty(t, abm.Violations())
	require.Equal(t, 1, abm.Totals().AtOnce["HQ"])
}

func TestABMCursorsAreOfAServerAndAKind(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 3)
	c, other := newABMClient(t, abm, hq, now.now), newABMClient(t, abm, abm.Server("Branch"), now.now)
	other.login()
	middle := c.page(abmFetch, "", 2).Cursor
	_, done := c.all(abmFetch, middle, 2)

	violations := func(n int) { t.Helper(); require.Len(t, abm.Violations(), n, abm.Violations()) }
	c.refused(400, "EXHAUSTED_CURSOR", "POST", abmFetch, object{"cursor": done})
	c.refused(400, "INVALID_CURSOR", "POST", abmSync, object{"cursor": middle})
	other.refused(400, "INVALID_CURSOR", "POST", abmSync, object{"cursor": done})
	c.refused(400, "INVALID_CURSOR", "POST", abmSync, object{"cursor": "AAAA" + done[4:]})
	c.refused(400, "INVALID_CURSOR", "POST", abmFetch, object{"cursor": "1"})
	c.refused(400, "CURSOR_REQUIRED", "POST", abmSync, object{})
	c.refused(400, "MALFORMED_REQUEST_BODY", "POST", abmFetch, object{"limit": 0})
	violations(7)
	c.page(abmSync, done, 1001)
	violations(8) // unwise
	require.Contains(t, abm.Violations()[7], "unwise: ")

	now.add(7 * 24 * time.Hour)
	c.login()
	p := c.page(abmSync, done, 0) // still good
	now.add(time.Second)
	c.refused(400, "EXPIRED_CURSOR", "POST", abmSync, object{"cursor": done})
	c.refused(400, "INVALID_CURSOR", "POST", abmFetch, object{"cursor": middle})
	abm.ForgetCursors(hq)
	c.refused(400, "INVALID_CURSOR", "POST", abmSync, object{"cursor": p.Cursor})
	violations(8) // nobody's fault
}

func TestABMTellsOfOddOperations(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	c := newABMClient(t, abm, hq, now.now)
	_, cursor := c.all(abmFetch, "", 0)
	abm.AddSerials(hq, "A", "B", "C", "D", "E", "F")
	abm.TellOp(hq, "A", "reassigned", now.now().Add(-time.Hour))
	abm.TellOp(hq, "B", "", now.now())
	p := c.page(abmSync, cursor, 0)
	require.Equal(t, "A added, B added, C added, D added, E added, F added, A reassigned, B", p.ops())
	require.Equal(t, now.now().Add(-time.Hour), p.Devices[6].OpDate)

	abm.SetOddities(mdmtest.ABMOddities{TextMore: true, NoOpType: 2, NoOpDate: 5, OpType: "renamed"})
	p = c.page(abmSync, cursor, 5)
	require.Equal(t, "true", p.More)
	require.Equal(t, "A added, B, C renamed, D, E added", p.ops())
	require.False(t, p.Devices[3].OpDate.IsZero())
	require.True(t, p.Devices[4].OpDate.IsZero())
	abm.SetOddities(mdmtest.ABMOddities{Twice: 2, Overlap: 1})
	p = c.page(abmSync, cursor, 4)
	require.Equal(t, "A added, A added, B added, C added", p.ops())
	p = c.page(abmSync, p.Cursor, 4)
	require.Equal(t, "C added, C added, D added, E added", p.ops(), "the last one of the page before, again")

	abm.SetOddities(mdmtest.ABMOddities{Stuck: 2})
	stuck := c.page(abmSync, cursor, 4)
	require.Equal(t, cursor, stuck.Cursor)
	require.True(t, stuck.more())
	require.Equal(t, stuck.ops(), c.page(abmSync, cursor, 4).ops())
	require.NotEqual(t, cursor, c.page(abmSync, cursor, 4).Cursor)

	for _, o := range []mdmtest.ABMOddities{{ShortPages: true}, {EmptyEvery: 2}, {Twice: 1, Overlap: 9}, {Shuffle: true}, {Grows: true}} {
		abm.SetOddities(o)
		for limit := range 9 {
			told := map[string]bool{}
			devices, _ := c.all(abmSync, cursor, limit+1)
			for _, d := range devices {
				told[d.SerialNumber+d.OpType] = true
			}
			require.Len(t, told, 8, "all operations are told of, with %+v", o)
			devices, _ = c.all(abmFetch, "", limit+1)
			clear(told)
			for _, d := range devices {
				told[d.SerialNumber] = true
			}
			require.Len(t, told, 6, "and all devices")
		}
	}
	require.Empty(t, abm.Violations(), "a client may go back")
}

func TestABMFetchMayGrow(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 5)
	c := newABMClient(t, abm, hq, nil)
	abm.SetOddities(mdmtest.ABMOddities{Grows: true})
	abm.OnCall(func(call string, n int) {
		if call == "POST "+abmFetch && n == 2 {
			abm.AddSerials(hq, "NEW")
		}
	})
	devices, cursor := c.all(abmFetch, "", 3)
	require.Len(t, devices, 6)
	require.Equal(t, "NEW added", c.page(abmSync, cursor, 0).ops())
}

func TestABMFindsTwoWhoSyncAtOnce(t *testing.T) {
	t.Parallel()
	start := func() (*mdmtest.ABM, *abmClient, string) {
		abm := startABM(t, mdmtest.ABMConfig{})
		hq := abm.Server("HQ")
		c := newABMClient(t, abm, hq, nil)
		_, cursor := c.all(abmFetch, "", 0)
		abm.AddMany(hq, 6)
		return abm, c, cursor
	}
	found := func(abm *mdmtest.ABM, n int) {
		t.Helper()
		require.Len(t, abm.Violations(), n)
		for _, v := range abm.Violations() {
			require.Contains(t, v, "two chains")
		}
	}

	abm, c, _ := start() // two fetches
	one, two := c.page(abmFetch, "", 2), c.page(abmFetch, "", 2)
	two = c.page(abmFetch, two.Cursor, 2)
	found(abm, 0) // the first may have been given up
	c.page(abmFetch, one.Cursor, 2)
	found(abm, 1)
	c.page(abmFetch, two.Cursor, 2)
	found(abm, 2)

	abm, c, cursor := start() // two syncs from the same cursor
	one, two = c.page(abmSync, cursor, 2), c.page(abmSync, cursor, 2)
	found(abm, 0) // the answer may have been lost
	c.page(abmSync, two.Cursor, 2)
	found(abm, 0)
	c.page(abmSync, one.Cursor, 2)
	found(abm, 1)

	abm, c, cursor = start() // a fetch, and a sync in its middle
	one = c.page(abmFetch, "", 2)
	c.page(abmSync, cursor, 10)
	found(abm, 0)
	c.page(abmFetch, one.Cursor, 2)
	found(abm, 1)

	abm, c, cursor = start() // one client alone: crashes, repeats, and a fetch of all that is done between two syncs
	one = c.page(abmSync, cursor, 2)
	one = c.page(abmSync, one.Cursor, 2)
	c.page(abmSync, one.Cursor, 2)
	one = c.page(abmSync, one.Cursor, 2)
	require.False(t, one.more())
	c.all(abmFetch, "", 2)
	c.all(abmSync, one.Cursor, 2)
	c.page(abmFetch, "", 2)
	c.all(abmFetch, "", 2)
	found(abm, 0)
}

func TestABMDeviceTellsByVersion(t *testing.T) {
	t.Parallel()
	now := newABMNow()
	abm := startABM(t, mdmtest.ABMConfig{Clock: now.now, SignClock: now.now})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 8)
	deadline := now.now().AddDate(0, 1, 0)
	abm.Add(hq, dep.Device{SerialNumber: "IPAD<1>", OS: "iPadOS", AssetTag: "rack \"3\"", MDMMigrationDeadline: deadline,
		IMEI: []string{"1", "2"}, Extra: map[string]json.RawMessage{"new_key": json.RawMessage(`{"a":[1]}`)}})
	abm.AddSerials(hq, "OLD")
	abm.Replace("OLD", "IPAD<1>")
	c := newABMClient(t, abm, hq, now.now)
	c.login()
	devices := func(version string) []dep.Device {
		c.header["X-Server-Protocol-Version"] = []string{version}
		return c.page(abmFetch, "", 0).Devices
	}
	all := devices("10")
	require.Len(t, all, 9)
	for _, d := range all {
		want, of, ok := abm.Device(d.SerialNumber)
		require.True(t, ok)
		require.Same(t, hq, of)
		require.Equal(t, want, d)
	}
	last := all[8]
	require.Equal(t, "IPAD<1>", last.SerialNumber)
	require.Equal(t, deadline, last.MDMMigrationDeadline)
	require.True(t, last.IsReplacementDevice)
	require.JSONEq(t, `{"a":[1]}`, string(last.Extra["new_key"]))
	require.NotEmpty(t, all[0].IMEI)
	require.NotEmpty(t, all[0].WiFiMACAddress)

	last = devices("9")[8]
	require.Empty(t, last.IMEI)
	require.False(t, last.IsReplacementDevice)
	require.True(t, devices("7")[8].MDMMigrationDeadline.IsZero())
	require.Equal(t, "iPadOS", devices("7")[8].OS)
	require.Equal(t, "iOS", devices("6")[8].OS)
	require.Empty(t, devices("1")[8].OS)
	delete(c.header, "X-Server-Protocol-Version")
	require.Empty(t, c.page(abmFetch, "", 0).Devices[8].OS, "no version is 1")

	c.header["X-Server-Protocol-Version"] = []string{"10"}
	var details struct{ Devices map[string]dep.Device }
	c.call("POST", "/devices", object{"devices": []string{"IPAD<1>", "OLD", `no "such`}}, &details)
	require.Equal(t, "SUCCESS", details.Devices["IPAD<1>"].ResponseStatus)
	require.Equal(t, "NOT_FOUND", details.Devices["OLD"].ResponseStatus)
	require.Equal(t, "NOT_FOUND", details.Devices[`no "such`].ResponseStatus)
	var replaced map[string]string
	c.call("GET", "/device/replacementDetails?device=IPAD%3C1%3E", nil, &replaced)
	require.Equal(t, "OLD", replaced["original_device_serial_number"])
	c.refused(404, "DEVICE_NOT_FOUND", "GET", "/device/replacementDetails?device=OLD", nil)
	require.Empty(t, abm.Violations())
	require.True(t, strings.HasPrefix(mdmtest.ABMSerial(0), "MT"))
}
