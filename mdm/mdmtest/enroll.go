package mdmtest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	pkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gomdm/applemdm/mdm/scep"
	"github.com/gomdm/applemdm/profile"
)

// Trust fetches a trust profile and trusts the roots in it. A real device's user has to confirm that; here it fails if
// the profile holds anything else.
func (d *Device) Trust(ctx context.Context, url string) error {
	data, err := d.get(ctx, url)
	if err != nil {
		return err
	}
	parsed, err := profile.Parse(data)
	if err != nil {
		return fmt.Errorf("mdmtest: trust profile: %w", err)
	}
	if len(parsed.Profile.Payloads) == 0 {
		return errors.New("mdmtest: the trust profile is empty")
	}
	for _, payload := range parsed.Profile.Payloads {
		root, ok := payload.(*profile.RootCertificate)
		if !ok {
			return fmt.Errorf("mdmtest: the trust profile holds a %s", payload.PayloadType())
		}
		cert, err := x509.ParseCertificate(root.PayloadContent)
		if err != nil {
			return fmt.Errorf("mdmtest: trust profile: %w", err)
		}
		d.trust(cert)
	}
	return nil
}

// Enroll fetches an enrollment profile and installs it.
func (d *Device) Enroll(ctx context.Context, url string) error {
	data, err := d.get(ctx, url)
	if err != nil {
		return err
	}
	return d.InstallEnrollment(ctx, data)
}

// InstallEnrollment installs an enrollment profile: it checks it, gets an identity, sends Authenticate and TokenUpdate,
// and then connects once, as devices do. If any of it fails, the device is managed as before.
func (d *Device) InstallEnrollment(ctx context.Context, data []byte) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	p, err := d.open(data)
	if err != nil {
		return err
	}
	if err := d.replace(ctx, p); err != nil {
		return err
	}
	return d.session(ctx, d.channel())
}

// open reads a profile and checks its signature. An encrypted one is decrypted with the identities that the device has, those
// in more first.
func (d *Device) open(data []byte, more ...tls.Certificate) (*profile.Profile, error) {
	parsed, err := profile.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: profile: %w", err)
	}
	if err := d.checkSignature(parsed); err != nil {
		return nil, err
	}
	if len(parsed.Profile.EncryptedContent) == 0 {
		return parsed.Profile, nil
	}
	for _, identity := range append(more, d.identities()...) {
		if p, err := parsed.Profile.Decrypt(identity.Leaf, identity.PrivateKey); err == nil {
			return p, nil
		}
	}
	return nil, errors.New("mdmtest: the profile is encrypted, and not for this device")
}

// identities are those that the device got from a server: for MDM, and over the air.
func (d *Device) identities() []tls.Certificate {
	var list []tls.Certificate
	if m := d.managed(); m != nil {
		list = append(list, tls.Certificate{Certificate: [][]byte{m.cert.Raw}, PrivateKey: m.key, Leaf: m.cert})
	}
	if known := d.delivered(); known != nil {
		list = append(list, known.identity)
	}
	return list
}

// replace is the part of an enrollment that a renewal by InstallProfile shares.
func (d *Device) replace(ctx context.Context, p *profile.Profile) (err error) {
	if problems := profile.ValidateEnrollment(p); len(problems) > 0 {
		return fmt.Errorf("mdmtest: enrollment profile: %s", problems[0])
	}
	m := &management{profile: p, token: randomBytes(32), magic: randomUUID()}
	var identity profile.Payload
	for _, payload := range p.Payloads {
		switch p := payload.(type) {
		case *profile.MDM:
			m.mdm = p
		case *profile.SCEP, *profile.PKCS12:
			identity = p
		case *profile.RootCertificate:
			err = d.trustDER(p.PayloadContent)
		case *profile.Certificate:
			err = d.trustDER(p.PayloadContent)
		}
		if err != nil {
			return err
		}
	}
	if m.key, m.cert, err = d.identity(ctx, identity); err != nil {
		return err
	}
	m.client = d.httpClient(m)
	if err := d.authenticate(ctx, m); err != nil {
		return err
	}
	return d.complete(ctx, m)
}

