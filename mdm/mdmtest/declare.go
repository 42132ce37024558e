package mdmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gomdm/applemdm/mdm/ddm"
)

// declared is declarative management on one channel, from the first DeclarativeManagement command until the management ends.
type declared struct {
	token   string // of the manifest that was carried out last
	have    map[string]ddm.Declaration
	due     bool           // a synchronization did not come to its end
	data    []byte         // the tokens that the command brought
	dirty   bool           // something is to be reported
	told    map[string]any // values of status items as the server has them
	fetched int            // declarations, for tests of what is not fetched again
}

// declare switches declarative management on, and has the channel synchronize when the session is over.
func (d *Device) declare(o Order) {
	data, _ := o.Command["Data"].([]byte)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.declared == nil {
		d.declared = map[string]*declared{}
	}
	c := d.declared[o.User]
	if c == nil {
		c = &declared{have: map[string]ddm.Declaration{}, told: map[string]any{}}
		d.declared[o.User] = c
	}
	c.due, c.data = true, data
}

// catchUp does what declarative management has to do on a channel: it synchronizes if that is due, and reports what is new. What
// fails is left as it was, until the next session.
func (d *Device) catchUp(ctx context.Context, m *management, ch channel) {
	c := d.declarations(ch.user)
	if c == nil || d.managed() != m {
		return
	}
	if c.due && d.synchronize(ctx, m, ch, c) != nil {
		return
	}
	if d.managed() == m {
		_ = d.sendStatus(ctx, m, ch, c, false)
	}
}

func (d *Device) declarations(user string) *declared {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.declared[user]
}

// Sync synchronizes the device channel, as a device does also without a command. It does nothing before the first one. The error
// is that of the request that failed; the device keeps what it has then.
func (d *Device) Sync(ctx context.Context) error { return d.onChannel(ctx, d.channel(), true, false) }

// SendStatus sends a status report of the device channel: what has changed, or, if full, everything, as devices do about daily.
// It does nothing before the first DeclarativeManagement command.
func (d *Device) SendStatus(ctx context.Context, full bool) error {
	return d.onChannel(ctx, d.channel(), false, full)
}

func (d *Device) onChannel(ctx context.Context, ch channel, sync, full bool) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	m := d.managed()
	if m == nil {
		return ErrNotManaged
	}
	c := d.declarations(ch.user)
	switch {
	case c == nil:
		return nil
	case sync:
		if err := d.synchronize(ctx, m, ch, c); err != nil {
			return err
		}
	}
	return d.sendStatus(ctx, m, ch, c, full)
}

// ask sends a DeclarativeManagement message.
func (d *Device) ask(ctx context.Context, m *management, ch channel, endpoint string, data []byte) ([]byte, error) {
	keys := map[string]any{"Endpoint": endpoint}
	if data != nil {
		keys["Data"] = data
	}
	return d.checkin(ctx, m, "DeclarativeManagement", ch.ids, withExtra(ch, keys))
}

// synchronize does what Apple describes: tokens, manifest, what is new of it, and then all at once.
func (d *Device) synchronize(ctx context.Context, m *management, ch channel, c *declared) error {
	data := c.data
	d.mu.Lock()
	c.due, c.data = true, nil // until it is done
	d.mu.Unlock()
	if data == nil {
		var err error
		if data, err = d.ask(ctx, m, ch, "tokens", nil); err != nil {
			return err
		}
	}
	var tokens ddm.TokensResponse
	if err := json.Unmarshal(data, &tokens); err != nil {
		return fmt.Errorf("mdmtest: tokens: %w", err)
	}
	if tokens.SyncTokens.DeclarationsToken == c.token && c.token != "" {
		d.mu.Lock()
		c.due = false
		d.mu.Unlock()
		return nil
	}
	body, err := d.ask(ctx, m, ch, "declaration-items", nil)
	if err != nil {
		return err
	}
	var items ddm.DeclarationItemsResponse
	if err := json.Unmarshal(body, &items); err != nil {
		return fmt.Errorf("mdmtest: declaration-items: %w", err)
	}
	next, fetched, err := d.fetch(ctx, m, ch, c, items)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.have, c.token, c.due, c.dirty = next, items.DeclarationsToken, false, true
	c.fetched += fetched
	return nil
}

// fetch returns what the device has after a manifest. What is answered 404 is not there any more.
func (d *Device) fetch(ctx context.Context, m *management, ch channel, c *declared, items ddm.DeclarationItemsResponse) (map[string]ddm.Declaration, int, error) {
	next, fetched := map[string]ddm.Declaration{}, 0
	for kind, list := range map[ddm.Kind][]ddm.DeclarationItemsResponseDeclarationItem{
		ddm.Activation: items.Declarations.Activations, ddm.Asset: items.Declarations.Assets,
		ddm.Configuration: items.Declarations.Configurations, ddm.Management: items.Declarations.Management} {
		for _, i := range list {
			if known, ok := c.have[i.Identifier]; ok && known.ServerToken == i.ServerToken && ddm.KindOf(known.Payload.DeclarationType()) == kind {
				next[i.Identifier] = known
				continue
			}
			fetched++
			body, err := d.ask(ctx, m, ch, ddm.Endpoint{Name: ddm.EndpointDeclaration, Kind: kind, Identifier: i.Identifier}.String(), nil)
			var refused *StatusError
			if asStatus(err, &refused) && refused.Status == http.StatusNotFound {
				continue
			}
			if err != nil {
				return nil, 0, err
			}
			got, err := ddm.ParseDeclaration(body)
			if err != nil {
				return nil, 0, fmt.Errorf("mdmtest: declaration %s: %w", i.Identifier, err)
			}
			next[i.Identifier] = *got
		}
	}
	return next, fetched, nil
}

// Declared returns a declaration that the device channel has, active or not; false if it has none of that identifier.
func (d *Device) Declared(identifier string) (ddm.Declaration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.declared[""]; c != nil {
		got, ok := c.have[identifier]
		return got, ok
	}
	return ddm.Declaration{}, false
}

// Active returns the identifiers of the activations and configurations of the device channel that have effect now, in order.
func (d *Device) Active() []string { return d.activeOn("") }

// Active is [Device.Active] of a user channel.
func (u *User) Active() []string { return u.device.activeOn(u.channel().user) }

func (d *Device) activeOn(user string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for id, s := range d.judge(d.declared[user]) {
		if s.active {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Fetched returns how many declarations the device channel has fetched since declarative management began.
func (d *Device) Fetched() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.declared[""]; c != nil {
		return c.fetched
	}
	return 0
}

// SetStatus says what the device reports for a status item from now on, as "passcode.is-compliant" or "softwareupdate.install-state"
// (nil: nothing). It counts for predicates at once; if the item is subscribed to it is reported at the end of the next session, or
// by [Device.SendStatus].
func (d *Device) SetStatus(item string, value any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.status == nil {
		d.state.status = map[string]any{}
	}
	d.state.status[item] = value
	d.soil()
}

// RefuseDeclaration makes the device report a declaration of that identifier as invalid, for a reason as "Error.ConfigurationCannotBeApplied".
// An empty one makes it as good as it is. It goes on when declarations of the identifier are replaced.
func (d *Device) RefuseDeclaration(identifier, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	refused := maps.Clone(d.state.refused)
	if refused == nil {
		refused = map[string]string{}
	}
	refused[identifier] = reason
	d.state.refused = refused
	d.soil()
}

// soil has all channels look what they have to report. d.mu is held.
func (d *Device) soil() {
	for _, c := range d.declared {
		c.dirty = true
	}
}
