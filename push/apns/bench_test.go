package apns_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/push"
)

// BenchmarkPush includes the simulated server: its time and its allocations.
func BenchmarkPush(b *testing.B) {
	server, c := fixture(b)
	batch := targets(500)
	_, err := c.Push(bg, batch[:1])
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		results, err := c.Push(bg, batch)
		if err != nil || results[0].Outcome != push.Delivered {
			b.Fatal(err, results[0])
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "pushes/s")
	_, total := server.Connections()
	require.Equal(b, 1, total)
}
