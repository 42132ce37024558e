package mdmtest

import (
	"context"
	"errors"
	"time"

	"github.com/gomdm/applemdm/mdm/schema"
)

// Run connects whenever the device's push token is pushed, until ctx ends. Failures to reach the server are left to the
// next push, as on a real device; after an answer that ends the management it returns that answer.
func (d *Device) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		m := d.managed()
		if m == nil {
			return ErrNotManaged
		}
		if d.cfg.APNs == nil {
			return errors.New("mdmtest: Run needs an APNs")
		}
		if err := d.runAs(ctx, m); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// runAs serves the pushes to m until the device's management changes.
func (d *Device) runAs(ctx context.Context, m *management) error {
	woken, cancel := d.cfg.APNs.Subscribe(m.token)
	defer cancel()
	changed := time.NewTicker(100 * time.Millisecond) // a renewal brings a new token
	defer changed.Stop()
	for d.managed() == m {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed.C:
		case <-woken:
			var refused *StatusError
			if err := d.Poll(ctx); asStatus(err, &refused) && refused.Unenrolls() {
				return err
			}
		}
	}
	return nil
}

// TokenUpdate sends the current push token again, or a new one.
func (d *Device) TokenUpdate(ctx context.Context, fresh bool) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	m := d.managed()
	if m == nil {
		return ErrNotManaged
	}
	if fresh {
		next := *m
		next.token = randomBytes(32)
		if err := d.tokenUpdate(ctx, &next); err != nil {
			return err
		}
		d.install(&next)
		return nil
	}
	return d.tokenUpdate(ctx, m)
}

// ErrNotRemovable is returned where the user may not remove the MDM profile.
var ErrNotRemovable = errors.New("mdmtest: the MDM profile cannot be removed by the user")

// CheckOut removes the MDM profile and says so, once, as a device does whose user removes it. The error is ErrNotRemovable if
// Automated Device Enrollment forbids it.
func (d *Device) CheckOut(ctx context.Context) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	m := d.managed()
	if m == nil {
		return ErrNotManaged
	}
	if a, ok := d.Assigned(); ok && !a.IsMDMRemovable {
		return ErrNotRemovable
	}
	d.remove(m)
	if !schema.Or(m.mdm.CheckOutWhenRemoved, false) {
		return nil
	}
	_, err := d.checkin(ctx, m, "CheckOut", d.identifiers(), map[string]any{"Topic": m.mdm.Topic})
	return err
}

// Wipe erases the device. It tells nobody.
func (d *Device) Wipe() {
	d.talk.Lock()
	defer d.talk.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
}

// Backup is what a backup of a device holds.
type Backup struct {
	device   *Device
	current  *management
	unlock   []byte
	air      *delivery
	assigned *Assignment
}

// Backup takes a backup.
func (d *Device) Backup() Backup {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Backup{device: d, current: d.current, unlock: d.unlock, air: d.delivery, assigned: d.assigned}
}

// Restore brings a backup back. On the device that it was taken from, management resumes with a TokenUpdate and without
// Authenticate; on any other device there is none afterwards, and nothing is sent.
func (d *Device) Restore(ctx context.Context, b Backup) error {
	d.Wipe()
	if b.device != d || b.current == nil {
		return nil
	}
	d.talk.Lock()
	defer d.talk.Unlock()
	m := *b.current
	m.token, m.magic = randomBytes(32), randomUUID()
	m.client = d.httpClient(&m)
	d.mu.Lock()
	d.current, d.unlock, d.delivery, d.assigned = &m, b.unlock, b.air, b.assigned
	d.mu.Unlock()
	return d.tokenUpdate(ctx, &m)
}

// SetBootstrapToken escrows a token; an empty one deletes it.
func (d *Device) SetBootstrapToken(ctx context.Context, token []byte) error {
	_, err := d.tell(ctx, "SetBootstrapToken", map[string]any{"BootstrapToken": token})
	return err
}

// GetBootstrapToken asks for the escrowed token; nil if there is none.
func (d *Device) GetBootstrapToken(ctx context.Context) ([]byte, error) {
	body, err := d.tell(ctx, "GetBootstrapToken", nil)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	var reply struct{ BootstrapToken []byte }
	return reply.BootstrapToken, unmarshal(body, &reply)
}

// Tell sends any check-in message on the device channel and returns the body of the answer.
func (d *Device) Tell(ctx context.Context, messageType string, keys map[string]any) ([]byte, error) {
	return d.tell(ctx, messageType, keys)
}

func (d *Device) tell(ctx context.Context, messageType string, keys map[string]any) ([]byte, error) {
	d.talk.Lock()
	defer d.talk.Unlock()
	m := d.managed()
	if m == nil {
		return nil, ErrNotManaged
	}
	return d.checkin(ctx, m, messageType, d.identifiers(), keys)
}

// Report sends any command report on the device channel: a duplicate, a late one, one with a foreign CommandUUID. It
// returns the body of the answer; a command in it is not carried out.
func (d *Device) Report(ctx context.Context, keys map[string]any) ([]byte, error) {
	d.talk.Lock()
	defer d.talk.Unlock()
	m := d.managed()
	if m == nil {
		return nil, ErrNotManaged
	}
	return d.report(ctx, m, d.identifiers(), keys)
}
