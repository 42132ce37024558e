package command_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

func str(key, value string) string { return "<key>" + key + "</key><string>" + value + "</string>" }

func chain(items ...string) string {
	return "<key>ErrorChain</key><array><dict>" + strings.Join(items, "</dict><dict>") + "</dict></array>"
}

func TestParseResult(t *testing.T) {
	t.Parallel()
	const code = "<key>ErrorCode</key><integer>12075</integer>"
	tests := map[string]struct {
		elements string
		want     command.Result
	}{
		"idle":    {str("Status", "Idle") + str("UDID", "D"), command.Result{Status: "Idle", Identifiers: mdm.Identifiers{UDID: "D"}, Extra: dict{}}},
		"nothing": {"", command.Result{Extra: dict{}}},
		"acknowledged, with more": {
			str("Status", "Acknowledged") + str("CommandUUID", "u") + str("UDID", "D") + "<key>QueryResponses</key><dict>" + str("OSVersion", "18.1") + "</dict>" + str("RequestType", "R"),
			command.Result{Status: "Acknowledged", CommandUUID: "u", Identifiers: mdm.Identifiers{UDID: "D"},
				Extra: dict{"QueryResponses": dict{"OSVersion": "18.1"}, "RequestType": "R"}}},
		"user of a Mac": {
			str("Status", "Idle") + str("UDID", "D") + str("UserID", "G") + str("UserShortName", "anna") + str("UserLongName", "Anna B") + str("AuthToken", "secret") +
				"<key>NotOnConsole</key><true/><key>NeedSyncResponse</key><true/><key>UserConfiguration</key><true/>",
			command.Result{Status: "Idle", Identifiers: mdm.Identifiers{UDID: "D", UserID: "G", UserShortName: "anna", UserLongName: "Anna B"},
				NotOnConsole: true, NeedSyncResponse: true, UserConfiguration: true, Extra: dict{}}},
		"user enrollment": {
			str("Status", "NotNow") + str("EnrollmentID", "E") + str("EnrollmentUserID", "V") + "<key>NotOnConsole</key><false/>",
			command.Result{Status: "NotNow", Identifiers: mdm.Identifiers{EnrollmentID: "E", EnrollmentUserID: "V"}, Extra: dict{}}},
		"one error": {
			str("Status", "Error") + chain(code+str("ErrorDomain", "MCMDMErrorDomain")+str("LocalizedDescription", "Nicht da")),
			command.Result{Status: "Error", Extra: dict{}, ErrorChain: []command.ErrorItem{
				{ErrorCode: 12075, ErrorDomain: "MCMDMErrorDomain", LocalizedDescription: "Nicht da"}}}},
		"error and cause": {
			str("Status", "Error") + chain(code+str("ErrorDomain", "A")+str("USEnglishDescription", "not there"), "<key>ErrorCode</key><integer>-1</integer>"+str("ErrorDomain", "B")),
			command.Result{Status: "Error", Extra: dict{}, ErrorChain: []command.ErrorItem{
				{ErrorCode: 12075, ErrorDomain: "A", USEnglishDescription: "not there"}, {ErrorCode: -1, ErrorDomain: "B"}}}},
		"empty chain": {str("Status", "Error") + "<key>ErrorChain</key><array/>", command.Result{Status: "Error", Extra: dict{}}},
		"chain with a new key": {
			str("Status", "Error") + chain(code+str("New", "kept")),
			command.Result{Status: "Error", ErrorChain: []command.ErrorItem{{ErrorCode: 12075}},
				Extra: dict{"ErrorChain": []any{dict{"ErrorCode": uint64(12075), "New": "kept"}}}}},
		"odd types": {
			"<key>Status</key><integer>1</integer><key>UDID</key><true/><key>NotOnConsole</key><string>yes</string>" + str("ErrorChain", "none"),
			command.Result{Extra: dict{"Status": uint64(1), "UDID": true, "NotOnConsole": "yes", "ErrorChain": "none"}}},
		"odd items": {
			"<key>ErrorChain</key><array><string>x</string><dict>" + str("ErrorCode", "12075") + str("ErrorDomain", "D") + "</dict></array>",
			command.Result{ErrorChain: []command.ErrorItem{{ErrorDomain: "D"}},
				Extra: dict{"ErrorChain": []any{"x", dict{"ErrorCode": "12075", "ErrorDomain": "D"}}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := command.ParseResult(plist("<dict>" + tt.elements + "</dict>"))
			require.NoError(t, err)
			assert.Equal(t, tt.want, *got)
		})
	}
}

func TestParseResultMalformed(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"nothing": nil, "text": []byte("TOP-SECRET"), "array": plist("<array><string>TOP-SECRET</string></array>"), "string": plist("<string>TOP-SECRET</string>"),
		"twice": plist("<dict>" + str("Status", "Idle") + str("Status", "TOP-SECRET") + "</dict>"),
		"deep":  plist(strings.Repeat("<array>", 100000)), "large": make([]byte, 9<<20), "binary": []byte("bplist00TOP-SECRET"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := command.ParseResult(raw)
			require.Error(t, err)
			assert.Nil(t, result)
			assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
			assert.NotContains(t, err.Error(), "TOP-SECRET")
		})
	}
}

