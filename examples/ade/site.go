package main

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/enroll/ade"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// The paths of the server.
const (
	webPath      = "/enroll/web"
	callbackPath = "/login/callback"
	mdmPath      = "/mdm"
	scepPath     = "/scep"
)

// site is a server that is set up.
type site struct {
	o      options
	log    *slog.Logger
	stores storage.Stores
	close  func()
	tls    tls.Certificate
	ca     *scep.LocalCA
	mdm    *server.Server
	ade    *ade.Service
	login  *login
	topic  string
}

// open sets a server up for real devices; client is for the identity provider.
func open(ctx context.Context, o options, pair tls.Certificate, client *http.Client, log *slog.Logger) (*site, error) {
	db, err := sqlite.Open(ctx, o.db, nil)
	if err != nil {
		return nil, err
	}
	s := &site{o: o, log: log, stores: db.Stores(), close: func() { _ = db.Close() }, tls: pair}
	pusher, err := s.pusher(ctx)
	if err == nil {
		s.ca, err = loadCA(o.ca)
	}
	if err == nil {
		s.login, err = newLogin(ctx, o, client)
	}
	if err == nil {
		err = s.wire(pusher, enroll.DeviceCA{})
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pusher wakes devices by Apple's service.
func (s *site) pusher(ctx context.Context) (push.Pusher, error) {
	pem, err := os.ReadFile(s.o.pushCert)
	if err != nil {
		return nil, err
	}
	cert, err := push.LoadCertificate(pem, pem)
	if err != nil {
		return nil, err
	}
	s.topic = cert.Topic
	return &apns.Client{Certificates: s.stores.PushCertificates}, s.stores.PushCertificates.SavePushCertificate(ctx, cert)
}

// loadCA reads the CA of the devices from a file, or makes it.
func loadCA(file string) (*scep.LocalCA, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		return scep.ParseLocalCA(mdm.NewSecret(data))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ca, err := scep.NewLocalCA("applemdm example devices")
	if err != nil {
		return nil, err
	}
	secret, err := ca.PEM()
	if err != nil {
		return nil, err
	}
	return ca, os.WriteFile(file, secret.Reveal(), 0o600)
}

// temporary is a server that keeps nothing.
func temporary(o options, pair tls.Certificate, log *slog.Logger) (*site, error) {
	ca, err := scep.NewLocalCA("applemdm example devices")
	return &site{o: o, log: log, stores: memory.New().Stores(), close: func() {}, tls: pair, ca: ca, topic: "com.apple.mgmt.External.example"}, err
}

// wire makes the parts of the server.
func (s *site) wire(pusher push.Pusher, makers enroll.DeviceCA) error {
	ours, err := identity.IssuedBy(identity.IssuerConfig{Roots: s.ca.Chain()})
	if err != nil {
		return err
	}
	setup := &practice.Setup{Roster: s.stores.Roster} // lets devices go on that await their configuration
	s.mdm, err = server.New(server.Config{
		Stores: s.stores, Extractor: identity.TLS(), Validator: ours, Pusher: pusher, Logger: s.log,
		Workflows: setup.Workflows(), Cooks: setup.Cooks(),
		// Every device comes by Setup Assistant, and only with the identity that was made for it there.
		Wrap: func(next checkin.Handler) checkin.Handler { return ade.Guard(s.stores.SCEP, next) },
	})
	if err != nil {
		return err
	}
	return s.enrollment(makers)
}

// enrollment is what devices meet in Setup Assistant.
func (s *site) enrollment(makers enroll.DeviceCA) error {
	key, err := s.key()
	if err != nil {
		return err
	}
	serials, err := inventory(s.o.serials)
	if err != nil {
		return err
	}
	signer, err := signerOf(s.tls)
	if err != nil {
		return err
	}
	recipe := &enroll.Recipe{
		Enrollment: profile.Enrollment{Identifier: "com.example.mdm", DisplayName: s.o.organization + " device management", Organization: s.o.organization,
			Topic: s.topic, ServerURL: s.o.publicURL + mdmPath, Uses: s.mdm.Uses(), Roots: s.roots()},
		Identities: enroll.SCEPIdentities{Store: s.stores.SCEP, Content: profile.SCEPContent{URL: s.o.publicURL + scepPath}},
	}
	s.ade = &ade.Service{
		Sessions: s.stores.Sessions, Signer: signer, Key: key, Devices: makers, Logger: s.log,
		Admit: func(_ context.Context, session enroll.Session) error {
			if serials != nil && !serials[session.Device["SERIAL"]] {
				return mdm.Errorf(mdm.Forbidden, "example.Admit", "the serial number is not in the inventory")
			}
			return nil
		},
		Login: s.begin,
		Page:  s.failed,
		Final: func(ctx context.Context, session enroll.Session) (*profile.Profile, error) {
			return recipe.Profile(ctx, ade.For(session))
		},
	}
	return nil
}

// failed shows a user that it did not work. Who may still log in can try again.
func (s *site) failed(w http.ResponseWriter, r *http.Request, status int) {
	data, state := map[string]string{"Organization": s.o.organization}, r.FormValue("state")
	if _, err := s.ade.Pending(r, state); err == nil {
		data["Again"], _ = s.authorization(state) // no address, no button
	}
	show(w, s.login.pages, status, "failed.html", data)
}

// roots are the anchors that devices get in their profile, where the TLS certificate is its own.
func (s *site) roots() []*x509.Certificate {
	if !s.o.fake {
		return nil
	}
	return []*x509.Certificate{s.tls.Leaf}
}

// key is a secret that belongs to the CA: the same in every process that has its file.
func (s *site) key() (mdm.Secret, error) {
	secret, err := s.ca.PEM()
	if err != nil {
		return mdm.Secret{}, err
	}
	key, err := hkdf.Key(sha256.New, secret.Reveal(), nil, "applemdm example: ade", ade.MinKey)
	return mdm.NewSecret(key), err
}

// signerOf signs profiles with the TLS certificate, which devices trust.
func signerOf(pair tls.Certificate) (profile.Signer, error) {
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the TLS key cannot sign")
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
	}
	return profile.CMSSigner{Certificate: chain[0], Chain: chain[1:], Key: key}, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(webPath, s.ade.Web())
	mux.Handle(callbackPath, s.ade.Callback(s.finish))
	mux.Handle(scepPath, &scep.Server{CA: s.ca, Store: s.stores.SCEP})
	mux.Handle(mdmPath, s.mdm)
	return mux
}
