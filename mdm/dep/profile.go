package dep

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// Profile is what a device finds at Apple when it is set up: where it enrolls, and which panes of the Setup Assistant are
// left out. The zero value of everything but Name and URL is what Apple takes if nothing is said. (Apple: Profile.)
type Profile struct {
	Name                string   // required, at most 125 characters; people see it in the portal only
	URL                 string   // required, https, at most 2000 characters: where the device posts who it is, and gets its enrollment profile
	ConfigurationWebURL string   // https, at most 2000 characters: a page on which a person signs in, instead of URL; iOS 13, macOS 10.15
	AnchorCerts         []string // base64 of DER: whom the device trusts at these URLs; see EncodeCerts. None: whom it trusts anyway

	SupervisingHostCerts []string // base64 of DER: hosts that a supervised device pairs with even if AllowPairing is false
	AllowPairing         *bool    // nil: true. Deprecated by Apple: a restriction does it
	IsSupervised         bool     // needed before iOS 13 only: later ones always are
	IsMandatory          bool     // the person cannot skip the enrollment
	IsMDMRemovable       *bool    // nil: true. false needs IsSupervised

	IsMultiUser           bool   // Shared iPad
	AwaitDeviceConfigured bool   // the Setup Assistant waits for the command DeviceConfigured
	AutoAdvanceSetup      bool   // set up without a person; tvOS, macOS 11
	Language              string // for AutoAdvanceSetup, ISO 639-1, as "en"
	Region                string // for AutoAdvanceSetup, ISO 3166-1, as "US"
	IsReturnToService     bool   // OS 26
	NoProfileFromBackup   bool   // do_not_use_profile_from_backup

	SkipSetupItems      []string // as SkipAppleID; any other word is good, too
	Department          string   // shown on the device, at most 125 characters
	SupportPhoneNumber  string   // shown on the device, at most 50 characters
	SupportEmailAddress string   // at most 250 characters
	OrgMagic            string   // ours, at most 256 characters
	Devices             []string // in DefineProfile only: serial numbers of those that get it at once, at most MaxBatch

	Extra map[string]json.RawMessage // keys that are not above, or whose values do not fit
}

var profileKeys = []string{
	"profile_name", "url", "configuration_web_url", "anchor_certs", "supervising_host_certs", "allow_pairing", "is_supervised",
	"is_mandatory", "is_mdm_removable", "is_multi_user", "await_device_configured", "auto_advance_setup", "language", "region",
	"is_return_to_service", "do_not_use_profile_from_backup", "skip_setup_items", "department", "support_phone_number",
	"support_email_address", "org_magic", "devices",
}

func (p *Profile) field(key string) any { //nolint:gocyclo // a table
	switch key {
	case "profile_name":
		return &p.Name
	case "url":
		return &p.URL
	case "configuration_web_url":
		return &p.ConfigurationWebURL
	case "anchor_certs":
		return &p.AnchorCerts
	case "supervising_host_certs":
		return &p.SupervisingHostCerts
	case "allow_pairing":
		return &p.AllowPairing
	case "is_supervised":
		return &p.IsSupervised
	case "is_mandatory":
		return &p.IsMandatory
	case "is_mdm_removable":
		return &p.IsMDMRemovable
	case "is_multi_user":
		return &p.IsMultiUser
	case "await_device_configured":
		return &p.AwaitDeviceConfigured
	case "auto_advance_setup":
		return &p.AutoAdvanceSetup
	case "language":
		return &p.Language
	case "region":
		return &p.Region
	case "is_return_to_service":
		return &p.IsReturnToService
	case "do_not_use_profile_from_backup":
		return &p.NoProfileFromBackup
	case "skip_setup_items":
		return &p.SkipSetupItems
	case "department":
		return &p.Department
	case "support_phone_number":
		return &p.SupportPhoneNumber
	case "support_email_address":
		return &p.SupportEmailAddress
	case "org_magic":
		return &p.OrgMagic
	case "devices":
		return &p.Devices
	}
	return nil
}

// UnmarshalJSON reads a profile in Apple's form. A value of an odd type is no error: it goes into Extra. Line breaks in
// certificates are taken out.
func (p *Profile) UnmarshalJSON(data []byte) (err error) {
	*p = Profile{}
	if p.Extra, err = decodeObject(data, p); err != nil {
		return err
	}
	p.AnchorCerts, p.SupervisingHostCerts = unbroken(p.AnchorCerts), unbroken(p.SupervisingHostCerts)
	return nil
}

// MarshalJSON writes the profile in Apple's form, with Extra, and certificates without line breaks.
func (p Profile) MarshalJSON() ([]byte, error) {
	p.AnchorCerts, p.SupervisingHostCerts = unbroken(p.AnchorCerts), unbroken(p.SupervisingHostCerts)
	return encodeObject(&p, profileKeys, p.Extra)
}

// unbroken returns the certificates without line breaks.
func unbroken(certs []string) []string {
	if len(certs) == 0 {
		return nil
	}
	out := make([]string, len(certs))
	for i, cert := range certs {
		out[i] = string(dropSpace([]byte(cert)))
	}
	return out
}

// EncodeCerts returns certificates as Profile.AnchorCerts and Profile.SupervisingHostCerts have them.
func EncodeCerts(certs ...*x509.Certificate) []string {
	out := make([]string, 0, len(certs))
	for _, cert := range certs {
		out = append(out, base64.StdEncoding.EncodeToString(cert.Raw))
	}
	return out
}

// DecodeCerts is the way back from EncodeCerts; line breaks are passed over.
func DecodeCerts(certs []string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, text := range unbroken(certs) {
		der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	return out, nil
}
