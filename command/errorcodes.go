package command

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Domains of the errors that devices answer (Apple: MDM Protocol Reference, error codes). macOS answers others, too.
const (
	DomainMDM                 = "MCMDMErrorDomain"
	DomainInstallation        = "MCInstallationErrorDomain"
	DomainProfile             = "MCProfileErrorDomain"
	DomainPayload             = "MCPayloadErrorDomain"
	DomainRestrictions        = "MCRestrictionsErrorDomain"
	DomainPasscode            = "MCPasscodeErrorDomain"
	DomainKeychain            = "MCKeychainErrorDomain"
	DomainEmail               = "MCEmailErrorDomain"
	DomainWebClip             = "MCWebClipErrorDomain"
	DomainCertificate         = "MCCertificateErrorDomain"
	DomainDefaults            = "MCDefaultsErrorDomain"
	DomainAPN                 = "MCAPNErrorDomain"
	DomainWiFi                = "MCWiFiErrorDomain"
	DomainTunnel              = "MCTunnelErrorDomain"
	DomainVPN                 = "MCVPNErrorDomain"
	DomainSubscribedCalendar  = "MCSubCalErrorDomain"
	DomainCalDAV              = "MCCalDAVErrorDomain"
	DomainExchange            = "MCDAErrorDomain"
	DomainLDAP                = "MCLDAPErrorDomain"
	DomainSCEP                = "MCSCEPErrorDomain"
	DomainHTTPTransaction     = "MCHTTPTransactionErrorDomain"
	DomainOTAProfiles         = "MCOTAProfilesErrorDomain"
	DomainProvisioningProfile = "MCProvisioningProfileErrorDomain"
)

// ErrorCode is one error of a device: a domain and a number in it. It is an error to compare with:
//
//	errors.Is(result.Err(), command.ErrProfileNotInstalled)
//
// is true if the device named it anywhere in its ErrorChain. Apple calls the codes diagnostic and does not promise that
// they stay; nothing in this package depends on one.
type ErrorCode struct {
	Domain string
	Code   int
}

// Error is the domain, the number, and the meaning if it is known.
func (c ErrorCode) Error() string {
	if meaning := Meaning(c.Domain, c.Code); meaning != "" {
		return fmt.Sprintf("%s %d: %s", domain(c.Domain), c.Code, meaning)
	}
	return fmt.Sprintf("%s %d", domain(c.Domain), c.Code)
}

// Is reports whether target is an [ErrorCode] that the chain holds.
func (e *Error) Is(target error) bool {
	code, ok := target.(ErrorCode)
	return ok && slices.ContainsFunc(e.Chain, func(i ErrorItem) bool { return i.ErrorDomain == code.Domain && i.ErrorCode == code.Code })
}

// Codes returns the errors of the chain, the first first. It is empty for an error that is no [*Error].
func Codes(err error) []ErrorCode {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return nil
	}
	out := make([]ErrorCode, len(e.Chain))
	for i, item := range e.Chain {
		out[i] = ErrorCode{item.ErrorDomain, item.ErrorCode}
	}
	return out
}

