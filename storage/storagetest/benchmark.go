package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// Benchmark measures what a server does most: idle polls, answers that get the next command, orders for many, TokenUpdates
// and pages of devices from Apple. The numbers of a good store do not depend on the history, and hardly on the depth of a queue.
func Benchmark(b *testing.B, open Opener) {
	for _, size := range []struct{ depth, history int }{{0, 0}, {0, 2000}, {100, 0}, {100, 2000}} {
		variant := fmt.Sprintf("depth=%d/history=%d", size.depth, size.history)
		b.Run("idle/"+variant, func(b *testing.B) { benchmarkIdle(b, open, size.depth, size.history) })
		b.Run("answer/"+variant, func(b *testing.B) { benchmarkAnswer(b, open, size.depth, size.history) })
	}
	for _, targets := range []int{1, 1000} {
		b.Run(fmt.Sprintf("enqueue/targets=%d", targets), func(b *testing.B) { benchmarkEnqueue(b, open, targets) })
	}
	b.Run("tokenupdate", func(b *testing.B) { benchmarkTokenUpdate(b, open) })
	for _, waiting := range []int{0, 2000} {
		b.Run(fmt.Sprintf("steps/waiting=%d", waiting), func(b *testing.B) { benchmarkSteps(b, open, waiting) })
	}
	b.Run("parallel", func(b *testing.B) { benchmarkParallel(b, open) })
	for _, what := range []string{benchNew, benchSeen, benchUnchanged} {
		b.Run("keep/"+what, func(b *testing.B) { benchmarkKeep(b, open, what) })
	}
}

func benchmarkWorld(b *testing.B, open Opener) *world {
	b.Helper()
	n := name(fmt.Sprintf("%s-%d", b.Name(), time.Now().UnixNano()))
	return &world{TB: b, Stores: open(b, n), cfg: Config{Open: open}, name: n}
}

// filledQueue enrolls a device with so many open and finished commands.
func (w *world) filledQueue(depth, history int) *device {
	w.Helper()
	d := w.enrolled("D")
	quiet := func(c command.Command) {
		o := to(c, d)
		o.NoPush = true
		w.enqueue(o)
	}
	for range history {
		quiet(security())
	}
	if history > 0 { // all at once into the history
		row := *w.row(d.id)
		row.Generation++
		w.update(d.id, checkin.Plan{Enrollments: []mdm.Enrollment{row}, NewGeneration: true})
	}
	for range depth {
		quiet(profiles())
	}
	return d
}

// benchmarkIdle measures a poll. What is on the queue is not due yet, so that nothing changes.
func benchmarkIdle(b *testing.B, open Opener, depth, history int) {
	w := benchmarkWorld(b, open)
	d := w.filledQueue(0, history)
	for range depth {
		o := to(profiles(), d)
		o.NotBefore = w.now().AddDate(1, 0, 0)
		w.enqueue(o)
	}
	r := report(d, w.now())
	b.ReportAllocs()
	for b.Loop() {
		offer, err := w.Command.Exchange(b.Context(), r, admitted)
		if err != nil || offer != nil {
			b.Fatal(offer, err)
		}
	}
}

// benchmarkAnswer measures one answer that gets the next command, and the order that keeps the queue as deep as it was.
func benchmarkAnswer(b *testing.B, open Opener, depth, history int) {
	w := benchmarkWorld(b, open)
	d := w.filledQueue(depth+1, history)
	offer := d.idle()
	require.NotNil(b, offer)
	r := report(d, w.now())
	r.Status = command.StatusAcknowledged
	o := to(profiles(), d)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Command.Enqueue(b.Context(), o); err != nil {
			b.Fatal(err)
		}
		r.CommandUUID = offer.UUID
		var err error
		if offer, err = w.Command.Exchange(b.Context(), r, admitted); err != nil || offer == nil {
			b.Fatal(offer, err)
		}
	}
}

func benchmarkEnqueue(b *testing.B, open Opener, targets int) {
	w := benchmarkWorld(b, open)
	o := command.Order{Command: security(), To: mdm.IDs(w.enrollMany(targets)...)}
	b.ReportAllocs()
	for b.Loop() {
		receipt, err := w.Command.Enqueue(b.Context(), o)
		if err != nil || receipt.Queued != targets {
			b.Fatal(receipt.Queued, err)
		}
	}
}

func benchmarkTokenUpdate(b *testing.B, open Opener) {
	w := benchmarkWorld(b, open)
	d := w.enrolled("D")
	b.ReportAllocs()
	for b.Loop() {
		d.newToken()
		if err := d.tokenUpdate(); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkParallel measures many devices that fetch and acknowledge one command each.
func benchmarkParallel(b *testing.B, open Opener) {
	w := benchmarkWorld(b, open)
	all := w.enrollMany(64)
	next := make(chan mdm.EnrollmentID, len(all))
	for _, id := range all {
		next <- id
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		id := <-next
		defer func() { next <- id }()
		r := &command.Report{ID: id, Channel: mdm.DeviceChannel, At: w.now(), Raw: []byte("report")}
		for pb.Next() {
			receipt, err := w.Command.Enqueue(b.Context(), command.Order{Command: security(), To: mdm.IDs(id)})
			if err != nil {
				b.Error(err)
				return
			}
			r.Status, r.CommandUUID = command.StatusIdle, ""
			if _, err = w.Command.Exchange(b.Context(), r, admitted); err == nil {
				r.Status, r.CommandUUID = command.StatusAcknowledged, receipt.UUID
				_, err = w.Command.Exchange(b.Context(), r, admitted)
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
