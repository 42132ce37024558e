package mdmtest

import "context"

// DeleteProfile takes a profile off, as the user of the device can in its settings. The server is not told. It is false if
// there is no such profile. The profile with the management is not among these: see CheckOut.
func (d *Device) DeleteProfile(identifier string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := d.profiles[identifier] != nil
	delete(d.profiles, identifier)
	return there
}

// AwaitConfiguration sends a TokenUpdate that says whether the user waits for UserConfigured, as on Shared iPad after a
// login. With fresh it has a new push token.
func (u *User) AwaitConfiguration(ctx context.Context, waits, fresh bool) error {
	if fresh {
		u.token = randomBytes(32)
	}
	keys := map[string]any{"Topic": u.topic(), "Token": u.token, "PushMagic": u.magic, "NotOnConsole": false, "AwaitingConfiguration": waits}
	return u.ask(ctx, "TokenUpdate", keys, nil)
}

// PollInSetup connects as a Mac does that sets up its user: its reports have the key UserConfiguration.
func (u *User) PollInSetup(ctx context.Context) error {
	u.device.talk.Lock()
	defer u.device.talk.Unlock()
	c := u.channel()
	c.extra["UserConfiguration"] = true
	return u.device.session(ctx, c)
}
