package practice

import (
	"math"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/internal/clip"
)

// What all practices share: waits, and words of devices.

// noLimit is the longest wait that there is.
const noLimit = time.Duration(math.MaxInt64)

// waitOr returns d or, if it is not positive, otherwise.
func waitOr(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// doubled is how long to wait after so many failures: first after the first one, and twice as long each time, so many times, but
// never longer than most.
func doubled(first, most time.Duration, failures, times int) time.Duration {
	wait := first
	for n := min(failures-1, times); n > 0 && wait < most; n-- {
		if wait > most/2 {
			return most
		}
		wait *= 2
	}
	return min(wait, most)
}

// said keeps what a device says from filling the state of a run.
func said(text string) string {
	const most = 300
	return clip.Text(text, most, most)
}

// complaint returns what a device says went wrong with a command that it did not acknowledge, nil if it says nothing.
func complaint(e command.Entry) error {
	result, err := command.ParseResult(e.Result)
	if err != nil {
		return nil
	}
	return result.Err()
}
