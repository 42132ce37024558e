package main

import (
	"context"
	"net/http"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/profile"
)

const profileIdentifier = "com.github.gomdm.applemdm.quickstart"

const anchorsPath = "/anchors.json"

// signed encodes a profile and signs it.
func (a *app) signed(ctx context.Context, p *profile.Profile) ([]byte, error) {
	data, err := p.Encode()
	if err != nil {
		return nil, err
	}
	return a.signer.Sign(ctx, data)
}

// scepContent is what every SCEP payload has.
func (a *app) scepContent() profile.SCEPContent {
	return profile.SCEPContent{URL: a.base + "/scep", Subject: [][][]string{{{"O", "applemdm quick start"}}}}
}

// recipe makes enrollment profiles, for every way in and for renewals.
func (a *app) recipe(signer profile.Signer) *enroll.Recipe {
	r := &enroll.Recipe{
		Enrollment: profile.Enrollment{
			Identifier:   profileIdentifier,
			DisplayName:  "applemdm quick start",
			Organization: "applemdm",
			Topic:        a.topic,
			ServerURL:    a.base + "/mdm",
			Uses:         a.mdm.Uses(),
		},
		Identities: enroll.SCEPIdentities{Content: a.scepContent(), Store: a.stores.SCEP},
		Signer:     signer,
	}
	r.Enrollment.Roots = append(r.Enrollment.Roots, a.pki.server.Certificate)
	return r
}

// renewal returns the profile that gives a device a new identity.
func (a *app) renewal(ctx context.Context, device string) ([]byte, error) {
	return a.recipe(a.signer).Bytes(ctx, enroll.For{Purpose: mdm.PurposeRenew, Device: device})
}

// enrollProfile answers with an enrollment profile of its own for each download; ?signed=0 leaves the signature out. In a
// product a login comes first.
func (a *app) enrollProfile() http.Handler {
	signed := &enroll.Download{Profile: a.recipe(a.signer).Bytes, Login: enroll.Anybody, Logger: a.log}
	plain := &enroll.Download{Profile: a.recipe(nil).Bytes, Login: enroll.Anybody, Logger: a.log}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("signed") == "0" {
			plain.ServeHTTP(w, r)
			return
		}
		signed.ServeHTTP(w, r)
	})
}

// serviceConfig says where devices enroll and what they must trust: for /MDMServiceConfig, which Apple Configurator asks, for the
// trust profile, and for the profile of Automated Device Enrollment.
func (a *app) serviceConfig() enroll.ServiceConfig {
	c := enroll.ServiceConfig{
		TrustProfileURL: a.base + "/trust.mobileconfig",
		Identifier:      profileIdentifier + ".trust",
		DisplayName:     "Trust for applemdm quick start",
		Organization:    "applemdm",
	}
	if a.options.tlsCert == "" { // else devices trust it already, or have to by other means
		c.Anchors = append(c.Anchors, a.pki.server.Certificate)
	}
	if a.apple != nil {
		c.DEPEnrollmentURL, c.AnchorCertsURL = a.base+adePath, a.base+anchorsPath
	}
	return c
}

// overTheAir enrolls by Apple's Profile Service: the device proves that it is one, and its last profile is encrypted to it.
func (a *app) overTheAir(ours identity.Validator) *ota.Service {
	recipe := a.recipe(nil) // the service signs
	return &ota.Service{
		Sessions: a.stores.Sessions, Ledger: a.stores.SCEP, Validator: ours, Signer: a.signer, Devices: a.makers,
		URL: a.base + "/ota", SCEP: a.scepContent(), Identifier: profileIdentifier + ".ota",
		DisplayName: "applemdm quick start", Organization: "applemdm", Logger: a.log,
		Login: func(http.ResponseWriter, *http.Request) (string, bool) { return "anybody", true },
		Final: func(ctx context.Context, s enroll.Session) (*profile.Profile, error) {
			f := enroll.For{Tenant: s.Tenant, User: s.User, DeviceSerial: s.Device["SERIAL"], Sealed: true}
			return recipe.Profile(ctx, f)
		},
	}
}
