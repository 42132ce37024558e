package mdmtest

const apnsKeptTokens = 1_000_000 // that a push waits for

// Subscribe returns a channel that gets a value when a push to token is accepted; pushes that nobody has read yet are
// one, as on a device. A push that came before the first subscription was kept and comes at once, if its apns-expiration lies
// ahead. Call cancel when done.
func (a *APNs) Subscribe(token []byte) (woken <-chan struct{}, cancel func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := string(token)
	sub := make(chan struct{}, 1)
	if a.subs[key] == nil {
		a.subs[key] = map[chan struct{}]struct{}{}
	}
	a.subs[key][sub] = struct{}{}
	if expires, kept := a.kept[key]; kept {
		delete(a.kept, key)
		if expires.After(a.config.Clock()) {
			sub <- struct{}{}
		}
	}
	return sub, func() { a.unsubscribe(key, sub) }
}

func (a *APNs) unsubscribe(key string, sub chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.subs[key], sub)
	if len(a.subs[key]) == 0 {
		delete(a.subs, key)
	}
}

// wake wakes the subscribers of p's token, or keeps the push for the next one. The caller holds a.mu.
func (a *APNs) wake(p *Push) {
	subs := a.subs[string(p.Token)]
	for sub := range subs {
		select {
		case sub <- struct{}{}:
		default: // woken already
		}
	}
	if len(subs) == 0 && !a.config.Lean && p.Expiration.After(p.At) && len(a.kept) < apnsKeptTokens {
		a.kept[string(p.Token)] = p.Expiration
	}
}
