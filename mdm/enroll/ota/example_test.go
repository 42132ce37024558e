package ota_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ota"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

func ExampleService() {
	ca, err := scep.NewLocalCA("Example Devices")
	if err != nil {
		fmt.Println(err)
		return
	}
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: ca.Chain()})
	if err != nil {
		fmt.Println(err)
		return
	}
	apple, err := mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{}) // stands in for Apple's
	if err != nil {
		fmt.Println(err)
		return
	}
	ledger := memory.New().Stores().SCEP
	mux := http.NewServeMux()
	https := httptest.NewTLSServer(mux)
	defer https.Close()

	service := &ota.Service{
		Sessions: newSessions(), // yours: storage.Stores.Sessions
		Ledger:   ledger, Validator: ours,
		Signer:     profile.CMSSigner{Certificate: ca.Certificate, Key: ca.Key}, // yours: a certificate that devices trust
		URL:        https.URL + "/enroll/continue",
		SCEP:       profile.SCEPContent{URL: https.URL + "/scep"},
		Identifier: "com.example.enroll",
		Login: func(w http.ResponseWriter, r *http.Request) (string, bool) {
			if r.URL.Query().Get("user") == "" { // yours: a session cookie, Basic, …
				http.Error(w, "Please log in.", http.StatusUnauthorized)
				return "", false
			}
			return r.URL.Query().Get("user"), true
		},
		Admit: func(_ context.Context, s enroll.Session) error {
			if s.Device["SERIAL"] != "C02XYZ" { // yours: an inventory
				return mdm.Errorf(mdm.Forbidden, "example", "not a device of ours")
			}
			return nil
		},
		Final: func(_ context.Context, s enroll.Session) (*profile.Profile, error) {
			fmt.Println("the profile is for", s.User, "on", s.Device["SERIAL"])
			return &profile.Profile{Identifier: "com.example.mdm"}, nil // yours: profile.Enrollment
		},
		Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{apple.Certificate}}, // yours: none
	}
	mux.Handle("/enroll", service.Start())
	mux.Handle("/enroll/continue", service.Continue())
	mux.Handle("/scep", &scep.Server{CA: ca, Store: ledger})

	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	roots.AddCert(ca.Certificate)
	phone := mdmtest.NewDevice(mdmtest.Config{SerialNumber: "C02XYZ", RootCAs: roots, BuiltIn: apple})
	fmt.Println("enroll:", phone.EnrollOverTheAir(context.Background(), https.URL+"/enroll?user=ada"))
	fmt.Println(phone.Profiles())
	// Output:
	// the profile is for ada on C02XYZ
	// enroll: <nil>
	// [com.example.mdm]
}
