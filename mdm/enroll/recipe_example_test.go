package enroll_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/memory"
)

// One recipe serves every way in. Here it is a page that users open on their device, and a file for Apple Configurator or a mail,
// which is good for one device and for a week.
func ExampleRecipe() {
	ctx := context.Background()
	ledger := memory.New().Stores().SCEP
	identities := enroll.SCEPIdentities{Store: ledger, Content: profile.SCEPContent{URL: "https://mdm.example.com/scep"}}
	recipe := &enroll.Recipe{
		Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.x", ServerURL: "https://mdm.example.com/mdm"},
		Identities: identities,
		// Signer: profile.CMSSigner{…},
	}
	if err := recipe.Validate(); err != nil {
		fmt.Println(err)
	}

	page := &enroll.Download{Profile: recipe.Bytes, Login: func(w http.ResponseWriter, r *http.Request) (enroll.For, bool) {
		user := r.Header.Get("User") // yours: a session
		if user == "" {
			http.Redirect(w, r, "/login", http.StatusFound)
		}
		return enroll.For{User: user}, user != ""
	}}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/enroll", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))

	identities.Lifetime = 7 * 24 * time.Hour
	recipe = &enroll.Recipe{Enrollment: recipe.Enrollment, Identities: identities, Signer: recipe.Signer}
	file, err := recipe.Bytes(ctx, enroll.For{DeviceSerial: "C02XXXXXXXXX"})
	parsed, _ := profile.Parse(file)
	fmt.Println(err, parsed.Profile.Identifier, len(parsed.Profile.Payloads))
	// Output:
	// 302 /login
	// <nil> com.example.mdm 2
}

// What devices must trust is one value, for Apple Configurator and for Automated Device Enrollment.
func ExampleServiceConfig() {
	ca, err := scep.NewLocalCA("Example TLS") // yours: the root of the server's TLS chain
	if err != nil {
		fmt.Println(err)
		return
	}
	config := enroll.ServiceConfig{
		DEPEnrollmentURL: "https://mdm.example.com/dep",
		AnchorCertsURL:   "https://mdm.example.com/anchors",
		TrustProfileURL:  "https://mdm.example.com/trust",
		Anchors:          []*x509.Certificate{ca.Certificate},
	}
	h, err := config.Handler("mdm.example.com") // mount it at all three paths
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, enroll.ServiceConfigPath, nil))
	fmt.Println(w.Header().Get("Content-Type"))
	fmt.Println(w.Body)
	// The keys of the profile of Automated Device Enrollment:
	fmt.Println(config.DEPEnrollmentURL, len(config.AnchorCerts()))
	// Output:
	// application/json; charset=UTF8
	// {"dep_enrollment_url":"https://mdm.example.com/dep","dep_anchor_certs_url":"https://mdm.example.com/anchors","trust_profile_url":"https://mdm.example.com/trust"}
	// https://mdm.example.com/dep 1
}

// Will devices connect to this server?
func ExampleServerChain() {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	// In a server's own test: the PeerCertificates of a connection.
	chain := enroll.ServerChain{Host: "mdm.example.org", Served: []*x509.Certificate{server.Certificate()}}
	found := chain.Inspect()
	fmt.Println(found.OK(), found.Trust)
	for _, f := range found.Findings {
		fmt.Println(f.Rule, "–", f.Do)
	}

	chain.Host, chain.Carried = "example.com", chain.Served // now the profile brings the root: Certificates(p)
	fmt.Println(chain.Inspect().OK())
	// Output:
	// false needs-root
	// missing-root – put it into the enrollment profile as a root
	// wrong-host – issue a certificate for this host, or use a host that it names
	// true
}

// When is the profile of a device to be replaced? And what of all devices ends is in the calendar.
func ExampleRenewAt() {
	day := func(y int, m time.Month) time.Time { return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC) }
	identity := mdm.Certificate{Subject: "CN=MDM x", NotBefore: day(2026, 1), NotAfter: day(2027, 1)} // on record
	recipe := &enroll.Recipe{Enrollment: profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.x",
		ServerURL: "https://mdm.example.com/mdm", ExpirationDate: day(2026, 11)}}
	ends, err := recipe.Ends() // or Ends, of the profile that it has
	plan, _ := enroll.RenewAt(append(ends, enroll.IdentityEnd(identity)))
	fmt.Println(err, plan.Due.Format(time.DateOnly), plan.What.Kind, plan.Deadline.Format(time.DateOnly), plan.First.Kind)

	calendar := &expiry.Calendar{Sources: []expiry.Source{expiry.Dates(expiry.EnrollmentProfile, recipe.Dates)}}
	items, _ := calendar.Items(context.Background())
	fmt.Println(items[0].Kind, items[0].Name)
	// Output:
	// <nil> 2026-09-01 identity 2026-11-01 expiration
	// enrollment-profile PayloadExpirationDate of com.example.mdm
}
