package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
)

// practices are those of Apple's "MDM Best Practices" that need nothing of a product's but flags and files. What else package
// practice has is added in the same way.
type practices struct {
	setup   *practice.Setup   // devices get their first profiles, and leave Setup Assistant
	guard   *practice.Guard   // a passcode is cleared only for a reason, and on record
	ending  *practice.Ending  // devices are told to remove their profile; nil without -enrollment-id
	renewal *practice.Renewal // enrollment profiles are replaced before they end; nil without -scep-url

	restores practice.Restores // which devices may come back from a backup
}

func newPractices(o *options, stores storage.Stores) (*practices, error) {
	p := &practices{restores: practice.Restores{Within: o.readopt}}
	p.setup = &practice.Setup{Roster: stores.Roster}
	if o.profiles != "" {
		files, err := readProfiles(o.profiles)
		if err != nil {
			return nil, fmt.Errorf("-profiles: %w", err)
		}
		p.setup.Profiles = files
		p.setup.Stages = func(context.Context, *mdm.Enrollment) (practice.SetupStages, error) { return files.stages, nil }
	}
	p.guard = &practice.Guard{Audit: stores.Audit, Escrow: stores.Escrow, Vault: stores.Vault, Roster: stores.Roster, Runs: stores.Runs}
	if o.enrollmentID != "" {
		p.ending = &practice.Ending{Roster: stores.Roster, Profile: func(*mdm.Enrollment) string { return o.enrollmentID }, Inventory: stores.Inventory}
	}
	if o.scepURL != "" {
		recipe, err := o.recipe(stores)
		if err != nil {
			return nil, err
		}
		p.renewal = &practice.Renewal{Recipe: recipe, Ends: practice.IdentityEnds(stores.Checkin), Roster: stores.Roster}
	}
	return p, nil
}

// configure has a server run them.
func (p *practices) configure(c *server.Config) {
	c.Workflows = slices.Concat(p.setup.Workflows(), p.guard.Workflows())
	c.Cooks = map[string]command.Cook{}
	maps.Copy(c.Cooks, p.setup.Cooks())
	maps.Copy(c.Cooks, p.guard.Cooks())
	if p.ending != nil {
		c.Workflows = append(c.Workflows, p.ending.Workflows()...)
	}
	if p.renewal != nil {
		c.Workflows = append(c.Workflows, p.renewal.Workflows()...)
		maps.Copy(c.Cooks, p.renewal.Cooks())
	}
	p.restores.Apply(&c.Checkin)
}

// bind gives them what only a server has.
func (p *practices) bind(s *server.Server) {
	p.guard.Engine = s.Workflows()
	if p.ending != nil {
		p.ending.End, p.ending.Revoke = s.Checkin().End, s.Checkin().Revoke
	}
	if p.renewal != nil {
		p.renewal.Recipe.Enrollment.Uses = s.Uses()
	}
}

// mayBegin are the workflows that the API may begin: those that need no more than a device. Others have a door of their own.
func (p *practices) mayBegin() []string {
	names := []string{practice.SetupWorkflow}
	if p.renewal != nil {
		names = append(names, practice.RenewalWorkflow)
	}
	return names
}

// end ends the management of a device: it is told to remove its profile, if that is known by name, and refused after that.
func (p *practices) end(s *server.Server) func(context.Context, mdm.EnrollmentID, mdm.Generation, string) error {
	return func(ctx context.Context, id mdm.EnrollmentID, g mdm.Generation, reason string) error {
		if p.ending == nil || id.IsUser() || g != 0 { // Begin is for whatever generation is there
			return s.Checkin().End(ctx, id, g, reason)
		}
		_, err := p.ending.Begin(ctx, s.Workflows(), id, practice.EndingOrder{Actor: "api", Reason: reason})
		return err
	}
}

// recipe makes the enrollment profiles that replace those of devices. What must stay as it is comes from what is on record.
func (o *options) recipe(stores storage.Stores) (*enroll.Recipe, error) {
	r := &enroll.Recipe{Identities: enroll.SCEPIdentities{Content: profile.SCEPContent{URL: o.scepURL}, Store: stores.SCEP}}
	r.Enrollment = profile.Enrollment{Identifier: o.enrollmentID, ServerURL: strings.TrimSuffix(o.publicURL, "/") + o.path, SignMessage: o.identity == "signature",
		Topic: "com.apple.mgmt.none"} // each device has its own
	if o.anchors != "none" {
		roots, err := certificates(o.anchors)
		if err != nil {
			return nil, fmt.Errorf("-anchors: %w", err)
		}
		r.Enrollment.Roots = roots
	}
	r.Tailor = func(ctx context.Context, f enroll.For, e *profile.Enrollment) error {
		known, err := stores.Roster.Enrollment(ctx, mdm.EnrollmentID{Tenant: f.Tenant, Device: f.Device})
		if err != nil {
			return err
		}
		if known.Channel != mdm.DeviceChannel {
			return mdm.Errorf(mdm.Forbidden, "server", "account-driven enrollments are not renewed here")
		}
		e.Topic, e.AccessRights = known.Topic, known.Rights
		return nil
	}
	return r, r.Validate()
}

// files are the profiles of -profiles, by their PayloadIdentifiers.
type files struct {
	stages practice.SetupStages
	data   map[string][]byte
}

// Profile implements practice.ProfileSource.
func (f *files) Profile(_ context.Context, _ *mdm.Enrollment, name string) ([]byte, error) {
	data, ok := f.data[name]
	if !ok {
		return nil, practice.ErrWithdrawn
	}
	return data, nil
}

// readProfiles reads the profiles of each stage, in the order of their file names.
func readProfiles(dir string) (*files, error) {
	f := &files{data: map[string][]byte{}}
	for stage, names := range map[string]*[]string{"trust": &f.stages.Trust, "restrictions": &f.stages.Restrictions, "capabilities": &f.stages.Capabilities} {
		paths, err := filepath.Glob(filepath.Join(dir, stage, "*.mobileconfig"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			parsed, err := profile.Parse(data)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			name := parsed.Profile.Identifier
			if f.data[name] != nil {
				return nil, fmt.Errorf("%s: there are two profiles with the PayloadIdentifier %s", path, name)
			}
			f.data[name] = data
			*names = append(*names, name)
		}
	}
	if len(f.data) == 0 {
		return nil, errors.New("there is no *.mobileconfig in " + cmp.Or(dir, ".") + "/trust, restrictions or capabilities")
	}
	return f, nil
}