// complete makes m the device's management by its first TokenUpdate.
func (d *Device) complete(ctx context.Context, m *management) error {
	old := d.managed()
	d.mu.Lock()
	if old == nil {
		d.setup = d.cfg.AwaitConfiguration || d.assigned != nil && d.assigned.AwaitDeviceConfigured
		if d.unlock == nil {
			d.unlock = randomBytes(64)
		}
	} else if old.mdm.Topic != m.mdm.Topic || old.mdm.ServerURL != m.mdm.ServerURL || old.profile.Identifier != m.profile.Identifier {
		d.mu.Unlock()
		return errors.New("mdmtest: a replacement must keep Topic, ServerURL and PayloadIdentifier")
	}
	d.mu.Unlock()
	if err := d.tokenUpdate(ctx, m); err != nil {
		return err
	}
	d.install(m)
	if old != nil {
		old.client.CloseIdleConnections()
	}
	return nil
}

// checkSignature accepts an unsigned profile, and a signed one whose chain leads to a trusted root.
func (d *Device) checkSignature(p *profile.Parsed) error {
	if p.Signer == nil {
		return nil
	}
	intermediates := x509.NewCertPool()
	for _, cert := range p.Certificates {
		intermediates.AddCert(cert)
	}
	_, err := p.Signer.Verify(x509.VerifyOptions{Roots: d.trusted(), Intermediates: intermediates,
		CurrentTime: d.cfg.Clock(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return fmt.Errorf("mdmtest: the profile's signature is not trusted: %w", err)
	}
	return nil
}

func (d *Device) newKey(bits int) (*rsa.PrivateKey, error) {
	if d.cfg.NewKey != nil {
		return d.cfg.NewKey(bits)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// identity gets the key and certificate that a payload promises.
func (d *Device) identity(ctx context.Context, payload profile.Payload) (crypto.Signer, *x509.Certificate, error) {
	switch p := payload.(type) {
	case *profile.SCEP:
		bits := 2048
		if n := p.PayloadContent.Keysize; n != nil {
			bits = max(int(*n), bits)
		}
		key, err := d.newKey(bits)
		if err != nil {
			return nil, nil, fmt.Errorf("mdmtest: %w", err)
		}
		client := scep.Client{URL: p.PayloadContent.URL, HTTP: d.httpClient(nil), Clock: d.cfg.Clock}
		cert, err := client.Enroll(ctx, key, p.PayloadContent.Challenge)
		if err != nil {
			return nil, nil, fmt.Errorf("mdmtest: scep: %w", err)
		}
		return key, cert, nil
	case *profile.PKCS12:
		key, cert, _, err := pkcs12.DecodeChain(p.PayloadContent, string(p.Password.Reveal()))
		if err != nil {
			return nil, nil, fmt.Errorf("mdmtest: pkcs12: %w", err)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("mdmtest: pkcs12: a %T cannot sign", key)
		}
		return signer, cert, nil
	}
	return nil, nil, errors.New("mdmtest: no identity in the profile")
}

// trustDER trusts a certificate of a profile, before the MDM payload is looked at.
func (d *Device) trustDER(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("mdmtest: enrollment profile: %w", err)
	}
	d.trust(cert)
	return nil
}

func (d *Device) authenticate(ctx context.Context, m *management) error {
	keys := map[string]any{"Topic": m.mdm.Topic}
	if d.cfg.EnrollmentID == "" {
		for k, v := range map[string]string{
			"DeviceName": d.cfg.Name, "Model": d.cfg.ProductName, "ModelName": d.cfg.ProductName, "ProductName": d.cfg.ProductName,
			"SerialNumber": d.cfg.SerialNumber, "OSVersion": d.OSVersion(), "BuildVersion": "22C152",
		} {
			keys[k] = v
		}
	}
	_, err := d.checkin(ctx, m, "Authenticate", d.identifiers(), keys)
	return err
}

func (d *Device) tokenUpdate(ctx context.Context, m *management) error {
	keys := map[string]any{"Topic": m.mdm.Topic, "Token": m.token, "PushMagic": m.magic, "AwaitingConfiguration": d.InSetup()}
	if d.cfg.EnrollmentID == "" {
		d.mu.Lock()
		keys["UnlockToken"] = append([]byte(nil), d.unlock...)
		d.mu.Unlock()
	}
	_, err := d.checkin(ctx, m, "TokenUpdate", d.identifiers(), keys)
	return err
}

func (d *Device) trust(cert *x509.Certificate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.roots = d.roots.Clone() // clients made earlier keep the pool that they have
	d.roots.AddCert(cert)
}

func (d *Device) trusted() *x509.CertPool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roots
}

// TrustCertificate makes the device trust cert as a root, as its user can without a profile.
func (d *Device) TrustCertificate(cert *x509.Certificate) { d.trust(cert) }