func TestResultErr(t *testing.T) {
	t.Parallel()
	for _, status := range []command.Status{"", "Idle", "Acknowledged", "NotNow", "Dancing"} {
		r := command.Result{Status: status, ErrorChain: []command.ErrorItem{{ErrorCode: 1}}}
		require.NoError(t, r.Err())
	}
	for _, status := range []command.Status{command.StatusError, command.StatusCommandFormatError} {
		r := command.Result{Status: status, ErrorChain: []command.ErrorItem{{ErrorCode: 1, ErrorDomain: "D"}}}
		err := fmt.Errorf("wrapped: %w", r.Err())
		var e *command.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, status, e.Status)
		assert.Equal(t, r.ErrorChain, e.Chain)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	many := make([]command.ErrorItem, 1000)
	tests := map[string]struct {
		chain []command.ErrorItem
		want  string
	}{
		"no chain": {nil, ""},
		"one":      {[]command.ErrorItem{{ErrorCode: 12075, ErrorDomain: "MCMDMErrorDomain"}}, ": MCMDMErrorDomain 12075"},
		"causes":   {[]command.ErrorItem{{ErrorCode: 1, ErrorDomain: "A"}, {ErrorCode: -2, ErrorDomain: "com.apple.B_2-x"}}, ": A 1: com.apple.B_2-x -2"},
		"texts stay out": {[]command.ErrorItem{{ErrorCode: 1, ErrorDomain: "A", LocalizedDescription: "https://x/?token=TOP-SECRET",
			USEnglishDescription: "https://x/?token=TOP-SECRET"}}, ": A 1"},
		"a forged line": {[]command.ErrorItem{{ErrorCode: 1, ErrorDomain: "A\nlevel=INFO msg=TOP-SECRET"}}, ": (unknown domain) 1"},
		"no domain":     {[]command.ErrorItem{{ErrorCode: 1}}, ": (unknown domain) 1"},
		"long domain":   {[]command.ErrorItem{{ErrorDomain: strings.Repeat("x", 65)}}, ": (unknown domain) 0"},
		"many":          {many, strings.Repeat(": (unknown domain) 0", 8) + ": and 992 more"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := error(&command.Error{Status: command.StatusError, Chain: tt.chain})
			assert.Equal(t, "command: the device answered Error"+tt.want, err.Error())
			assert.NoError(t, errors.Unwrap(err))
		})
	}
}

func TestDescription(t *testing.T) {
	t.Parallel()
	assert.Empty(t, command.ErrorItem{}.Description())
	assert.Equal(t, "Nein", command.ErrorItem{LocalizedDescription: "Nein"}.Description())
	assert.Equal(t, "No", command.ErrorItem{LocalizedDescription: "Nein", USEnglishDescription: "No"}.Description())
}
