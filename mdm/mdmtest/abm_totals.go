package mdmtest

import "maps"

// ABMTotals counts what an [ABM] was asked.
type ABMTotals struct {
	Calls    map[string]int // by method and path, as "POST /devices/sync"; those that failed by a script, too
	ByStatus map[int]int    // answers; without connections that were cut
	Faults   int            // calls that [ABM.Inject] and [ABM.Queue] made fail
	Cut      int            // of them, those whose connection was cut
	Sessions int            // that were asked for and begun
	Assigned int            // devices that were given a profile, each time
	Needless int            // of them, those that had it already
	AtOnce   map[string]int // the most calls for pages of devices under way at once, by server: 1 if nobody overlapped
}

func newABMTotals() ABMTotals {
	return ABMTotals{Calls: map[string]int{}, ByStatus: map[int]int{}, AtOnce: map[string]int{}}
}

// Totals returns what the ABM was asked so far.
func (a *ABM) Totals() ABMTotals {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.totals
	t.Calls, t.ByStatus, t.AtOnce = maps.Clone(t.Calls), maps.Clone(t.ByStatus), maps.Clone(t.AtOnce)
	return t
}

// Calls returns how often a call was made, as "POST /devices/sync"; "" counts all.
func (a *ABM) Calls(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name != "" {
		return a.totals.Calls[name]
	}
	all := 0
	for _, n := range a.totals.Calls {
		all += n
	}
	return all
}
