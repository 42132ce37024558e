package main

import (
	"context"
	"net/http"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

const profileIdentifier = "com.github.gomdm.applemdm.quickstart"

// enrollment returns the recipe of an enrollment profile with a fresh challenge: for anybody, or as the renewal of a
// device.
func (a *app) enrollment(ctx context.Context, purpose mdm.Purpose, device string) (*profile.Profile, error) {
	challenge, err := scep.NewChallenge(ctx, a.stores.SCEP, scep.Challenge{Purpose: purpose, Device: device})
	if err != nil {
		return nil, err
	}
	identity := &profile.SCEP{PayloadContent: profile.SCEPContent{
		URL:       a.base + "/scep",
		Subject:   [][][]string{{{"O", "applemdm quick start"}}},
		Challenge: challenge,
	}}
	if purpose == mdm.PurposeRenew { // a payload that the device does not know yet makes it create a new key
		identity.PayloadUUID = profile.UUID(profileIdentifier + string(challenge.Reveal()))
	}
	recipe := profile.Enrollment{
		Identifier:   profileIdentifier,
		DisplayName:  "applemdm quick start",
		Organization: "applemdm",
		Topic:        a.topic,
		ServerURL:    a.base + "/mdm",
		Identity:     identity,
		Uses:         a.mdm.Uses(),
	}
	recipe.Roots = append(recipe.Roots, a.pki.server.Certificate)
	return recipe.Profile()
}

// signedEnrollment encodes and signs an enrollment profile.
func (a *app) signedEnrollment(ctx context.Context, purpose mdm.Purpose, device string) ([]byte, error) {
	p, err := a.enrollment(ctx, purpose, device)
	if err != nil {
		return nil, err
	}
	data, err := p.Encode()
	if err != nil {
		return nil, err
	}
	return a.signer.Sign(ctx, data)
}

// enrollProfile answers with an enrollment profile of its own for each download; ?signed=0 leaves the signature out.
func (a *app) enrollProfile(w http.ResponseWriter, r *http.Request) {
	p, err := a.enrollment(r.Context(), mdm.PurposeEnroll, "")
	a.sendProfile(w, r, p, err, "enroll.mobileconfig")
}

// trustProfile answers with the root certificate of this server's TLS, and nothing else.
func (a *app) trustProfile(w http.ResponseWriter, r *http.Request) {
	p := &profile.Profile{
		Identifier:  profileIdentifier + ".trust",
		DisplayName: "Trust for applemdm quick start",
		Description: "Install this first, then trust the certificate under Settings, General, About, Certificate Trust Settings.",
		Scope:       profile.ScopeSystem,
		Payloads:    []profile.Payload{profile.NewCertificate(a.pki.server.Certificate)},
	}
	a.sendProfile(w, r, p, nil, "trust.mobileconfig")
}

func (a *app) sendProfile(w http.ResponseWriter, r *http.Request, p *profile.Profile, err error, name string) {
	var data []byte
	if err == nil {
		data, err = p.Encode()
	}
	// A trust profile cannot be verified before it is installed, so it is not signed.
	if err == nil && name == "enroll.mobileconfig" && r.URL.Query().Get("signed") != "0" {
		data, err = a.signer.Sign(r.Context(), data)
	}
	if err != nil {
		a.internal(w, r, err)
		return
	}
	w.Header().Set("Content-Type", profile.ContentType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(data)
}
