package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	rpprof "runtime/pprof"
	"sync"
	"sync/atomic"
)

// controlHandler is what the bench asks of a child, on a port of its own. Profiles of net/http/pprof are there, too.
func controlHandler(b backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bench/enqueue", answer(func(ctx context.Context, chains [][]order) (int, error) { return enqueueAll(ctx, b, chains) }))
	mux.HandleFunc("POST /bench/clone", answer(func(ctx context.Context, c cloneOrder) (int, error) {
		return c.To - c.From, b.clone(ctx, c.Template, c.From, c.To)
	}))
	mux.HandleFunc("POST /bench/gc", answer(func(context.Context, struct{}) (int, error) { debug.FreeOSMemory(); return 0, nil }))
	mux.HandleFunc("POST /bench/cpu", answer(func(context.Context, struct{}) (float64, error) { return ownCPU() }))
	var profile bytes.Buffer
	mux.HandleFunc("POST /bench/profile/start", answer(func(context.Context, struct{}) (int, error) {
		profile.Reset()
		return 0, rpprof.StartCPUProfile(&profile)
	}))
	mux.HandleFunc("POST /bench/profile/stop", answer(func(context.Context, struct{}) ([]byte, error) {
		rpprof.StopCPUProfile()
		return profile.Bytes(), nil
	}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	if api := b.api(); api != nil {
		mux.Handle("/v1/", api)
	}
	return mux
}

// cloneOrder asks for enrollments like the one of Template.
type cloneOrder struct {
	Template string `json:"template"`
	From     int    `json:"from"`
	To       int    `json:"to"`
}

// answer makes a handler of a function from one JSON value to another.
func answer[In, Out any](f func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		err := json.NewDecoder(r.Body).Decode(&in)
		var out Out
		if err == nil {
			out, err = f(r.Context(), in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

// enqueueAll queues the orders of a chain one after the other, and several chains at a time.
func enqueueAll(ctx context.Context, b backend, chains [][]order) (int, error) {
	const workers = 16
	var queued, next atomic.Int64
	var group sync.WaitGroup
	var failed [workers]error
	for n := range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(chains)) && failed[n] == nil; i = next.Add(1) - 1 {
				for _, o := range chains[i] {
					got, err := b.enqueue(ctx, o)
					if want := max(len(o.IDs), o.Everyone); err == nil && got != want {
						err = fmt.Errorf("a command is on %d queues, not %d", got, want)
					}
					queued.Add(int64(got))
					failed[n] = errors.Join(failed[n], err)
				}
			}
		})
	}
	group.Wait()
	return int(queued.Load()), errors.Join(failed[:]...)
}

// cloneID names the devices of a cloned fleet; they are as long as real ones. Number 0 is the one that is cloned.
func cloneID(n int) string { return fmt.Sprintf("%s%d", clonePrefix, cloneBase+n) }

const (
	clonePrefix = "00008101-"
	cloneBase   = 1_000_000_000_000_000
)
