package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// stage is the server and its identity provider, each under a name of its own, and the factory of simulated devices.
type stage struct {
	*site
	provider *provider
	factory  *mdmtest.BuiltInCA
	stop     func() error
}

// fake lets a simulated device go through Setup Assistant.
func fake(ctx context.Context, o options, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, err := newStage(ctx, o, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	fmt.Fprintf(out, "The server is %s, the identity provider %s.\n", s.o.publicURL, s.provider.issuer)
	d := s.device("C02EXAMPLE")
	report, err := d.SetupAssistant(ctx, mdmtest.Assistant{Assignment: s.assignment(), Fill: signIn("ada", "lovelace")})
	for _, page := range report.Pages {
		fmt.Fprintf(out, "  the web view shows %.60s\n", page)
	}
	if err != nil {
		return err
	}
	e, err := s.stores.Roster.Enrollment(ctx, mdm.EnrollmentID{Device: d.ID()})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s is %s as %s, and its user left Setup Assistant after %d panes.\n", e.Device.SerialNumber, e.State, e.ID.Device, len(report.Panes))
	return nil
}

// newStage starts all of it.
func newStage(ctx context.Context, o options, log *slog.Logger) (*stage, error) {
	pair, err := selfSigned()
	if err != nil {
		return nil, err
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	at := func(host string, l net.Listener) string {
		return fmt.Sprintf("https://%s:%d", host, l.Addr().(*net.TCPAddr).Port)
	}
	o.fake, o.publicURL, o.issuer = true, at("localhost", listeners[0]), at("127.0.0.1", listeners[1])
	o.clientID, o.secret, o.claim = "mdm", rand.Text(), "email"
	s := &stage{}
	if s.provider, err = newProvider(o.issuer, o); err != nil {
		return nil, err
	}
	login := httpServer(s.provider.handler(), log)
	login.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	go func() { _ = login.ServeTLS(listeners[1], "", "") }()
	if err := s.set(ctx, o, pair, log); err != nil {
		_ = login.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listeners[0]) }()
	s.stop = func() error {
		cancel()
		return errors.Join(login.Close(), <-ended)
	}
	return s, nil
}

// set makes the server, which trusts the provider's certificate.
func (s *stage) set(ctx context.Context, o options, pair tls.Certificate, log *slog.Logger) (err error) {
	if s.factory, err = mdmtest.NewBuiltInCA(mdmtest.BuiltInOptions{}); err != nil {
		return err
	}
	if s.site, err = temporary(o, pair, log); err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	if s.login, err = newLogin(ctx, o, client); err != nil {
		return err
	}
	return s.wire(nil, enroll.DeviceCA{Issuers: []*x509.Certificate{s.factory.Certificate}})
}

// device returns a device that came out of the factory.
func (s *stage) device(serial string) *mdmtest.Device {
	roots := x509.NewCertPool()
	roots.AddCert(s.tls.Leaf) // of the provider, and of the profile's signature
	return mdmtest.NewDevice(mdmtest.Config{SerialNumber: serial, RootCAs: roots, BuiltIn: s.factory})
}

// assignment is the profile of Automated Device Enrollment that Apple would give to devices.
func (s *stage) assignment() mdmtest.Assignment {
	return mdmtest.Assignment{URL: s.o.publicURL + webPath, WebURL: s.o.publicURL + webPath, AnchorCerts: []*x509.Certificate{s.tls.Leaf},
		IsSupervised: true, AwaitDeviceConfigured: true, SkipSetupItems: []string{"Siri", "Payment", "ScreenTime"}}
}

// signIn is a user at the provider's page, who types one password after another.
func signIn(name string, passwords ...string) func(*mdmtest.Page) error {
	return func(p *mdmtest.Page) error {
		if len(passwords) == 0 {
			return errors.New("the user gives up")
		}
		p.Form.Values.Set("username", name)
		p.Form.Values.Set("password", passwords[0])
		passwords = passwords[1:]
		return nil
	}
}

// selfSigned is a certificate for both names of this machine.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "applemdm example"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
