package main

import "time"

// Scale says how much of everything is done.
type Scale struct {
	Rounds   int           // measured windows of each system; the median counts
	Warmup   bool          // one more round before them, which does not count
	Devices  int           // that poll, and that take commands
	Enroll   int           // enrollments in a window
	Idle     time.Duration // length of a window of idle polls
	Commands int           // for each device in a window of cycles
	Long     int           // for each device in the run that memory is measured over

	History        []int // answered commands of a device, growing
	HistoryDevices int
	HistoryPolls   int // in a window, one at a time

	Fanout []int // targets of one order, growing; the fleet has as many
}

// full is what figures are taken from. A window of idle polls is as long as the time that this library writes last-seen
// times behind, so that their cost is inside.
func full() Scale {
	return Scale{
		Rounds: 5, Warmup: true, Devices: 2000, Enroll: 1000, Idle: 10 * time.Second, Commands: 5, Long: 20,
		History: []int{0, 10, 100, 300, 1000}, HistoryDevices: 20, HistoryPolls: 500,
		Fanout: []int{1000, 10_000, maxNanoTargets, 100_000, 1_000_000},
	}
}

// quick does everything once or twice and measures nothing that could be trusted.
func quick() Scale {
	return Scale{
		Rounds: 2, Devices: 40, Enroll: 40, Idle: 300 * time.Millisecond, Commands: 3, Long: 5,
		History: []int{0, 20}, HistoryDevices: 4, HistoryPolls: 50,
		Fanout: []int{1000, 3000, 10_000},
	}
}
