package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

const token = "token-of-the-admin-api"

// site is everything around a server: its files and its CA.
type site struct {
	*testing.T
	dir    string
	ca     *scep.LocalCA
	roots  *x509.CertPool // of TLS
	pair   tls.Certificate
	ledger storage.Stores // of the CA, which is not the server's
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, dir: t.TempDir(), roots: x509.NewCertPool(), ledger: memory.New().Stores()}
	var err error
	s.ca, err = scep.NewLocalCA("devices")
	require.NoError(t, err)
	s.write("devices.pem", "CERTIFICATE", s.ca.Chain()[0].Raw)
	s.newTLS()
	cert, err := mdmtest.NewPushCertificate("com.apple.mgmt.External.test")
	require.NoError(t, err)
	certPEM, key, err := cert.PEM()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.file("push.pem"), append(certPEM, key.Reveal()...), 0o600))
	return s
}

// newTLS makes a new TLS certificate and puts it where the server reads it.
func (s *site) newTLS() {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(s, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(s, err)
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(s, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(s, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(s, err)
	s.roots.AddCert(cert)
	s.pair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	s.write("tls.key", "PRIVATE KEY", secret)
	s.write("tls.pem", "CERTIFICATE", der)
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, kind string, der []byte) {
	s.Helper()
	require.NoError(s, os.WriteFile(s.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// running is a server under test.
type running struct {
	devices, admin string
	stop           context.CancelFunc
	ended          chan error
}

// start runs a server with these flags besides the usual ones.
func (s *site) start(args ...string) *running {
	s.Helper()
	usual := []string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-device-ca", s.file("devices.pem"), "-store", "sqlite:" + s.file("mdm.db"),
		"-push-cert", s.file("push.pem"), "-no-push"}
	o, err := parse(append(usual, args...), environment{"APPLEMDM_API_TOKEN": token}.get, io.Discard)
	require.NoError(s, err)
	ctx, cancel := context.WithCancel(s.Context())
	r := &running{stop: cancel, ended: make(chan error, 1)}
	opened := make(chan struct{})
	go func() {
		r.ended <- run(ctx, o, io.Discard, func(devices, admin net.Addr) {
			r.devices, r.admin = devices.String(), "http://"+admin.String()
			close(opened)
		})
	}()
	select {
	case <-opened:
	case err := <-r.ended:
		require.NoError(s, err)
	}
	var once sync.Once
	end := func() {
		once.Do(func() {
			cancel()
			require.NoError(s, <-r.ended)
		})
	}
	r.stop = end
	s.Cleanup(end)
	return r
}

type environment map[string]string

func (e environment) get(name string) string { return e[name] }

// device enrolls a simulated device.
func (s *site) device(mode mdmtest.Mode, base string) *mdmtest.Device {
	s.Helper()
	d := mdmtest.NewDevice(mdmtest.Config{RootCAs: s.roots, Mode: mode})
	p, err := scep.NewPKCS12(s.Context(), s.ca, s.ledger.SCEP, scep.Request{}, scep.PKCS12Options{})
	require.NoError(s, err)
	e := profile.Enrollment{Identifier: "com.example.mdm", Topic: "com.apple.mgmt.External.test", ServerURL: base + "/mdm",
		SignMessage: mode == mdmtest.ModeSignature, Identity: &profile.PKCS12{PayloadContent: p.Content, Password: p.Password}}
	built, err := e.Profile()
	require.NoError(s, err)
	data, err := built.Encode()
	require.NoError(s, err)
	require.NoError(s, d.InstallEnrollment(s.Context(), data))
	return d
}

func (s *site) ask(method, url, body string) (int, map[string]any) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, url, strings.NewReader(body))
	require.NoError(s, err)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(s, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(s, err)
	var answer map[string]any
	_ = json.Unmarshal(data, &answer)
	return res.StatusCode, answer
}

// cycle gives a device a command over the API and has it answered.
func (s *site) cycle(r *running, d *mdmtest.Device) {
	s.Helper()
	status, answer := s.ask("POST", r.admin+"/v1/commands?to="+d.ID(), `{"RequestType": "SecurityInfo"}`)
	require.Equal(s, 200, status, answer)
	require.EqualValues(s, 1, answer["queued"], answer)
	require.NoError(s, d.Poll(s.Context()))
	_, answer = s.ask("GET", r.admin+"/v1/commands/"+answer["uuid"].(string), "")
	assert.Equal(s, "acknowledged", answer["commands"].([]any)[0].(map[string]any)["state"])
}

func TestTLS(t *testing.T) {
	s := newSite(t)
	r := s.start("-tls-cert", s.file("tls.pem"), "-tls-key", s.file("tls.key"))
	d := s.device(mdmtest.ModeTLS, "https://"+r.devices)
	s.cycle(r, d)
	_, answer := s.ask("GET", r.admin+"/v1/push-certificates", "")
	assert.Len(t, answer["pushCertificates"], 1)
	status, _ := s.ask("GET", r.admin+"/healthz", "")
	assert.Equal(t, 200, status)
	status, _ = s.ask("GET", r.admin+"/readyz", "")
	assert.Equal(t, 200, status)
	r.stop()
	r = s.start("-tls-cert", s.file("tls.pem"), "-tls-key", s.file("tls.key"))
	_, answer = s.ask("GET", r.admin+"/v1/enrollments", "")
	assert.Len(t, answer["enrollments"], 1, "a restart loses nothing")
}

func TestSignatureBehindProxy(t *testing.T) {
	s := newSite(t)
	r := s.start("-identity", "signature")
	s.cycle(r, s.device(mdmtest.ModeSignature, s.proxy(r, nil)))
}

func TestHeaderBehindProxy(t *testing.T) {
	s := newSite(t)
	r := s.start("-identity", "header:client-cert", "-trusted-proxies", "127.0.0.0/8")
	d := s.device(mdmtest.ModeTLS, s.proxy(r, func(out *http.Request, in *x509.Certificate) {
		out.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(in.Raw)+":")
	}))
	s.cycle(r, d)
}

// proxy ends TLS in front of a server.
func (s *site) proxy(r *running, pass func(*http.Request, *x509.Certificate)) string {
	s.Helper()
	target := &url.URL{Scheme: "http", Host: r.devices}
	p := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(x *httputil.ProxyRequest) {
		x.SetURL(target)
		if pass != nil && len(x.In.TLS.PeerCertificates) > 0 {
			pass(x.Out, x.In.TLS.PeerCertificates[0])
		}
	}})
	p.TLS = &tls.Config{Certificates: []tls.Certificate{s.pair}, ClientAuth: tls.RequestClientCert}
	p.StartTLS()
	s.Cleanup(p.Close)
	return p.URL
}

// TestEndsGracefully asks whether it is ready while it drains.
func TestEndsGracefully(t *testing.T) {
	s := newSite(t)
	r := s.start("-identity", "signature", "-drain", "300ms")
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.stop() }()
	require.Eventually(t, func() bool {
		status, _ := s.ask("GET", "http://"+r.devices+"/readyz", "")
		return status == http.StatusServiceUnavailable
	}, 5*time.Second, 10*time.Millisecond)
	status, _ := s.ask("GET", "http://"+r.devices+"/healthz", "")
	assert.Equal(t, 200, status, "it serves on until the load balancer has noticed")
	<-stopped
}

