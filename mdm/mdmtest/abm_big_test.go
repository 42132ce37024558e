package mdmtest_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

func TestABMSerialsAreUnlikeEachOther(t *testing.T) {
	t.Parallel()
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	const n = 200_000
	require.Zero(t, abm.AddMany(hq, n))
	seen := make(map[string]bool, n)
	for i := range n {
		serial := mdmtest.ABMSerial(i)
		require.False(t, seen[serial])
		seen[serial] = true
		d, s, ok := abm.Device(serial)
		if !ok || s != hq || d.SerialNumber != serial {
			t.Fatalf("device %d is not found by %s", i, serial)
		}
	}
	_, _, ok := abm.Device(mdmtest.ABMSerial(n))
	require.False(t, ok)
	_, _, ok = abm.Device("MTIIIIIIII")
	require.False(t, ok)
	require.Equal(t, n, abm.AddMany(hq, 1))
}

func TestABMHoldsAMillionDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("a second or two")
	}
	abm := startABM(t, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	abm.AddMany(hq, 1_000_000)
	held := used() - before
	require.Less(t, held, uint64(100<<20))
	t.Logf("%d MB", held>>20)

	c := newABMClient(t, abm, hq, nil)
	c.login()
	cursor, pages := "", 0
	for {
		status, text, _ := c.ask("POST", abmFetch, object{"cursor": cursor, "limit": 1000}, nil)
		require.Equal(t, 200, status)
		pages++
		cursor = text[len(`{"cursor":"`) : len(`{"cursor":"`)+60]
		if text[len(text)-6:] == "false}" {
			break
		}
	}
	require.Equal(t, 1000, pages)
	require.Empty(t, abm.Violations())
}

// BenchmarkABMPage is one page of a million devices.
func BenchmarkABMPage(b *testing.B) {
	abm := startABM(b, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 1_000_000)
	c := newABMClient(b, abm, hq, nil)
	c.login()
	for b.Loop() {
		status, _, _ := c.ask("POST", abmFetch, object{"limit": 1000}, nil)
		require.Equal(b, 200, status)
	}
}
