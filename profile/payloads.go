package profile

import (
	"crypto/x509"

	"github.com/gomdm/applemdm/mdm"
)

// Payload types of the initial profile.
const (
	TypeRoot   = "com.apple.security.root"
	TypePKCS1  = "com.apple.security.pkcs1"
	TypePEM    = "com.apple.security.pem"
	TypePKCS12 = "com.apple.security.pkcs12"
	TypeSCEP   = "com.apple.security.scep"
	TypeACME   = "com.apple.security.acme"
	TypeMDM    = "com.apple.mdm"
)

// Certificate is a certificate that the device is to trust ([TypeRoot]) or to know ([TypePKCS1]).
type Certificate struct {
	Common
	Root     bool   // an anchor: TypeRoot, else TypePKCS1
	Content  []byte // DER; key PayloadContent
	FileName string // key PayloadCertificateFileName
}

// NewCertificate returns the payload of cert: an anchor if cert is self-issued, else an intermediate.
func NewCertificate(cert *x509.Certificate) *Certificate {
	return &Certificate{
		Common:  Common{DisplayName: cert.Subject.CommonName},
		Root:    string(cert.RawIssuer) == string(cert.RawSubject),
		Content: cert.Raw,
	}
}

// PayloadType is TypeRoot or TypePKCS1.
func (c *Certificate) PayloadType() string {
	if c.Root {
		return TypeRoot
	}
	return TypePKCS1
}

// PKCS12 is an identity whose private key travels in the profile: sign the profile and send it over TLS only.
type PKCS12 struct {
	Common
	Content  []byte     // the PKCS#12 file with exactly one identity; key PayloadContent
	Password mdm.Secret // clear in the encoded profile
	FileName string
}

// PayloadType is TypePKCS12.
func (*PKCS12) PayloadType() string { return TypePKCS12 }

// SCEP asks the device to make a key and have it certified. Preferred over PKCS12, because the key never travels.
type SCEP struct {
	Common
	URL       string
	Name      string       // the CA instance, sent as the message of GetCACert
	Subject   [][][]string // RDNs of attribute type and value, as [][][]string{{{"O", "Example"}}, {{"CN", "phone"}}}
	Challenge mdm.Secret
	KeySize   int // bits; 0: 2048
	// KeyUsage is 1 for signing, 4 for encryption, 5 for both; 0: 5, because profiles may be encrypted to the identity.
	KeyUsage   int
	Retries    int // 0: Apple's default
	RetryDelay int // seconds; 0: Apple's default
	// CAFingerprint pins the CA certificate if URL is plain http. Empty: no pin.
	CAFingerprint []byte
	// AllowAllApps and Extractable are the macOS keys AllowAllAppsAccess and KeyIsExtractable; the key is never
	// extractable unless asked for.
	AllowAllApps bool
	Extractable  bool
}

// PayloadType is TypeSCEP.
func (*SCEP) PayloadType() string { return TypeSCEP }

// MDM is the payload that enrolls: com.apple.mdm.
type MDM struct {
	Common
	IdentityCertificateUUID string // PayloadUUID of the identity in the same profile
	Topic                   string // com.apple.mgmt.…, the UID in the subject of the push certificate
	ServerURL               string // https
	CheckInURL              string // https; empty: ServerURL
	SignMessage             bool   // send Mdm-Signature; for servers behind a proxy that ends TLS
	CheckOutWhenRemoved     bool
	AccessRights            mdm.AccessRights // 0 leaves the key out, as account-driven User Enrollment needs
	ServerCapabilities      []string
	UseDevelopmentAPNS      bool

	// PinningUUIDs are PayloadUUIDs of certificates in the same profile that ServerURL's TLS is pinned to;
	// CheckInPinningUUIDs likewise for CheckInURL.
	PinningUUIDs        []string
	CheckInPinningUUIDs []string

	AssignedManagedAppleID string // account-driven enrollment
	EnrollmentMode         string // account-driven enrollment: BYOD or ADDE
}

// PayloadType is TypeMDM.
func (*MDM) PayloadType() string { return TypeMDM }

// Server capabilities of the com.apple.mdm payload.
const (
	CapabilityUserChannel    = "com.apple.mdm.per-user-connections" // user channels of macOS and Shared iPad
	CapabilityBootstrapToken = "com.apple.mdm.bootstraptoken"       // escrow of the bootstrap token
	CapabilityToken          = "com.apple.mdm.token"                // the GetToken check-in message
)

// Raw is a payload of any type. Values are what a property list can hold: string, bool, int64, uint64, float64,
// []byte, time.Time, []any and map[string]any.
type Raw struct {
	Type   string
	Values map[string]any // without PayloadType and PayloadVersion; the other Payload… keys may be set
}

// PayloadType is Type.
func (r *Raw) PayloadType() string { return r.Type }
