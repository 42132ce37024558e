// Package recur does work now and then, as several processes do on one database.
package recur

import (
	"context"
	"math/rand/v2"
	"time"
)

// Every calls f until ctx ends, and returns the cause of that: the first time within first, then each time half an interval to
// one and a half after it has returned. So processes that start together do not stay together.
func Every(ctx context.Context, interval, first time.Duration, f func()) error {
	timer := time.NewTimer(rand.N(first + 1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		f()
		timer.Reset(interval/2 + rand.N(interval))
	}
}
