package plistx_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

// accepted are documents that pass Check.
func accepted() []string {
	body := func(s string) string { return head + s + "\n</plist>\n" }
	return []string{
		"<plist><dict/></plist>",
		"<plist><array></array></plist>",
		"<plist version='1.0'  ><true/></plist>",
		"\ufeff<?xml version='1.0'?><plist><false></false></plist>",
		"<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\" ?>\n<plist ><string/></plist >",
		"<!-- a --><!DOCTYPE plist><!-- b --><plist><!-- c --><integer>7</integer><!-- d --></plist><!-- e -->\n",
		"<!DOCTYPE plist SYSTEM \"file://localhost/System/Library/DTDs/PropertyList.dtd\"><plist><real>1.5</real></plist>",
		body("<dict><key>a</key><string> kept \t\n </string><key></key><data></data></dict>"),
		body("<dict><key>A&amp;&#66;&#x43;</key><string>&lt;&gt;&quot;&apos;&#x1F600;</string></dict>"),
		body("<string>a\rb\r\nc&#13;\nd\r&#10;e]]f]&#93;></string>"),
		body("<string>x<![CDATA[<&>]]]]>y<![CDATA[]]>\r<![CDATA[\nz\r]]></string>"),
		body("<dict><key><![CDATA[k]]></key><true/><key>ü€😀</key><string>ü€😀\ufffd</string></dict>"),
		body("<array><integer>0</integer><integer>-9223372036854775808</integer><integer>18446744073709551615</integer></array>"),
		body("<array><integer> 42\n</integer><real>\t-.5e3 </real></array>"),
		body("<array><integer>007</integer><integer>-0</integer></array>"),
		body("<array><real>0</real><real>1e-400</real><real>+inf</real><real>-Infinity</real><real>nan</real></array>"),
		body("<array><date>2026-10-01T12:00:00Z</date><date>0001-01-01T00:00:00Z</date><date>2026-10-01T12:00:00.25+02:00</date></array>"),
		body("<array><data>\n\tAA\r\nE=\n</data><data>AA==</data><data>\n</data><data/></array>"),
		body("<dict><key>CF$UID</key><integer>1</integer></dict>"),
		body("<dict><key>MessageType</key><string>Auth&#101;nticate</string><key>NotOnConsole</key><true/></dict>"),
		body("<dict><key>Status</key><string>a\rb\r\nc&#13;\nd\r&#10;<![CDATA[\n<&>]]]]>\r<![CDATA[\n\r]]>]&#93;&gt;ü</string></dict>"),
		body(strings.Repeat("<array>", 32) + strings.Repeat("</array>", 32)),
	}
}

func TestCheckAcceptsXML(t *testing.T) {
	t.Parallel()
	for _, doc := range accepted() {
		require.NoError(t, plistx.Check([]byte(doc), plistx.Limits{}), doc)
		var v any
		require.NoError(t, plistx.Unmarshal([]byte(doc), &v), doc)
		agree(t, []byte(doc), v)
	}
}

