package main

import (
	"context"
	"errors"
	"sync"

	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
)

// How a push.Dispatcher calls its Pusher by default.
const (
	dispatcherBatch    = 500
	dispatcherParallel = 4
)

// ourPushes is a client of this library.
type ourPushes struct {
	lists  bool // as a Dispatcher calls it; else all in one call
	client *apns.Client
}

func (p *ourPushes) open(o pushOrder) error {
	if p.client != nil {
		return nil
	}
	cert, roots, err := o.credentials()
	if err != nil {
		return err
	}
	p.client = &apns.Client{Certificates: push.Fixed(cert), Host: o.APNs, RootCAs: roots, Concurrency: o.Concurrency}
	return nil
}

func (p *ourPushes) close() {
	if p.client != nil {
		p.client.CloseIdleConnections()
		p.client = nil
	}
}

func (p *ourPushes) push(o pushOrder) (accepted int, err error) {
	if err := p.open(o); err != nil {
		return 0, err
	}
	if !p.lists {
		return p.call(0, o.Pushes)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, dispatcherParallel)
	for from := 0; from < o.Pushes; from += dispatcherBatch {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			n, failed := p.call(from, min(from+dispatcherBatch, o.Pushes))
			mu.Lock()
			defer mu.Unlock()
			accepted, err = accepted+n, errors.Join(err, failed)
		})
	}
	group.Wait()
	return accepted, err
}

// call pushes to the tokens from one number to before another.
func (p *ourPushes) call(from, to int) (accepted int, err error) {
	targets := make([]push.Target, to-from)
	for i := range targets {
		targets[i] = push.Target{Topic: benchTopic, Token: benchToken(from + i), Magic: benchMagic}
	}
	results, err := p.client.Push(context.Background(), targets)
	for _, r := range results {
		if r.Outcome == push.Delivered {
			accepted++
		}
	}
	return accepted, err
}
