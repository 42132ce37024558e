package command

import "errors"

// Advice is what a server might do with a final answer. This package does nothing of it by itself: Apple says that codes are
// diagnostic and that Errors are not to be repeated automatically, and a command may have run although it was answered
// with an Error.
type Advice uint8

// The kinds of advice.
const (
	Investigate Advice = iota // nobody here knows: let a person look
	Done                      // what was asked for is so: it was done now, or had been before
	RetryLater                // the same command may work when something has changed by itself: a user, a network, a lock
	GiveUp                    // the same command would fail again: change it, the device or its profile first
)

var adviceNames = [...]string{"investigate", "done", "retry-later", "give-up"}

// String is the advice in a word.
func (a Advice) String() string {
	if int(a) < len(adviceNames) {
		return adviceNames[a]
	}
	return "unknown"
}

// Advise says what to do with the answer to a command of this type; err is what [Result.Err] returned for it, and nil is
// Done. It goes by the whole ErrorChain, the first error first: by what is known of a code for that command, then of the
// code. CommandFormatError means GiveUp: the device would not understand it the next time either.
func Advise(requestType string, err error) Advice {
	if err == nil {
		return Done
	}
	if failed, ok := errors.AsType[*Error](err); ok && failed.Status == StatusCommandFormatError {
		return GiveUp
	}
	codes := Codes(err)
	for _, code := range codes {
		if advice := commandPolicy[requestType][code]; advice != Investigate {
			return advice
		}
	}
	for _, code := range codes {
		if advice := advise(code); advice != Investigate {
			return advice
		}
	}
	return Investigate
}

// commandPolicy is what a code means for one command, where that is another thing than for the rest. What was to be
// removed and is not there, or was to be there and is, is done.
var commandPolicy = map[string]map[ErrorCode]Advice{
	"RemoveProfile":                 {ErrProfileNotInstalled: Done, ErrProfileNotFound: Done, ErrProfileNotManaged: GiveUp},
	"RemoveProvisioningProfile":     {ErrProvisioningNotManaged: Done},
	"InstallProfile":                {{DomainInstallation, 4002}: GiveUp, ErrPasscodeNotCompliant: RetryLater},
	"InstallApplication":            {ErrAppAlreadyInstalled: Done, ErrAppAlreadyQueued: Done, {DomainMDM, 12047}: RetryLater, ErrNoLicense: RetryLater},
	"InstallEnterpriseApplication":  {ErrAppAlreadyInstalled: Done, ErrAppAlreadyQueued: Done},
	"RemoveApplication":             {ErrAppNotManaged: Done, {DomainMDM, 12038}: Done, {DomainMDM, 12027}: Done, {DomainMDM, 12036}: RetryLater},
	"ApplyRedemptionCode":           {{DomainMDM, 12028}: Done},
	"EnableLostMode":                {{DomainMDM, 12067}: Done},
	"ActivationLockBypassCode":      {ErrBypassCodeExpired: GiveUp, ErrBypassCodeUnavailable: GiveUp},
	"ClearActivationLockBypassCode": {ErrBypassCodeExpired: Done, ErrBypassCodeUnavailable: Done},
	"DeleteUser":                    {{DomainMDM, 12071}: Done, {DomainMDM, 12072}: RetryLater, {DomainMDM, 12073}: RetryLater},
	"LogOutUser":                    {{DomainMDM, 12071}: Done},
}

// advise is what a code means for commands in general.
func advise(c ErrorCode) Advice {
	if advice := codePolicy[c]; advice != Investigate {
		return advice
	}
	switch c.Domain {
	case DomainProfile, DomainPayload, DomainCertificate: // what was sent is wrong, and stays so
		return GiveUp
	case DomainPasscode, DomainHTTPTransaction:
		return RetryLater
	}
	return Investigate
}