// refused are documents that do not pass, with the rule that the error names.
var refused = []struct{ doc, rule string }{
	{"", "the root element is not plist"},
	{"  \n", "the root element is not plist"},
	{"{\"UDID\":\"x\"}", "the root element is not plist"},
	{"{ UDID = x; }", "the root element is not plist"},
	{"<*I5>", "the root element is not plist"},
	{"<dict/>", "the root element is not plist"},
	{"x<plist><true/></plist>", "the root element is not plist"},
	{"<plistx><true/></plistx>", "attribute in the plist element"},
	{"<!-- -- --><plist><true/></plist>", "two hyphens"},
	{"<!DOCTYPE plist><!-- -- --><plist><true/></plist>", "two hyphens"},
	{"<plist><true/><!-- -- --></plist>", "two hyphens"},
	{"<plist><true/></plist><!-- -- -->", "two hyphens"},
	{"<?xml version='1.0' standalone='maybe'?><plist><true/></plist>", "malformed XML declaration"},
	{"<?xml version=1.0?><plist><true/></plist>", "without version 1.0"},
	{"<!DOCTYPE plist SYSTEM '" + strings.Repeat("a", 300) + "'><plist><true/></plist>", "malformed document type"},
	{"<plist/>", "no value in it"},
	{"<plist></plist>", "end tag without a value"},
	{"<plist>", "the document ends early"},
	{"<plist><dict>", "the document ends early"},
	{"<plist><true/>", "does not end after its one value"},
	{"<plist><true/><true/></plist>", "does not end after its one value"},
	{"<plist><true/></plist><plist><false/></plist>", "content after the plist element"},
	{"<plist><true/></plist>\x00", "content after the plist element"},
	{"<plist xmlns='http://example.org'><true/></plist>", "attribute in the plist element"},
	{"<plist version='1.0' version='1.0'><true/></plist>", "attribute in the plist element"},
	{"<plist version='x'><true/></plist>", "version that is not a number"},
	{"<plist><p:true/></plist>", "unknown element"},
	{"<plist><TRUE/></plist>", "unknown element"},
	{"<plist><null/></plist>", "unknown element"},
	{"<plist><trueish/></plist>", "unknown element"},
	{"<plist><plist><true/></plist></plist>", "unknown element"},
	{"<plist><true a='b'/></plist>", "attribute or malformed tag"},
	{"<plist><true / ></plist>", "attribute or malformed tag"},
	{"<plist><true> </true></plist>", "boolean with content"},
	{"<plist><true></false></plist>", "boolean with content"},
	{"<plist><?pi?><true/></plist>", "unknown element"},
	{" <?xml version='1.0'?><plist><true/></plist>", "the root element is not plist"},
	{"<?xml version='1.1'?><plist><true/></plist>", "without version 1.0"},
	{"<?xml encoding='UTF-8'?><plist><true/></plist>", "without version 1.0"},
	{"<?xml version='1.0' encoding='UTF-16'?><plist><true/></plist>", "encoding other than UTF-8"},
	{"<?xml version='1.0' encoding='latin1'?><plist><true/></plist>", "encoding other than UTF-8"},
	{"<?xml version='1.0' standalone='?>'?><plist><true/></plist>", "malformed XML declaration"},
	{"<?xml version='1.0' foo='bar'?><plist><true/></plist>", "malformed XML declaration"},
	{"<!DOCTYPE html><plist><true/></plist>", "document type other than plist"},
	{"<!DOCTYPE plist [ <!ENTITY a 'b'> ]><plist><true/></plist>", "definitions of its own"},
	{"<!DOCTYPE plist SYSTEM 'a' [ ]><plist><true/></plist>", "definitions of its own"},
	{"<!DOCTYPE plist PUBLIC 'a'><plist><true/></plist>", "malformed document type"},
	{"<!DOCTYPE plist SYSTEM 'a>b'><plist><true/></plist>", "malformed document type"},
	{"<!DOCTYPE plist SYSTEM 'a\"><plist><true/></plist>", "malformed document type"},
	{"<!DOCTYPE plist><!DOCTYPE plist><plist><true/></plist>", "the root element is not plist"},
	{"<plist><!-- a -- b --><true/></plist>", "two hyphens"},
	{"<plist><!-- a --- ><true/></plist>", "two hyphens"},
	{"<plist><!-- a <true/></plist>", "comment without an end"},
	{"<plist><!-- \xff --><true/></plist>", "character that XML does not allow"},
	{"<plist>text<true/></plist>", "text outside of a value"},
	{"<plist><array>x</array></plist>", "text outside of a value"},
	{"<plist><array>&#32;</array></plist>", "text outside of a value"},
	{"<plist><array></dict></plist>", "end tag of another element"},
	{"<plist><dict></array></plist>", "end tag of another element"},
	{"<plist><key>a</key></plist>", "key outside of a dictionary"},
	{"<plist><array><key>a</key></array></plist>", "key outside of a dictionary"},
	{"<plist><dict><true/></dict></plist>", "value without a key"},
	{"<plist><dict><array/></dict></plist>", "value without a key"},
	{"<plist><dict><key>a</key></dict></plist>", "key without a value"},
	{"<plist><dict><key>a</key><key>b</key><true/></dict></plist>", "key without a value"},
	{"<plist><dict><key>a</key><true/><key>a</key><false/></dict></plist>", "same key twice"},
	{"<plist><dict><key>ab</key><true/><key>&#97;<![CDATA[b]]></key><false/></dict></plist>", "same key twice"},
	{"<plist><array><dict><key/><true/><key></key><false/></dict></array></plist>", "same key twice"},
	{"<plist><string>a<b/></string></plist>", "markup in a string or key"},
	{"<plist><string>a<!-- b --></string></plist>", "markup in a string or key"},
	{"<plist><string>a</key></plist>", "markup in a string or key"},
	{"<plist><string>a", "the document ends early"},
	{"<plist><string>a]]>b</string></plist>", "XML does not allow"},
	{"<plist><string><![CDATA[a</string></plist>", "XML does not allow"},
	{"<plist><string><![CDATA[\x01]]></string></plist>", "XML does not allow"},
	{"<plist><string>&nbsp;</string></plist>", "XML does not allow"},
	{"<plist><string>a & b</string></plist>", "XML does not allow"},
	{"<plist><string>&amp</string></plist>", "XML does not allow"},
	{"<plist><string>&#0;</string></plist>", "XML does not allow"},
	{"<plist><string>&#xD800;</string></plist>", "XML does not allow"},
	{"<plist><string>&#X41;</string></plist>", "XML does not allow"},
	{"<plist><string>&#x110000;</string></plist>", "XML does not allow"},
	{"<plist><string>&#-1;</string></plist>", "XML does not allow"},
	{"<plist><string>&#;</string></plist>", "XML does not allow"},
	{"<plist><string>\x00</string></plist>", "XML does not allow"},
	{"<plist><string>\x1b</string></plist>", "XML does not allow"},
	{"<plist><string>\xc3\x28</string></plist>", "XML does not allow"},
	{"<plist><string>\xed\xa0\x80</string></plist>", "XML does not allow"},
	{"<plist><string>\xef\xbf\xbe</string></plist>", "XML does not allow"},
	{"<plist><integer/></plist>", "malformed number"},
	{"<plist><integer>1 2</integer></plist>", "malformed number"},
	{"<plist><integer>+1</integer></plist>", "malformed number"},
	{"<plist><integer>0x10</integer></plist>", "malformed number"},
	{"<plist><integer>1_000</integer></plist>", "malformed number"},
	{"<plist><integer>\u00a01</integer></plist>", "malformed number"},
	{"<plist><integer>18446744073709551616</integer></plist>", "malformed number"},
	{"<plist><integer>-9223372036854775809</integer></plist>", "malformed number"},
	{"<plist><integer>&#49;</integer></plist>", "malformed number"},
	{"<plist><integer><![CDATA[1]]></integer></plist>", "markup in a number"},
	{"<plist><integer>1<!-- --></integer></plist>", "markup in a number"},
	{"<plist><integer>1", "the document ends early"},
	{"<plist><real></real></plist>", "malformed number"},
	{"<plist><real>1e999</real></plist>", "malformed number"},
	{"<plist><real>0x1p-2</real></plist>", "malformed number"},
	{"<plist><real>1_0</real></plist>", "malformed number"},
	{"<plist><real>1,5</real></plist>", "malformed number"},
	{"<plist><date/></plist>", "malformed number, date"},
	{"<plist><date>2026-10-01</date></plist>", "malformed number, date"},
	{"<plist><date> 2026-10-01T12:00:00Z</date></plist>", "malformed number, date"},
	{"<plist><date>2026-02-30T12:00:00Z</date></plist>", "malformed number, date"},
	{"<plist><data>A</data></plist>", "malformed number, date or data"},
	{"<plist><data>AAAA=</data></plist>", "malformed number, date or data"},
	{"<plist><data>A===</data></plist>", "malformed number, date or data"},
	{"<plist><data>AA==AAAA</data></plist>", "malformed number, date or data"},
	{"<plist><data>AA_-</data></plist>", "malformed number, date or data"},
	{"<plist><data>AA\fAA</data></plist>", "malformed number, date or data"},
}

