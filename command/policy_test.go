package command_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
)

// failed is the error of a report with these codes.
func failed(codes ...command.ErrorCode) error {
	r := command.Result{Status: command.StatusError}
	for _, c := range codes {
		r.ErrorChain = append(r.ErrorChain, command.ErrorItem{ErrorDomain: c.Domain, ErrorCode: c.Code, LocalizedDescription: "text"})
	}
	return r.Err()
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("wrapped: %w", failed(command.ErrorCode{Domain: command.DomainInstallation, Code: 4001}, command.ErrPasscodeNotCompliant))
	require.ErrorIs(t, err, command.ErrPasscodeNotCompliant, "anywhere in the chain")
	assert.NotErrorIs(t, err, command.ErrDeviceLocked)
	assert.NotErrorIs(t, err, command.ErrorCode{Domain: command.DomainMDM, Code: 4001}, "another domain")
	assert.NotErrorIs(t, failed(), command.ErrDeviceLocked)
	assert.Equal(t, []command.ErrorCode{{Domain: command.DomainInstallation, Code: 4001}, command.ErrPasscodeNotCompliant}, command.Codes(err))
	assert.Empty(t, command.Codes(errors.New("another")))
	assert.Empty(t, command.Codes(nil))
	assert.Equal(t, "MCMDMErrorDomain 12075: the profile is not installed", command.ErrProfileNotInstalled.Error())
	assert.Equal(t, "(unknown domain) -1", command.ErrorCode{Domain: "a\nlog line", Code: -1}.Error())
}

func TestMeanings(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{command.DomainMDM, command.DomainInstallation, command.DomainProfile, command.DomainPayload, command.DomainCertificate,
		command.DomainSCEP, command.DomainProvisioningProfile, command.DomainHTTPTransaction, command.DomainOTAProfiles} {
		codes := command.KnownCodes(domain)
		require.NotEmpty(t, codes, domain)
		for _, code := range codes {
			assert.NotEmpty(t, command.Meaning(domain, code))
			if domain == command.DomainMDM || domain == command.DomainInstallation {
				advice := command.Advise("DeviceInformation", failed(command.ErrorCode{Domain: domain, Code: code}))
				assert.NotEqual(t, command.Done, advice, "%s %d: nothing is done for every command", domain, code)
			}
		}
	}
	assert.NotEmpty(t, command.Meaning(command.DomainMDM, 12050))
	assert.NotEmpty(t, command.Meaning(command.DomainPasscode, 5000))
	assert.Empty(t, command.Meaning(command.DomainMDM, 1))
	assert.Empty(t, command.Meaning("", 0))
}

func TestAdvise(t *testing.T) {
	t.Parallel()
	mdmError := func(code int) command.ErrorCode { return command.ErrorCode{Domain: command.DomainMDM, Code: code} }
	for _, tt := range []struct {
		name  string
		kind  string
		codes []command.ErrorCode
		want  command.Advice
	}{
		{"a profile that is gone already", "RemoveProfile", []command.ErrorCode{command.ErrProfileNotInstalled}, command.Done},
		{"the same code for another command", "InstallProfile", []command.ErrorCode{command.ErrProfileNotInstalled}, command.GiveUp},
		{"an app that is there already", "InstallApplication", []command.ErrorCode{command.ErrAppAlreadyInstalled}, command.Done},
		{"an app that is gone already", "RemoveApplication", []command.ErrorCode{command.ErrAppNotManaged}, command.Done},
		{"no license yet", "InstallApplication", []command.ErrorCode{command.ErrNoLicense}, command.RetryLater},
		{"a locked device", "InstallProfile", []command.ErrorCode{command.ErrDeviceLocked}, command.RetryLater},
		{"a passcode that does not comply yet", "InstallProfile", []command.ErrorCode{command.ErrPasscodeNotCompliant}, command.RetryLater},
		{"a login to the store", "InstallApplication", []command.ErrorCode{command.ErrStoreLoginRequired}, command.RetryLater},
		{"a right that is missing", "EraseDevice", []command.ErrorCode{command.ErrNotAuthorized}, command.GiveUp},
		{"an unsupervised device", "InstallProfile", []command.ErrorCode{command.ErrInvalidSupervision}, command.GiveUp},
		{"a malformed profile", "InstallProfile", []command.ErrorCode{{Domain: command.DomainProfile, Code: 1000}}, command.GiveUp},
		{"the cause says more than the top", "InstallProfile", []command.ErrorCode{{Domain: command.DomainInstallation, Code: 4001}, command.ErrSCEPNetwork}, command.RetryLater},
		{"what is known of the command comes first", "RemoveProfile", []command.ErrorCode{command.ErrInLostMode, command.ErrProfileNotInstalled}, command.Done},
		{"a user who is logged in", "DeleteUser", []command.ErrorCode{mdmError(12073)}, command.RetryLater},
		{"a bypass code that is gone", "ClearActivationLockBypassCode", []command.ErrorCode{command.ErrBypassCodeUnavailable}, command.Done},
		{"an unknown code", "RemoveProfile", []command.ErrorCode{mdmError(99999)}, command.Investigate},
		{"an unknown domain", "RemoveProfile", []command.ErrorCode{{Domain: "NSCocoaErrorDomain", Code: 12075}}, command.Investigate},
		{"no chain at all", "RemoveProfile", nil, command.Investigate},
		{"an unknown command", "", []command.ErrorCode{command.ErrDeviceLocked}, command.RetryLater},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, command.Advise(tt.kind, failed(tt.codes...)), tt.want)
		})
	}
	assert.Equal(t, command.Done, command.Advise("EraseDevice", nil))
	assert.Equal(t, command.Investigate, command.Advise("EraseDevice", errors.New("another")))
	format := command.Result{Status: command.StatusCommandFormatError}
	assert.Equal(t, command.GiveUp, command.Advise("EraseDevice", format.Err()))
	assert.Equal(t, command.GiveUp, command.Advise("EraseDevice", fmt.Errorf("wrapped: %w", format.Err())))
	assert.Equal(t, "retry-later", command.RetryLater.String())
	assert.Equal(t, "unknown", command.Advice(9).String())
}

// What to do with an Error is up to the server; the codes of a device give a hint.
func ExampleAdvise() {
	result := command.Result{Status: command.StatusError, ErrorChain: []command.ErrorItem{{ErrorDomain: command.DomainMDM, ErrorCode: 12075}}}
	fmt.Println(errors.Is(result.Err(), command.ErrProfileNotInstalled), command.Advise("RemoveProfile", result.Err()))
	// Output: true done
}