// Errors of devices that a server may want to know one by one.
var (
	ErrInvalidRights             = ErrorCode{DomainMDM, 12000}
	ErrCannotCheckIn             = ErrorCode{DomainMDM, 12002}
	ErrNotAuthorized             = ErrorCode{DomainMDM, 12007}
	ErrMalformedRequest          = ErrorCode{DomainMDM, 12008}
	ErrInvalidReplacement        = ErrorCode{DomainMDM, 12009}
	ErrReplacementMismatch       = ErrorCode{DomainMDM, 12012}
	ErrProfileNotManaged         = ErrorCode{DomainMDM, 12013}
	ErrProvisioningNotManaged    = ErrorCode{DomainMDM, 12014}
	ErrNoPushToken               = ErrorCode{DomainMDM, 12015}
	ErrInvalidRequestType        = ErrorCode{DomainMDM, 12021}
	ErrInvalidTopic              = ErrorCode{DomainMDM, 12022}
	ErrAppAlreadyInstalled       = ErrorCode{DomainMDM, 12025}
	ErrAppAlreadyQueued          = ErrorCode{DomainMDM, 12026}
	ErrAppNotManaged             = ErrorCode{DomainMDM, 12029}
	ErrStoreLoginRequired        = ErrorCode{DomainMDM, 12040}
	ErrNoLicense                 = ErrorCode{DomainMDM, 12064}
	ErrProfileNotInstalled       = ErrorCode{DomainMDM, 12075}
	ErrUserLoggedIn              = ErrorCode{DomainMDM, 12077}
	ErrInLostMode                = ErrorCode{DomainMDM, 12078}
	ErrNotTethered               = ErrorCode{DomainMDM, 12081}
	ErrInSingleAppMode           = ErrorCode{DomainMDM, 12084}
	ErrBypassCodeExpired         = ErrorCode{DomainMDM, 12085}
	ErrBypassCodeUnavailable     = ErrorCode{DomainMDM, 12086}
	ErrUserCanceled              = ErrorCode{DomainInstallation, 4004}
	ErrPasscodeNotCompliant      = ErrorCode{DomainInstallation, 4005}
	ErrDeviceLocked              = ErrorCode{DomainInstallation, 4009}
	ErrProfileNotFound           = ErrorCode{DomainInstallation, 4024}
	ErrInvalidSupervision        = ErrorCode{DomainInstallation, 4025}
	ErrPasscodeMustChange        = ErrorCode{DomainInstallation, 4027}
	ErrSCEPNetwork               = ErrorCode{DomainSCEP, 22005}
	ErrSCEPInvalidResponse       = ErrorCode{DomainSCEP, 22013}
	ErrProvisioningCannotInstall = ErrorCode{DomainProvisioningProfile, 25001}
)