func TestCheckRefusesXML(t *testing.T) {
	t.Parallel()
	for _, c := range refused {
		err := plistx.Check([]byte(c.doc), plistx.Limits{})
		require.ErrorIs(t, err, plistx.ErrSyntax, c.doc)
		require.ErrorContains(t, err, c.rule, c.doc)
	}
}

func TestScanPicksTheHeader(t *testing.T) {
	t.Parallel()
	header, err := plistx.Scan(tokenUpdate(), plistx.Limits{})
	require.NoError(t, err)
	require.Equal(t, plistx.Header{
		MessageType: "TokenUpdate", Topic: "com.apple.mgmt.External.5d0a9f3b-7a0f-4c83-a1b5-0e4a4c9f7c39",
		UDID: "00008110-000A1B2C3D4E801E", NotOnConsole: plistx.False, AwaitingConfiguration: plistx.False,
		Elements: 17, Depth: 1,
	}, header)
}

func TestScanReadsTextAsTheDecoderDoes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		" x ":                             " x ",
		"a\rb\r\nc\n\rd":                  "a\nb\nc\n\nd",
		"a&#13;\nb\r&#10;c\r\r\n":         "a\r\nb\n\nc\n\n",
		"<![CDATA[<&amp;>]]]]>]&#93;&gt;": "<&amp;>]]]]>",
		"\r<![CDATA[\n\r]]>\n":            "\n\n\n\n",
		"&lt;&#x1F600;&quot;&apos;":       "<😀\"'",
	} {
		doc := []byte("<plist><dict><key>UDID</key><string>" + text + "</string></dict></plist>")
		header, err := plistx.Scan(doc, plistx.Limits{})
		require.NoError(t, err, text)
		require.Equal(t, want, header.UDID, text)
		var message struct{ UDID string }
		require.NoError(t, plistx.Unmarshal(doc, &message), text)
		require.Equal(t, want, message.UDID, text)
	}
}

