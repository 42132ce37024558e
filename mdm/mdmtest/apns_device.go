package mdmtest

// apnsDevice is what an APNs knows of a device token.
type apnsDevice struct {
	kept bool // a push waits for the device to connect
	subs map[chan struct{}]struct{}
}

// Subscribe returns a channel that gets a value when a push to token is accepted; pushes that nobody has read yet are
// one, as on a device. A push that came before the first subscription was kept and comes at once. Call cancel when
// done.
func (a *APNs) Subscribe(token []byte) (woken <-chan struct{}, cancel func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sub := make(chan struct{}, 1)
	d := a.device(token)
	d.subs[sub] = struct{}{}
	if d.kept {
		d.kept = false
		sub <- struct{}{}
	}
	return sub, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(d.subs, sub)
	}
}

// device returns the record of token. The caller holds a.mu.
func (a *APNs) device(token []byte) *apnsDevice {
	d := a.devices[string(token)]
	if d == nil {
		d = &apnsDevice{subs: map[chan struct{}]struct{}{}}
		a.devices[string(token)] = d
	}
	return d
}

// deliver wakes the subscribers of p's token, or keeps p for the next one.
func (a *APNs) deliver(p Push) {
	a.mu.Lock()
	hook := a.delivered
	d := a.device(p.Token)
	d.kept = len(d.subs) == 0
	for sub := range d.subs {
		select {
		case sub <- struct{}{}:
		default: // woken already
		}
	}
	a.mu.Unlock()
	if hook != nil {
		hook(p)
	}
}
