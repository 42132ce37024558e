package mdmtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

// A vendor's integration test in one function: a server of your own wiring, and a device that enrolls and answers.
func ExampleDevice() {
	ctx := context.Background()
	stores := memory.New().Stores()
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
	h, err := server.New(server.Config{Stores: stores, Extractor: identity.TLS(), Validator: ours})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/mdm", h)
	mux.Handle("/scep", &scep.Server{CA: ca, Store: stores.SCEP})
	https := httptest.NewUnstartedServer(mux)
	https.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	https.StartTLS()
	defer https.Close()

	challenge, err := scep.NewChallenge(ctx, stores.SCEP, scep.Challenge{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.1", ServerURL: https.URL + "/mdm",
		Identity: &profile.SCEP{PayloadContent: profile.SCEPContent{URL: https.URL + "/scep", Challenge: challenge}}}.Profile()
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := p.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	phone := mdmtest.NewDevice(mdmtest.Config{UDID: "00008030-0123456789ABCDEF", RootCAs: roots})
	fmt.Println("enroll:", phone.InstallEnrollment(ctx, data))
	_, err = stores.Command.Enqueue(ctx, command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(mdm.EnrollmentID{Device: phone.ID()})})
	fmt.Println("enqueue:", err)
	fmt.Println("poll:", phone.Poll(ctx))
	for _, done := range phone.History() {
		fmt.Println("answered", done.Order.RequestType)
	}
	// Output:
	// enroll: <nil>
	// enqueue: <nil>
	// poll: <nil>
	// answered SecurityInfo
}

// Apple Business Manager, as administrators and devices see it; servers ask it over HTTPS, at its URL.
func ExampleABM() {
	abm := mdmtest.NewABM()
	defer abm.Close()
	hq, branch := abm.Server("Headquarters"), abm.Server("Branch")
	first := abm.AddMany(hq, 10_000)
	abm.Move(branch, mdmtest.ABMSerial(first), mdmtest.ABMSerial(first+1))
	fmt.Println("devices:", abm.Count(hq), abm.Count(branch))

	// From now on one call of ten fails, and devices are told of twice.
	abm.Inject(mdmtest.ABMFaults{Faults: mdmtest.ABMTroubles(), Rate: 0.1})
	abm.SetOddities(mdmtest.ABMOddities{Twice: 7, Overlap: 5, TextMore: true})

	_, managed := abm.Activate(mdmtest.ABMSerial(first))
	fmt.Println("set up with a profile:", managed)
	fmt.Println("violations:", len(abm.Violations()))
	// Output:
	// devices: 9998 2
	// set up with a profile: false
	// violations: 0
}