func TestScanPicksEveryField(t *testing.T) {
	t.Parallel()
	doc := head + "<dict>"
	for _, key := range []string{"MessageType", "Status", "CommandUUID", "RequestType", "UDID", "EnrollmentID", "UserID",
		"EnrollmentUserID", "UserShortName", "UserLongName", "Topic", "AuthToken"} {
		doc += "<key>" + key + "</key><string>&lt;" + key + "</string>"
	}
	for _, key := range []string{"NotOnConsole", "NeedSyncResponse", "UserConfiguration", "AwaitingConfiguration"} {
		doc += "<key>" + key + "</key><true/>"
	}
	doc += "<key>Inside</key><dict><key>UDID</key><integer>1</integer></dict></dict></plist>"
	want := plistx.Header{
		MessageType: "<MessageType", Status: "<Status", CommandUUID: "<CommandUUID", RequestType: "<RequestType",
		UDID: "<UDID", EnrollmentID: "<EnrollmentID", UserID: "<UserID", EnrollmentUserID: "<EnrollmentUserID",
		UserShortName: "<UserShortName", UserLongName: "<UserLongName", Topic: "<Topic", AuthToken: "<AuthToken",
		NotOnConsole: plistx.True, NeedSyncResponse: plistx.True, UserConfiguration: plistx.True, AwaitingConfiguration: plistx.True,
		Elements: 1 + 2*16 + 4, Depth: 2,
	}
	for _, form := range [][]byte{[]byte(doc), toBinary(t, []byte(doc))} {
		header, err := plistx.Scan(form, plistx.Limits{})
		require.NoError(t, err)
		require.Equal(t, want, header)
	}
}

func TestScanRefusesAmbiguousMessages(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"<array/>", "<string>UDID</string>",
		"<dict><key>UDID</key><integer>1</integer></dict>",
		"<dict><key>UDID</key><dict/></dict>",
		"<dict><key>AuthToken</key><data>AAAA</data></dict>",
		"<dict><key>NotOnConsole</key><string>true</string></dict>",
		"<dict><key>AwaitingConfiguration</key><integer>1</integer></dict>",
		"<dict><key>UD&#73;D</key><true/></dict>",
	} {
		doc := []byte("<plist>" + body + "</plist>")
		require.NoError(t, plistx.Check(doc, plistx.Limits{}), body)
		for _, form := range [][]byte{doc, toBinary(t, doc)} {
			_, err := plistx.Scan(form, plistx.Limits{})
			require.ErrorIs(t, err, plistx.ErrSyntax, body)
		}
	}
}

func TestErrorsHoldNoContent(t *testing.T) {
	t.Parallel()
	for _, c := range refused {
		err := plistx.Check([]byte(strings.ReplaceAll(c.doc, "true", "hunter2")), plistx.Limits{})
		require.NotContains(t, err.Error(), "hunter2")
	}
	var v struct{ Password int }
	err := plistx.Unmarshal([]byte("<plist><dict><key>Password</key><string>hunter2</string></dict></plist>"), &v)
	require.ErrorIs(t, err, plistx.ErrType)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestTristate(t *testing.T) {
	t.Parallel()
	require.Equal(t, "absent false true", plistx.Absent.String()+" "+plistx.False.String()+" "+plistx.True.String())
}