func TestCertificateIsReadAgain(t *testing.T) {
	s := newSite(t)
	pair := &keyPair{cert: s.file("tls.pem"), key: s.file("tls.key"), log: slog.New(slog.DiscardHandler)}
	first, err := pair.get(nil)
	require.NoError(t, err)
	s.newTLS()
	require.NoError(t, os.Chtimes(s.file("tls.pem"), time.Now(), time.Now().Add(time.Minute)))
	pair.looked = time.Time{}
	second, err := pair.get(nil)
	require.NoError(t, err)
	assert.NotEqual(t, first.Certificate, second.Certificate)
	require.NoError(t, os.WriteFile(s.file("tls.pem"), []byte("half"), 0o600))
	pair.looked = time.Time{}
	third, err := pair.get(nil)
	require.NoError(t, err, "a file that cannot be read does not end the service")
	assert.Equal(t, second, third)
}

func TestOptions(t *testing.T) {
	good := []string{"-device-ca", "ca.pem", "-tls-cert", "c", "-tls-key", "k"}
	env := environment{"APPLEMDM_API_TOKEN": token, "APPLEMDM_LISTEN": ":1", "APPLEMDM_PATH": "/other"}
	o, err := parse(append(good, "-path", "/mine"), env.get, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, ":1", o.listen, "out of the environment")
	assert.Equal(t, "/mine", o.path, "a flag comes first")
	for args, text := range map[string]string{
		"":                                     "-device-ca",
		"-device-ca x":                         "-identity tls needs",
		"-device-ca x -tls-cert y":             "go together",
		"-device-ca x -identity odd":           "-identity is",
		"-device-ca x -identity header:":       "-identity is",
		"-device-ca x -identity header:X-Cert": "-trusted-proxies",
		"-device-ca x -identity signature -path mdm":    "slash",
		"-device-ca x -identity signature odd":          "odd",
		"-device-ca x -identity signature -log xml":     "-log",
		"-device-ca x -identity signature -scep-url y":  "-scep-url needs",
		"-device-ca x -identity signature -readopt -1h": "-readopt",
	} {
		_, err := parse(strings.Fields(args), environment{"APPLEMDM_API_TOKEN": token}.get, io.Discard)
		require.ErrorContains(t, err, text, args)
	}
	_, err = parse(good, environment{}.get, io.Discard)
	require.ErrorContains(t, err, "APPLEMDM_API_TOKEN")
	_, err = parse(good, environment{"APPLEMDM_API_TOKEN": token, "APPLEMDM_DRAIN": "soon"}.get, io.Discard)
	require.ErrorContains(t, err, "APPLEMDM_DRAIN")
}

func TestWhatCannotStart(t *testing.T) {
	s := newSite(t)
	base := []string{"-identity", "signature", "-device-ca", s.file("devices.pem"), "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}
	for args, text := range map[string]string{
		"-store odd:x":                                            "-store",
		"-store postgres://x":                                     "-key-file",
		"-store memory: -key-file nowhere":                        "-key-file",
		"-store memory: -device-ca nowhere":                       "-device-ca",
		"-store memory: -push-cert nowhere":                       "-push-cert",
		"-store memory: -apns-ca nowhere":                         "-apns-ca",
		"-store memory: -listen 256.0.0.1:1":                      "listen",
		"-store memory: -identity header:X -trusted-proxies nets": "-trusted-proxies",
		"-store memory: -identity header:X -trusted-proxies 10.0.0.0/8 -header-format strange": "-header-format",
	} {
		o, err := parse(append(base, strings.Fields(args)...), environment{"APPLEMDM_API_TOKEN": token}.get, io.Discard)
		require.NoError(t, err, args)
		var logs bytes.Buffer
		require.ErrorContains(t, run(t.Context(), o, &logs, nil), text, args)
	}
}