// codePolicy has the codes for which there is a sensible judgment.
var codePolicy = map[ErrorCode]Advice{
	ErrInvalidRights: GiveUp, {DomainMDM, 12001}: GiveUp, ErrCannotCheckIn: RetryLater, {DomainMDM, 12004}: GiveUp, {DomainMDM, 12006}: GiveUp,
	ErrNotAuthorized: GiveUp, ErrMalformedRequest: GiveUp, ErrInvalidReplacement: GiveUp, {DomainMDM, 12011}: GiveUp, ErrReplacementMismatch: GiveUp,
	ErrProfileNotManaged: GiveUp, ErrProvisioningNotManaged: GiveUp, ErrNoPushToken: RetryLater, ErrInvalidRequestType: GiveUp, ErrInvalidTopic: GiveUp,
	{DomainMDM, 12023}: RetryLater, {DomainMDM, 12024}: RetryLater, {DomainMDM, 12027}: GiveUp, ErrAppNotManaged: GiveUp, {DomainMDM, 12030}: GiveUp,
	{DomainMDM, 12031}: GiveUp, {DomainMDM, 12032}: GiveUp, {DomainMDM, 12033}: GiveUp, {DomainMDM, 12034}: GiveUp, {DomainMDM, 12035}: GiveUp,
	{DomainMDM, 12037}: GiveUp, {DomainMDM, 12038}: GiveUp, ErrStoreLoginRequired: RetryLater, {DomainMDM, 12043}: RetryLater, {DomainMDM, 12044}: GiveUp,
	{DomainMDM, 12045}: GiveUp, {DomainMDM, 12046}: GiveUp, {DomainMDM, 12047}: GiveUp, {DomainMDM, 12063}: RetryLater, ErrNoLicense: GiveUp,
	{DomainMDM, 12065}: GiveUp, {DomainMDM, 12068}: RetryLater, {DomainMDM, 12071}: GiveUp, {DomainMDM, 12073}: RetryLater, ErrProfileNotInstalled: GiveUp,
	{DomainMDM, 12076}: GiveUp, ErrUserLoggedIn: RetryLater, ErrInLostMode: RetryLater, {DomainMDM, 12079}: GiveUp, {DomainMDM, 12080}: RetryLater,
	ErrNotTethered: RetryLater, {DomainMDM, 12082}: RetryLater, {DomainMDM, 12083}: RetryLater, ErrInSingleAppMode: RetryLater,
	{DomainInstallation, 4000}: GiveUp, {DomainInstallation, 4002}: GiveUp, ErrUserCanceled: RetryLater, ErrPasscodeNotCompliant: RetryLater,
	{DomainInstallation, 4006}: GiveUp, {DomainInstallation, 4007}: GiveUp, {DomainInstallation, 4008}: GiveUp, ErrDeviceLocked: RetryLater,
	{DomainInstallation, 4010}: GiveUp, {DomainInstallation, 4011}: GiveUp, {DomainInstallation, 4012}: GiveUp, {DomainInstallation, 4014}: GiveUp,
	{DomainInstallation, 4015}: GiveUp, {DomainInstallation, 4017}: GiveUp, {DomainInstallation, 4018}: GiveUp, {DomainInstallation, 4019}: GiveUp,
	{DomainInstallation, 4020}: GiveUp, {DomainInstallation, 4021}: GiveUp, {DomainInstallation, 4022}: GiveUp, {DomainInstallation, 4023}: GiveUp,
	ErrProfileNotFound: GiveUp, ErrInvalidSupervision: GiveUp, {DomainInstallation, 4026}: GiveUp, ErrPasscodeMustChange: RetryLater,
	{DomainInstallation, 4028}: GiveUp, {DomainInstallation, 4029}: GiveUp, {DomainInstallation, 4030}: GiveUp, {DomainInstallation, 4031}: GiveUp,
	{DomainSCEP, 22000}: GiveUp, {DomainSCEP, 22002}: RetryLater, {DomainSCEP, 22003}: RetryLater, {DomainSCEP, 22004}: GiveUp, ErrSCEPNetwork: RetryLater,
	{DomainSCEP, 22006}: GiveUp, ErrSCEPInvalidResponse: RetryLater, {DomainProvisioningProfile, 25000}: GiveUp,
}
