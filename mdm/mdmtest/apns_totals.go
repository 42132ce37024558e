package mdmtest

import "sync/atomic"

// APNsTotals counts what became of requests. The counts are exact over any number of pushes, once nothing is under way:
// then Taken = Answered + Reset + Lost + Canceled.
type APNsTotals struct {
	Taken    int // well-formed pushes that were looked at: not those that are Refused, Malformed or Dropped
	Accepted int // of them, those that woke the device
	Repeated int // of them, those with an apns-id that was taken before; only with APNsConfig.CountRepeats

	Answered int // taken and answered, if the client still read it
	Reset    int // taken, but the stream was reset: PushAnswer.Reset, a panic of a script
	Lost     int // taken, but the connection was broken: PushAnswer.Lose
	Canceled int // taken, but the client or the connection was gone before the answer

	Refused   int // streams that were refused unseen: PushAnswer.Refuse, and those beyond the limit
	Dropped   int // pushes that were not taken because the connection was broken: PushAnswer.Drop
	Malformed int // requests that break Apple's rules and were answered so

	ByStatus map[int]int // Answered and Malformed, by the status
}

const apnsStatuses = 1000 // of HTTP, and 0

// apnsCount is what APNsTotals is made of.
type apnsCount struct {
	taken, accepted, repeated       atomic.Int64
	answered, reset, lost, canceled atomic.Int64
	refused, dropped, malformed     atomic.Int64

	status [apnsStatuses]atomic.Int64
}

// Totals returns what became of all requests.
func (a *APNs) Totals() APNsTotals {
	c := &a.count
	t := APNsTotals{
		Taken: int(c.taken.Load()), Accepted: int(c.accepted.Load()), Repeated: int(c.repeated.Load()),
		Answered: int(c.answered.Load()), Reset: int(c.reset.Load()), Lost: int(c.lost.Load()),
		Canceled: int(c.canceled.Load()), Refused: int(c.refused.Load()), Dropped: int(c.dropped.Load()),
		Malformed: int(c.malformed.Load()), ByStatus: map[int]int{},
	}
	for status := range c.status {
		if n := int(c.status[status].Load()); n > 0 {
			t.ByStatus[status] = n
		}
	}
	return t
}
