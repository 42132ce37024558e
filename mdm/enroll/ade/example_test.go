package ade_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

func ExampleService() {
	ca := must(scep.NewLocalCA("Example Devices"))
	ours := must(identity.IssuedBy(identity.IssuerConfig{Roots: ca.Chain()}))
	apple := must(mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{})) // stands in for Apple's
	stores := memory.New().Stores()                               // yours: a database
	mux := http.NewServeMux()
	https := httptest.NewTLSServer(mux)
	defer https.Close()

	recipe := enroll.Recipe{
		Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.example", ServerURL: https.URL + "/mdm",
			SignMessage: true, Roots: []*x509.Certificate{https.Certificate()}},
		Identities: enroll.SCEPIdentities{Store: stores.SCEP, Content: profile.SCEPContent{URL: https.URL + "/scep"}},
	}
	service := &ade.Service{
		Sessions: stores.Sessions,
		Signer:   profile.CMSSigner{Certificate: ca.Certificate, Key: ca.Key}, // yours: a certificate that devices trust
		Final: func(ctx context.Context, s enroll.Session) (*profile.Profile, error) {
			fmt.Println("the profile is for", s.User, "on", s.Device["SERIAL"])
			return recipe.Profile(ctx, ade.For(s))
		},
		Admit: func(_ context.Context, s enroll.Session) error {
			if s.Device["SERIAL"] != "C02XYZ" { // yours: the devices that Apple says are yours
				return mdm.Errorf(mdm.Forbidden, "example", "not a device of ours")
			}
			return nil
		},
		Require: func(context.Context, *enroll.MachineInfo) (ade.Requirement, error) {
			return ade.Requirement{Update: &enroll.ErrorSoftwareUpdateRequiredDetails{OSVersion: "18.3"}}, nil
		},
		Authenticate: func(context.Context, enroll.Session) (*ade.Password, error) {
			return &ade.Password{Realm: "Example", Prompt: "Log in with your account of Example.",
				Digest: func(_ context.Context, user string) (mdm.Secret, error) {
					if user != "ada" { // yours: a directory
						return mdm.Secret{}, ade.ErrWrong
					}
					return ade.HA1("ada", "Example", mdm.SecretString("lovelace")), nil
				}}, nil
		},
		Key:     mdm.SecretString("yours: 32 random bytes, kept secret"),
		Devices: enroll.DeviceCA{Issuers: []*x509.Certificate{apple.Certificate}}, // yours: none
	}
	mux.Handle("/enroll", service.Enroll())
	mux.Handle("/scep", &scep.Server{CA: ca, Store: stores.SCEP})
	mux.Handle("/mdm", must(server.New(server.Config{Stores: stores, Extractor: identity.MDMSignature(), Validator: ours,
		Wrap: func(next checkin.Handler) checkin.Handler { return ade.Guard(stores.SCEP, next) }})))

	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	phone := mdmtest.NewDevice(mdmtest.Config{SerialNumber: "C02XYZ", RootCAs: roots, BuiltIn: apple})
	report, err := phone.SetupAssistant(context.Background(), mdmtest.Assistant{
		Assignment: mdmtest.Assignment{URL: https.URL + "/enroll", AnchorCerts: []*x509.Certificate{https.Certificate()}},
		User:       "ada", Password: "lovelace", CanUpdate: true,
	})
	fmt.Println("updated to", report.Updates, "and asked:", report.Prompts)
	fmt.Println("managed:", phone.Managed(), err)
	// Output:
	// the profile is for ada on C02XYZ
	// updated to [18.3] and asked: [Log in with your account of Example.]
	// managed: true <nil>
}
