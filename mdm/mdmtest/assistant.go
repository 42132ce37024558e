package mdmtest

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/setup"
	"github.com/gomdm/applemdm/profile"
)

// Assignment is the profile of Automated Device Enrollment that a device gets from Apple when it is activated.
type Assignment struct {
	URL         string // asked by POST
	WebURL      string // the configuration_web_url: opened in a web view instead of that, if it is set
	AnchorCerts []*x509.Certificate

	IsSupervised          bool
	IsMDMRemovable        bool
	AwaitDeviceConfigured bool
	SkipSetupItems        []string
}

// Assistant is Setup Assistant with its user and what the device can do.
type Assistant struct {
	Assignment Assignment

	User, Password string // what the user types; empty: the user gives up
	// Fill is shown each page of the web view that has a form, and fills it in by changing Page.Form. Nil: it is sent as it is.
	Fill func(*Page) error

	// CanUpdate, CanPSSO are what the device says that it can be asked for. Update and PSSO do it, and return an error if that
	// fails; nil: done. A device that has updated itself has the version that was asked for. One with Platform SSO comes again with
	// the token that PSSO returns, from where AuthURL ends, and with none if PSSO is nil.
	CanUpdate, CanPSSO bool
	Update             func(enroll.ErrorSoftwareUpdateRequiredDetails) error
	PSSO               func(enroll.ErrorPSSORequiredDetails) (token string, err error)
	// PairingToken gets a token for an Apple Watch from its phone. Nil: there is none.
	PairingToken func(security string) ([]byte, error)
	// Says changes what the device says of itself, as a MachineInfo; a nil value is left out. Nil: nothing.
	Says map[string]any

	Every time.Duration // how often a device that awaits its configuration asks for commands; 0: 20 ms
}

// SetupReport is what the user of Setup Assistant saw.
type SetupReport struct {
	Prompts []string // above the fields for name and password, each time
	Pages   []string // URLs in the web view
	Updates []string // versions that the device was updated to
	PSSO    bool     // Platform SSO was set up
	Panes   []string // of Setup Assistant: all that the schema knows but those that are skipped
}

// RefusedError is an answer that ends Setup Assistant, with what Apple's 403 says.
type RefusedError struct {
	Code, Message string // empty where the answer has none
	Answer        *StatusError
}

// Error says what the server answered.
func (e *RefusedError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("mdmtest: Setup Assistant ends: %d %s %s", e.Answer.Status, e.Code, e.Message))
}

// Unwrap returns the answer.
func (e *RefusedError) Unwrap() error { return e.Answer }

// maxRounds is how often a device repeats its request for an enrollment profile: one that would do it forever is in a loop.
const maxRounds = 8

// assistant is a run of Setup Assistant.
type assistant struct {
	Assistant
	d      *Device
	report *SetupReport
	says   map[string]any

	login   string          // the value of Authorization
	pending *digestExchange // the login by Digest that was sent last
	token   string          // of Platform SSO
}

// SetupAssistant goes through Setup Assistant as an assigned device does: it says what it is, under its built-in certificate,
// logs its user in or opens the web view, does what the server requires first, and installs the enrollment profile. Then it
// asks for commands until the server says DeviceConfigured, if it has to wait for that. The report is there with an error, too.
func (d *Device) SetupAssistant(ctx context.Context, c Assistant) (*SetupReport, error) {
	a := &assistant{Assistant: c, d: d, report: &SetupReport{}}
	d.talk.Lock()
	err := a.enroll(ctx)
	d.talk.Unlock()
	if err != nil {
		return a.report, err
	}
	for _, pane := range setup.Panes() {
		if !slices.Contains(c.Assignment.SkipSetupItems, string(pane)) {
			a.report.Panes = append(a.report.Panes, string(pane))
		}
	}
	return a.report, d.awaitConfigured(ctx, c.Every)
}

