package command

// What the commands of daily use give, for [DecodeResult]. The commands that are not here give a [Result] and no more. In
// these types nil is a key that the device did not send, which is not false, unless Apple's schema says that it is.
// Values are those of Apple's schema; newer systems may send others.

// DeviceInformationResponse answers DeviceInformation. A query that the device does not know, or does not answer for lack
// of a right, is absent. Values are string, bool, uint64, int64 (negative numbers only), float64, []byte, time.Time, []any
// and map[string]any. For a few queries, decode into a type of your own:
//
//	var r struct{ QueryResponses struct{ OSVersion, SerialNumber string } }
type DeviceInformationResponse struct {
	QueryResponses map[string]any
}

// ProfileListResponse answers ProfileList.
type ProfileListResponse struct {
	ProfileList []InstalledProfile
}

// InstalledProfile is a profile on a device.
type InstalledProfile struct {
	PayloadIdentifier        string
	PayloadUUID              string
	PayloadVersion           int64
	PayloadDisplayName       string
	PayloadDescription       string
	PayloadOrganization      string
	PayloadRemovalDisallowed bool
	HasRemovalPasscode       bool
	IsEncrypted              bool
	IsManaged                *bool    // not sent by macOS and by supervised devices
	SignerCertificates       [][]byte // DER
	Source                   string   // "Declarative Device Management", or empty
	PayloadContent           []InstalledPayload
}

// InstalledPayload is a payload of an [InstalledProfile].
type InstalledPayload struct {
	PayloadType         string
	PayloadIdentifier   string
	PayloadUUID         string
	PayloadVersion      int64
	PayloadDisplayName  string
	PayloadDescription  string
	PayloadOrganization string
}

// CertificateListResponse answers CertificateList.
type CertificateListResponse struct {
	CertificateList []InstalledCertificate
}

// InstalledCertificate is a certificate on a device.
type InstalledCertificate struct {
	CommonName string
	IsIdentity bool   // the device has the private key
	Data       []byte // DER
}

// InstalledApplicationListResponse answers InstalledApplicationList.
type InstalledApplicationListResponse struct {
	InstalledApplicationList []InstalledApplication
}

// InstalledApplication is an application on a device. Sizes are in bytes.
type InstalledApplication struct {
	Identifier                string // may be missing on macOS
	Name                      string
	Version                   string
	ShortVersion              string
	Path                      string // macOS
	Source                    string
	DistributorIdentifier     string
	ExternalVersionIdentifier *int64
	BundleSize                *int64
	DynamicSize               *int64
	IsValidated               *bool
	Installing                *bool
	AppStoreVendable          *bool
	DeviceBasedVPP            *bool
	BetaApp                   *bool
	AdHocCodeSigned           *bool
	HasUpdateAvailable        *bool
	DownloadFailed            bool
	DownloadWaiting           bool
	DownloadPaused            bool
	DownloadCancelled         bool
	IsAppClip                 bool
}

// DeviceLockResponse answers DeviceLock.
type DeviceLockResponse struct {
	// MessageResult is "Success", "DeviceInLostMode", "NoPasscodeSet" or "Unknown"; empty if there was no message.
	MessageResult string
}
