package dep

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/gomdm/applemdm/mdm"
)

// Define defines a profile at Apple, and remembers what it says. It gives it to no device: that is for SetProfile, and Want. Apple
// keeps each definition as it is; a profile that is changed gets another UUID. The error is Malformed if the server remembers too much
// already: see Forget.
func (a *Assigner) Define(ctx context.Context, key Key, p Profile) (uuid string, err error) {
	p.Devices = nil
	if err := p.Check(); err != nil {
		return "", err
	}
	v, err := a.Store.Server(ctx, key)
	if err == nil {
		_, err = v.with("", p)
	}
	if err != nil {
		return "", err
	}
	if uuid, _, err = a.Connect(key).DefineProfile(ctx, p); err != nil {
		return "", err
	}
	return uuid, a.remember(ctx, key, uuid, p)
}

// Learn reads a profile from Apple that was defined elsewhere, and remembers what it says.
func (a *Assigner) Learn(ctx context.Context, key Key, uuid string) (Profile, error) {
	p, err := a.Connect(key).Profile(ctx, uuid)
	if err != nil {
		return Profile{}, err
	}
	p.Devices = nil
	return p, a.remember(ctx, key, uuid, p)
}

func (a *Assigner) remember(ctx context.Context, key Key, uuid string, p Profile) error {
	_, err := a.Store.ChangeServer(ctx, key, func(v *Server) error {
		profiles, err := v.with(uuid, p)
		v.Profiles = profiles
		return err
	})
	return err
}

// Forget forgets what profiles say that no device has any more, so that there is room for others. At Apple they stay.
func (a *Assigner) Forget(ctx context.Context, key Key, uuids ...string) error {
	_, err := a.Store.ChangeServer(ctx, key, func(v *Server) error {
		v.Profiles = maps.Clone(v.Profiles)
		for _, uuid := range uuids {
			delete(v.Profiles, uuid)
		}
		return nil
	})
	return err
}

// maxProfiles is how many bytes of profiles a server remembers. The rest is for what changes at every page of a sync, which is to be kept
// whatever profiles there are.
const maxProfiles = MaxBody / 2

// with returns the profiles with another one.
func (s *Server) with(uuid string, p Profile) (map[string]Profile, error) {
	const op = "dep.Profiles"
	profiles := make(map[string]Profile, len(s.Profiles)+1)
	maps.Copy(profiles, s.Profiles)
	profiles[uuid] = p
	data, err := json.Marshal(profiles)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, op, "the profile cannot be kept: %w", err)
	}
	if len(data) > maxProfiles {
		return nil, mdm.Errorf(mdm.Malformed, op, "the server %q would remember %d bytes of profiles, more than %d: Forget some that no device has", s.Key, len(data), maxProfiles)
	}
	return profiles, nil
}
