package ade

import (
	"encoding/base64"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/schema"
)

const (
	opEnroll = "ade.Enroll"
	opWeb    = "ade.Web"
)

// deviceInfo is the header in which a web view carries what the device says (Apple: configuration_web_url).
const deviceInfo = "X-Apple-Aspen-Deviceinfo"

const (
	maxValue        = 1024     // the longest text of a device, in bytes
	maxPairingToken = 16 << 10 // in bytes
	maxHeader       = enroll.MaxMessage*4/3 + 1024
)

// readInfo reads what a device says of itself. Keys that are not known are kept in Extra. The error is Malformed: for a key
// of another type than Apple's, too, which a genuine device does not send.
func readInfo(content []byte) (*enroll.MachineInfo, error) {
	var dict map[string]any
	if err := plistx.UnmarshalLimits(content, &dict, plistx.Limits{Bytes: enroll.MaxMessage, Depth: 8, Elements: 500}); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, opEnroll, "MachineInfo: %w", err)
	}
	info := &enroll.MachineInfo{}
	if err := schema.Decode(dict, info).Err(); err != nil {
		return nil, mdm.Errorf(mdm.Malformed, opEnroll, "MachineInfo: %w", err)
	}
	for name, value := range texts(info) {
		limit := maxValue
		if name == "UDID" || name == "SERIAL" { // these become identifiers
			limit = mdm.MaxIdentifier
		}
		if len(value) > limit || !plain(value) {
			return nil, mdm.Errorf(mdm.Malformed, opEnroll, "MachineInfo: %s is too long or no plain text", name)
		}
	}
	switch {
	case len(info.PairingToken.Reveal()) > maxPairingToken:
		return nil, mdm.Errorf(mdm.Malformed, opEnroll, "MachineInfo: PAIRING_TOKEN is too long")
	case info.UDID == "" && info.Serial == "" && info.Product == "":
		return nil, mdm.Errorf(mdm.Malformed, opEnroll, "MachineInfo: it says of no device anything")
	}
	return info, nil
}

// texts are the texts of a MachineInfo that are there, by their keys.
func texts(info *enroll.MachineInfo) map[string]string {
	out := map[string]string{}
	for name, value := range map[string]*string{
		"UDID": &info.UDID, "SERIAL": &info.Serial, "PRODUCT": &info.Product, "VERSION": &info.Version, "OS_VERSION": &info.OSVersion,
		"SUPPLEMENTAL_BUILD_VERSION": info.SupplementalBuildVersion, "SUPPLEMENTAL_OS_VERSION_EXTRA": info.SupplementalOSVersionExtra,
		"IMEI": info.IMEI, "MEID": info.MEID, "LANGUAGE": info.Language, "SOFTWARE_UPDATE_DEVICE_ID": info.SoftwareUpdateDeviceID,
	} {
		if value != nil && *value != "" {
			out[name] = *value
		}
	}
	return out
}

// facts are what a session keeps of a MachineInfo: its texts, and "true" for what is true. The PAIRING_TOKEN is a secret, and
// what is not known could be one.
func facts(info *enroll.MachineInfo) map[string]string {
	out := texts(info)
	for name, value := range map[string]*bool{
		"MDM_CAN_REQUEST_SOFTWARE_UPDATE":    info.MDMCanRequestSoftwareUpdate,
		"MDM_CAN_REQUEST_PSSO_CONFIG":        info.MDMCanRequestPSSOConfig,
		"MANDATORY_SOFTWARE_UPDATE_REQUIRED": info.MandatorySoftwareUpdateRequired,
	} {
		if schema.Or(value, false) {
			out[name] = "true"
		}
	}
	return out
}

// plain reports whether a value is text that can be stored and shown.
func plain(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) })
}

// fromHeader returns the signed message of a web view's first request: base64 of either alphabet, padded or not, perhaps
// with white space in it.
func fromHeader(h http.Header) ([]byte, error) {
	values := h.Values(deviceInfo)
	switch {
	case len(values) == 0:
		return nil, mdm.Errorf(mdm.Malformed, opWeb, "no %s: not a web view of Setup Assistant", deviceInfo)
	case len(values) > 1:
		return nil, mdm.Errorf(mdm.Malformed, opWeb, "more than one %s", deviceInfo)
	case len(values[0]) > maxHeader:
		return nil, mdm.Errorf(mdm.TooLarge, opWeb, "%s is too long", deviceInfo)
	}
	text := strings.TrimRight(strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		case '-':
			return '+'
		case '_':
			return '/'
		}
		return r
	}, values[0]), "=")
	message, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, mdm.Errorf(mdm.Malformed, opWeb, "%s is no base64", deviceInfo)
	}
	if len(message) > enroll.MaxMessage {
		return nil, mdm.Errorf(mdm.TooLarge, opWeb, "%s is too long", deviceInfo)
	}
	return message, nil
}
