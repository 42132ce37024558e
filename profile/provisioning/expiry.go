package provisioning

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/schema"
)

// ExpiryKind is the kind of what [Expiry] yields.
const ExpiryKind expiry.Kind = "provisioning-profile"

const action = "make a new one in the Apple Developer account and put it beside the old one, from where devices get it; " +
	"or the app no longer starts"

// Expiry is a source for a calendar of what ends: of all wanted profiles at hand, as of Goal.Profiles, the newest for each app. An
// older one is no concern of people while a newer one is at hand: devices get that in time.
func Expiry(profiles func(ctx context.Context) ([]*Profile, error)) expiry.Source {
	return expiry.SourceFunc(func(ctx context.Context) iter.Seq2[expiry.Item, error] {
		return func(yield func(expiry.Item, error) bool) {
			all, err := profiles(ctx)
			if err != nil {
				yield(expiry.Item{Kind: ExpiryKind}, err)
				return
			}
			newest := map[string]*Profile{}
			for _, p := range all {
				if known := newest[p.family()]; known == nil || newer(known, p) < 0 {
					newest[p.family()] = p
				}
			}
			for _, family := range slices.Sorted(maps.Keys(newest)) {
				if !yield(newest[family].item(), nil) {
					return
				}
			}
		}
	})
}

// item names what the families tell apart, and not the profile itself: its successor is another one.
func (p *Profile) item() expiry.Item {
	name := p.Name + " " + p.UUID
	if p.AppID() != "" && p.Team() != "" {
		name = strings.Join(strings.Fields(fmt.Sprintf("%s of %s, %s %s", p.AppID(), p.Team(), p.Distribution(), p.platform())), " ")
	}
	if len(name) > expiry.MaxName {
		name = strings.ToValidUTF8(name[:expiry.MaxName], "")
	}
	return expiry.Item{Kind: ExpiryKind, Name: name, NotAfter: p.ExpirationDate, Action: action}
}

// MissingRights returns which rights the commands of this package need and the device has not granted: to inspect and to install
// provisioning profiles, 64 and 128 of Apple's AccessRights. On macOS they need none. Rights that are not known, 0, hold nothing up.
func MissingRights(have mdm.AccessRights, platform schema.Platform) mdm.AccessRights {
	if have == 0 || platform == schema.MacOS {
		return 0
	}
	return (mdm.InspectProvisioning | mdm.InstallProvisioning) &^ have
}