// meanings are what the codes say, in our words (Apple: MDM Protocol Reference of 2018).
var meanings = map[string]map[int]string{
	DomainProfile: {
		1000: "the profile is malformed", 1001: "its version is not supported", 1002: "a required field is missing", 1003: "a field has the wrong type",
		1004: "its signature is not valid", 1005: "it is empty", 1006: "it cannot be decrypted", 1007: "its UUIDs are not unique",
		1008: "its payload identifiers are not unique", 1009: "it could not be installed", 1010: "a field has a value that is not supported",
	},
	DomainPayload: {
		2000: "a payload is malformed", 2001: "the version of a payload is not supported", 2002: "a required field of a payload is missing",
		2003: "a field of a payload has the wrong type", 2004: "a field of a payload has a value that is not supported", 2005: "an internal error of a payload",
	},
	DomainInstallation: {
		4000: "the profile cannot be parsed", 4001: "the installation failed", 4002: "a profile of this UUID is there already", 4003: "it is not queued for installation",
		4004: "the user canceled", 4005: "the passcode does not comply", 4006: "its date of removal is past", 4007: "its format is not known",
		4008: "its certificates do not match", 4009: "the device is locked", 4010: "the update has another identifier", 4011: "the final profile is none",
		4012: "the profile cannot be updated", 4013: "the update failed", 4014: "there is no device identity", 4015: "the replacement has no MDM payload",
		4016: "an internal error", 4017: "there would be several global proxies", 4018: "there would be several cellular configurations", 4019: "there would be several app locks",
		4020: "profiles cannot be installed by hand here", 4021: "it must be installed without a user", 4022: "it must come by MDM", 4023: "a payload is not acceptable",
		4024: "the profile is not there", 4025: "the supervision is not right for it", 4026: "its date of removal is past", 4027: "the passcode must be changed first",
		4028: "there would be several home screen layouts", 4029: "there would be several notification settings", 4030: "it is not acceptable on a Shared iPad",
		4031: "it holds sensitive information of a user",
	},
	DomainCertificate: {
		9000: "the password of the identity is wrong", 9001: "there are too many certificates in it", 9002: "the certificate cannot be stored",
		9004: "the identity cannot be stored", 9005: "the certificate is malformed", 9006: "it is no identity",
	},
	DomainMDM: {
		12000: "the access rights are not valid", 12001: "there would be several MDM profiles", 12002: "the device cannot check in", 12003: "the challenge response is not valid",
		12004: "the push certificate is not valid", 12005: "a certificate was not found", 12006: "a redirect was refused", 12007: "not authorized",
		12008: "the request is malformed", 12009: "the replacement profile is not valid", 12010: "an inconsistency", 12011: "the MDM configuration is not valid",
		12012: "the replacement does not match the profile", 12013: "the profile is not managed", 12014: "the provisioning profile is not managed",
		12015: "there is no push token", 12016: "the identity is missing", 12017: "the escrow keybag cannot be made", 12018: "the escrow keybag cannot be copied",
		12019: "the escrow secret cannot be copied", 12020: "the server refused", 12021: "the command is not known", 12022: "the topic is not valid",
		12023: "the store id was not validated", 12024: "the manifest was not validated", 12025: "the app is installed already", 12026: "the app is queued already",
		12027: "it is no app", 12028: "the app does not wait for a redemption", 12029: "the app is not managed", 12030: "the URL is not valid",
		12031: "installing apps is switched off", 12032: "the manifest has too many apps", 12033: "the manifest is not valid", 12034: "the URL is not HTTPS",
		12035: "the app cannot be purchased", 12036: "the app cannot be removed now", 12037: "the redemption code is not valid", 12038: "the app is not managed",
		12040: "a login to the store is required", 12043: "the media cannot be downloaded", 12044: "the type of the media is not valid",
		12045: "media of another type is there", 12046: "the id of the media is not valid", 12047: "no license is assigned", 12063: "the user refused",
		12064: "no license was found", 12065: "it is an app of the system", 12066: "Lost Mode could not be enabled", 12067: "the device is in Lost Mode already", 12068: "the device could not be located",
		12069: "Lost Mode could not be disabled", 12070: "the users cannot be listed", 12071: "the user is not there", 12072: "the user has data to be synchronized",
		12073: "the user is logged in", 12074: "the user cannot be deleted", 12075: "the profile is not installed", 12076: "user channels are not supported",
		12077: "not while a user is logged in", 12078: "not in Lost Mode", 12079: "there is no MDM profile", 12080: "the sound could not be played",
		12081: "the device is not tethered", 12082: "the restrictions could not be fetched", 12083: "the restrictions could not be fetched",
		12084: "not in Single App Mode", 12085: "the bypass code has expired", 12086: "there is no bypass code",
	},
	DomainSCEP: {
		22000: "the key usage is not valid", 22001: "the key pair could not be made", 22002: "the response of the CA is not valid", 22003: "the response of the RA is not valid",
		22004: "the certificate configuration is not supported", 22005: "the network", 22006: "the CA lacks a capability", 22007: "the signed certificate is not valid",
		22008: "the identity could not be made", 22009: "the identity could not be stored", 22010: "the identity could not be stored", 22011: "the request could not be made",
		22012: "the CA certificate could not be stored", 22013: "the response to the request is not valid",
	},
	DomainHTTPTransaction:     {23000: "the identity is not valid", 23001: "the response of the server is not valid", 23002: "the certificate of the server is not valid"},
	DomainOTAProfiles:         {24000: "the device attributes could not be made", 24001: "they could not be signed", 24002: "the identity payload is not valid", 24003: "the final profile is not valid"},
	DomainProvisioningProfile: {25000: "the provisioning profile is malformed", 25001: "the provisioning profile cannot be installed", 25002: "the provisioning profile cannot be removed"},
}

// Meaning says in a few words what a code means, for people; empty if that is not known.
func Meaning(domain string, code int) string {
	if code >= 12048 && code <= 12062 && domain == DomainMDM {
		return "a software update failed"
	}
	if code >= 5000 && code <= 5018 && domain == DomainPasscode {
		return "the passcode breaks a rule, or cannot be set"
	}
	return meanings[domain][code]
}

// KnownCodes lists the codes of a domain that have a meaning of their own, in order.
func KnownCodes(domain string) []int { return slices.Sorted(maps.Keys(meanings[domain])) }
