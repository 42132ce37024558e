package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// appleKey names our server at Apple.
var appleKey = dep.Key{Name: "quick start"}

// appleEvery is how often the stand-in for Apple is asked. Apple itself is asked less often: see dep.DefaultSyncEvery.
const appleEvery = time.Second

// apple is Automated Device Enrollment: the devices that Apple says are ours are synced, and assigned to a profile that leads them
// here. Apple is a stand-in, as the devices are; examples/abm goes these steps with the real one.
type apple struct {
	abm      *mdmtest.ABM
	shop     *mdmtest.ABMServer // our server at Apple, which is given what is bought
	syncer   *dep.Syncer
	assigner *dep.Assigner
}

// newApple makes our server at Apple: a key pair, the token that is encrypted to it, and the profile of all devices.
func (a *app) newApple(ctx context.Context) (err error) {
	abm := mdmtest.ABMConfig{Clock: a.now}.Start()
	a.apple = &apple{abm: abm, shop: abm.Server(appleKey.Name)}
	store := a.stores.DEP
	server, err := dep.Enlist(ctx, store, appleKey, a.now())
	if err != nil {
		return err
	}
	token := abm.Token(a.apple.shop, server.KeyPair.Certificate) // a download from business.apple.com
	if _, err = dep.Import(ctx, store, appleKey, token, true, a.now()); err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: abm.RootCAs(), MinVersion: tls.VersionTLS12}}
	client := &dep.Client{Token: dep.StoredToken(store, appleKey), BaseURL: abm.URL(), HTTP: &http.Client{Transport: transport},
		UserAgent: "applemdm-quickstart/1", Clock: a.now, Logger: a.log}
	a.apple.syncer = &dep.Syncer{Store: store, Connect: func(dep.Key) dep.Source { return client }, Every: appleEvery, Clock: a.now, Logger: a.log}
	a.apple.assigner = &dep.Assigner{Store: store, Connect: func(dep.Key) dep.Profiles { return client }, Every: appleEvery, Clock: a.now, Logger: a.log}
	uuid, err := a.apple.assigner.Define(ctx, appleKey, a.adeProfile())
	if err != nil {
		return err
	}
	return a.apple.assigner.SetProfile(ctx, appleKey, uuid)
}

// adeProfile is what a device finds at Apple when it is set up. Its URL and anchors are those of /MDMServiceConfig.
func (a *app) adeProfile() dep.Profile {
	c := a.serviceConfig()
	return dep.Profile{
		Name: "applemdm quick start", URL: c.DEPEnrollmentURL, ConfigurationWebURL: c.DEPEnrollmentURL, AnchorCerts: c.AnchorCerts(),
		IsSupervised: true, IsMandatory: true, IsMDMRemovable: new(false), AwaitDeviceConfigured: true,
		SkipSetupItems: []string{"Siri", "Payment", "ScreenTime"}, Department: "Quick start",
	}
}

// fromApple returns what is known of a device that Apple says is ours; false if there is none of that serial number.
func (a *app) fromApple(ctx context.Context, tenant, serial string) (dep.Record, bool, error) {
	if serial == "" {
		return dep.Record{}, false, nil
	}
	records, err := a.stores.DEP.DeviceRecords(ctx, tenant, serial)
	if err != nil || len(records) == 0 || records[0].Gone {
		return dep.Record{}, false, err
	}
	return records[0], true, nil
}

// buy has a shop sell us a device, which Apple then lists for our server.
func (p *apple) buy(serial string, m model) {
	p.abm.Add(p.shop, dep.Device{SerialNumber: serial, Model: m.name, OS: m.os, DeviceFamily: m.family})
}

// activate unpacks a device and connects it: it gets its profile from Apple.
func (p *apple) activate(serial string) (mdmtest.Assignment, error) {
	data, ok := p.abm.Activate(serial)
	if !ok {
		return mdmtest.Assignment{}, mdm.Errorf(mdm.NotFound, "quickstart", "Apple has no profile for %s", serial)
	}
	return mdmtest.ParseAssignment(data)
}

// signIn is a user who types one password after another at our page.
func signIn(passwords ...string) func(*mdmtest.Page) error {
	return func(p *mdmtest.Page) error {
		if len(passwords) == 0 {
			return fmt.Errorf("the user does not know the password")
		}
		p.Form.Values.Set("user", adeUser)
		p.Form.Values.Set("password", passwords[0])
		passwords = passwords[1:]
		return nil
	}
}

// model is a kind of device: as it calls itself, and as Apple does.
type model struct {
	product, name, os, family string
	web                       bool // its Setup Assistant can show a page
}

var models = []model{
	{"iPhone15,2", "iPhone 14 Pro", "iOS", "iPhone", true},
	{"iPad14,1", "iPad mini", "iPadOS", "iPad", true},
	{"Mac14,2", "MacBook Air", "OSX", "Mac", true},
	{"AppleTV14,1", "Apple TV 4K", "tvOS", "AppleTV", false},
	{"RealityDevice14,1", "Apple Vision Pro", "visionOS", "Vision", false},
}
