package mdmtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/profile"
)

// ErrNoService is returned by a device that was told of no profile service.
var ErrNoService = errors.New("mdmtest: the device knows no profile service")

// profileService is what the first profile of over-the-air enrollment says.
type profileService struct {
	url        string
	challenge  any // a text or data
	attributes []string
}

// delivery is what a device remembers of an enrollment over the air: where it came from and with which identity.
type delivery struct {
	service  profileService
	identity tls.Certificate
}

// EnrollOverTheAir enrolls by a Profile Service (Apple: Over-the-Air Profile Delivery and Configuration): it fetches the
// first profile from url, tells its attributes under its built-in certificate, gets an identity by SCEP, and asks for the
// last profile with that. It decrypts the last profile and installs it; one with com.apple.mdm as
// [Device.InstallEnrollment] does.
func (d *Device) EnrollOverTheAir(ctx context.Context, url string) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	data, err := d.get(ctx, url)
	if err != nil {
		return err
	}
	service, err := d.readService(data)
	if err != nil {
		return err
	}
	return d.follow(ctx, d.runService(ctx, service))
}

// moved is the answer of a server that begins anew.
type moved struct{ to profileService }

func (*moved) Error() string { return "mdmtest: the profile service leads to another one" }

// follow goes where a server leads to, once.
func (d *Device) follow(ctx context.Context, err error) error {
	var m *moved
	if errors.As(err, &m) {
		return d.runService(ctx, m.to)
	}
	return err
}

// RepeatOverTheAir tells its attributes and fetches the last profile anew, as devices are reported to do right after they
// did it first, and as one whose profile has expired may.
func (d *Device) RepeatOverTheAir(ctx context.Context) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	known := d.delivered()
	if known == nil {
		return ErrNoService
	}
	return d.follow(ctx, d.runService(ctx, known.service))
}

// UpdateOverTheAir asks for the last profile again, as a device whose profile has expired: with the identity that it got
// over the air, or, if that has expired, as [Device.RepeatOverTheAir]. A server that redirects it to a new profile service
// is followed there.
func (d *Device) UpdateOverTheAir(ctx context.Context) error {
	d.talk.Lock()
	defer d.talk.Unlock()
	known := d.delivered()
	if known == nil {
		return ErrNoService
	}
	if d.cfg.Clock().After(known.identity.Leaf.NotAfter) {
		return d.follow(ctx, d.runService(ctx, known.service))
	}
	return d.follow(ctx, d.fetchFinal(ctx, *known))
}

// DeliveryIdentity returns the identity that the device got over the air; its Leaf is nil if it has none.
func (d *Device) DeliveryIdentity() tls.Certificate {
	if known := d.delivered(); known != nil {
		return known.identity
	}
	return tls.Certificate{}
}

func (d *Device) delivered() *delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.delivery
}

// runService goes through steps 2 and 3.
func (d *Device) runService(ctx context.Context, s profileService) error {
	builtIn, err := d.BuiltIn()
	if err != nil {
		return err
	}
	keys := d.attributes(s.attributes)
	if s.challenge != nil {
		keys["CHALLENGE"] = s.challenge
	}
	answer, err := d.post(ctx, s.url, keys, builtIn, d.signOptions())
	if err != nil {
		return err
	}
	if again, err := d.readService(answer); err == nil { // after a redirect
		return &moved{again}
	}
	p, err := d.open(answer)
	if err != nil {
		return err
	}
	var payload profile.Payload
	for _, candidate := range p.Payloads {
		if candidate.PayloadType() == profile.TypeSCEP {
			payload = candidate
		}
	}
	key, cert, err := d.identity(ctx, payload)
	if err != nil {
		return err
	}
	got := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
	return d.fetchFinal(ctx, delivery{service: s, identity: got})
}

// fetchFinal is step 3: it fetches the last profile and installs it.
func (d *Device) fetchFinal(ctx context.Context, from delivery) error {
	answer, err := d.post(ctx, from.service.url, d.attributes(from.service.attributes), from.identity, cms.SignOptions{})
	if err != nil {
		return err
	}
	if again, err := d.readService(answer); err == nil {
		return &moved{again}
	}
	p, err := d.open(answer, from.identity)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.delivery = &from
	d.mu.Unlock()
	if !holdsMDM(p) {
		d.keep(p)
		return nil
	}
	if err := d.replace(ctx, p); err != nil {
		return err
	}
	return d.session(ctx, d.channel())
}

// readService reads the first profile and checks its shape.
func (d *Device) readService(data []byte) (profileService, error) {
	signed := &profile.Parsed{Plain: data}
	if bytes.HasPrefix(data, []byte{0x30}) { // an ASN.1 SEQUENCE
		message, err := cms.ParseSigned(data, cms.Limits{Bytes: profile.MaxSize})
		if err == nil {
			err = message.Verify()
		}
		if err != nil {
			return profileService{}, fmt.Errorf("mdmtest: profile service: %w", err)
		}
		signed.Plain, signed.Signer, signed.Certificates = message.Content, message.Signer, message.Certificates
	}
	if err := d.checkSignature(signed); err != nil {
		return profileService{}, err
	}
	var top struct {
		PayloadType, PayloadIdentifier, PayloadUUID string
		PayloadVersion                              int64
		PayloadContent                              struct {
			URL              string
			DeviceAttributes []string
			Challenge        any
		}
	}
	if err := plistx.Unmarshal(signed.Plain, &top); err != nil {
		return profileService{}, fmt.Errorf("mdmtest: profile service: %w", err)
	}
	s := profileService{url: top.PayloadContent.URL, challenge: top.PayloadContent.Challenge, attributes: top.PayloadContent.DeviceAttributes}
	if top.PayloadType != "Profile Service" || top.PayloadVersion != 1 || top.PayloadIdentifier == "" || top.PayloadUUID == "" ||
		!strings.HasPrefix(s.url, "https://") {
		return profileService{}, errors.New("mdmtest: not the profile of a profile service")
	}
	return s, nil
}

// attributes returns what the device says of itself, of the names that it was asked for and knows.
func (d *Device) attributes(names []string) map[string]any {
	all := map[string]string{"UDID": d.cfg.UDID, "SERIAL": d.cfg.SerialNumber, "PRODUCT": d.cfg.ProductName, "VERSION": "22C152",
		"DEVICE_NAME": d.cfg.Name, "MAC_ADDRESS_EN0": "f0:18:98:00:00:01"}
	keys := map[string]any{}
	for _, name := range names {
		if all[name] != "" {
			keys[name] = all[name]
		}
	}
	return keys
}

// post sends keys, signed.
func (d *Device) post(ctx context.Context, url string, keys map[string]any, by tls.Certificate, o cms.SignOptions) ([]byte, error) {
	body, err := d.signed(keys, by, o)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	maps.Copy(req.Header, d.cfg.Header)
	req.Header.Set("Content-Type", "application/pkcs7-signature")
	client := d.httpClient(nil)
	defer client.CloseIdleConnections()
	return do(client, req)
}