// awaitConfigured polls until the device may leave Setup Assistant.
func (d *Device) awaitConfigured(ctx context.Context, every time.Duration) error {
	if every <= 0 {
		every = 20 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for d.InSetup() {
		if err := d.Poll(ctx); err != nil {
			return err
		}
		if !d.InSetup() {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// Assigned returns the profile of Automated Device Enrollment that the device was enrolled under, false if it was not.
func (d *Device) Assigned() (Assignment, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.assigned == nil {
		return Assignment{}, false
	}
	return *d.assigned, true
}

func (a *assistant) enroll(ctx context.Context) error {
	data, err := a.fetch(ctx)
	if err != nil {
		return err
	}
	p, err := a.d.open(data)
	if err != nil {
		return err
	}
	a.d.mu.Lock()
	before := a.d.assigned
	a.d.assigned = &a.Assignment
	a.d.mu.Unlock()
	if err := a.d.replace(ctx, p); err != nil {
		a.d.mu.Lock()
		a.d.assigned = before
		a.d.mu.Unlock()
		return err
	}
	return a.d.session(ctx, a.d.channel())
}

// fetch asks for the enrollment profile until there is one.
func (a *assistant) fetch(ctx context.Context) ([]byte, error) {
	for range maxRounds {
		message, err := a.message()
		if err != nil {
			return nil, err
		}
		var answer *reply
		if a.Assignment.WebURL != "" {
			answer, err = a.browse(ctx, message)
		} else {
			answer, err = a.post(ctx, message)
		}
		switch {
		case err != nil:
			return nil, err
		case answer.status == http.StatusOK:
			return answer.body, answer.isProfile()
		case answer.status == http.StatusUnauthorized && a.Assignment.WebURL == "":
			err = a.logIn(answer)
		case answer.status == http.StatusForbidden:
			err = a.comply(answer)
		default:
			err = answer.refusal()
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("mdmtest: Setup Assistant goes round in a circle")
}

// message is what the device says of itself, signed.
func (a *assistant) message() ([]byte, error) {
	keys := a.d.attributes([]string{"UDID", "SERIAL", "PRODUCT", "VERSION"})
	keys["OS_VERSION"], keys["LANGUAGE"] = a.d.OSVersion(), "en"
	if a.CanUpdate {
		keys["MDM_CAN_REQUEST_SOFTWARE_UPDATE"] = true
	}
	if a.CanPSSO && !a.report.PSSO {
		keys["MDM_CAN_REQUEST_PSSO_CONFIG"] = true
	}
	maps.Copy(keys, a.says)
	for name, value := range a.Says {
		if keys[name] = value; value == nil {
			delete(keys, name)
		}
	}
	builtIn, err := a.d.BuiltIn()
	if err != nil {
		return nil, err
	}
	return a.d.signed(keys, builtIn, a.d.signOptions())
}

// signOptions are how the device signs with its built-in certificate: not all systems send the chain.
func (d *Device) signOptions() cms.SignOptions {
	options := cms.SignOptions{Hash: d.cfg.Digest}
	if ca := d.cfg.BuiltIn; ca != nil && d.cfg.Digest != crypto.SHA1 {
		options.Chain = []*x509.Certificate{ca.Certificate, ca.Root}
	}
	return options
}

// signed returns keys as a signed message.
func (d *Device) signed(keys map[string]any, by tls.Certificate, o cms.SignOptions) ([]byte, error) {
	content, err := plistx.MarshalIndent(keys)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: %w", err)
	}
	key, ok := by.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("mdmtest: a %T cannot sign", by.PrivateKey)
	}
	body, err := cms.Sign(content, by.Leaf, key, o)
	if err != nil {
		return nil, fmt.Errorf("mdmtest: sign: %w", err)
	}
	return body, nil
}

func (r *reply) isProfile() error {
	if r.mediaType() != profile.ContentType {
		return fmt.Errorf("mdmtest: Setup Assistant got a %q instead of a profile", r.header.Get("Content-Type"))
	}
	return nil
}
