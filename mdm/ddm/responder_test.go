package ddm_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/mdm/server"
)

// vendor is a Backend of a test.
type vendor struct {
	list    []ddm.Declaration
	err     error
	reports []ddm.StatusReport
}

func (v *vendor) Declarations(context.Context, mdm.EnrollmentID) ([]ddm.Declaration, error) {
	return v.list, v.err
}

func (v *vendor) Status(_ context.Context, _ mdm.EnrollmentID, r ddm.StatusReport) error {
	if v.err == nil {
		v.reports = append(v.reports, r)
	}
	return v.err
}

var phone = mdm.EnrollmentID{Device: "PHONE"}

func responder(v *vendor) *ddm.Responder {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890, time.FixedZone("", 3600))
	return &ddm.Responder{Backend: v, Clock: func() time.Time { return at }}
}

var _ checkin.Declarative = (*ddm.Responder)(nil)

// TestTranscript is a conversation as it is on the wire.
func TestTranscript(t *testing.T) {
	v := &vendor{list: []ddm.Declaration{
		{Identifier: "code", Payload: &ddm.PasscodeSettings{RequirePasscode: new(true), MinimumLength: new(int64(8))}},
		{Identifier: "on", Payload: &ddm.ActivationSimple{StandardConfigurations: []string{"code"}}},
	}}
	r := responder(v)
	var b strings.Builder
	ask := func(endpoint, data string) {
		b.WriteString("> " + endpoint + "\n")
		if data != "" {
			b.WriteString("  " + data + "\n")
		}
		reply, err := r.Declare(t.Context(), phone, endpoint, []byte(data))
		switch {
		case err != nil:
			b.WriteString("< " + mdm.CodeOf(err).String() + "\n")
		case reply == nil:
			b.WriteString("< nothing\n")
		default:
			b.WriteString("< " + reply.ContentType + "\n  " + string(reply.Body) + "\n")
		}
	}
	ask("tokens", "")
	ask("declaration-items", "")
	ask("declaration/configuration/code", "")
	ask("declaration/activation/on", "")
	ask("status", `{"StatusItems":{"management":{"declarations":{"activations":[],"assets":[],"configurations":[],"management":[]}}},"Errors":[]}`)
	v.list = nil
	ask("tokens", "")
	ask("declaration-items", "")
	ask("declaration/configuration/code", "")
	ask("declarations", "")
	golden := filepath.Join("testdata", "transcript.txt")
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
	assert.Len(t, v.reports, 1)
}

// TestNotFoundIsOnlyWhatIsNotThere: with NotFound a device drops a declaration, so that is no answer to anything else.
func TestNotFoundIsOnlyWhatIsNotThere(t *testing.T) {
	v := &vendor{list: []ddm.Declaration{echo("c", "1"), activates("a", "c")}}
	r := responder(v)
	code := func(endpoint string) mdm.Code {
		_, err := r.Declare(t.Context(), phone, endpoint, []byte("{}"))
		require.Error(t, err, endpoint)
		return mdm.CodeOf(err)
	}
	for endpoint, want := range map[string]mdm.Code{
		"declaration/configuration/gone": mdm.NotFound,
		"declaration/asset/c":            mdm.NotFound, // there is another of that name, which it fetches by its own kind
		"declaration/configuration/C":    mdm.NotFound,
		"declaration/configuration/c/d":  mdm.NotFound,
		"declaration/configuration/":     mdm.Malformed,
		"declaration/other/c":            mdm.Malformed,
		"declaration":                    mdm.Malformed,
		"":                               mdm.Malformed,
		"tokens/":                        mdm.Malformed,
		"Tokens":                         mdm.Malformed,
		"declaration/configuration/" + strings.Repeat("x", 65): mdm.Malformed,
	} {
		assert.Equal(t, want, code(endpoint), endpoint)
	}
	all := []string{"tokens", "declaration-items", "declaration/configuration/c", "declaration/configuration/gone", "status"}
	for _, outage := range []error{
		errors.New("the database is away"), &mdm.Error{Code: mdm.NotFound}, &mdm.Error{Code: mdm.Unmanaged, KnowsUnrecognized: true},
		&mdm.Error{Code: mdm.Forbidden}, &mdm.Error{Code: mdm.UserDeclined}, context.DeadlineExceeded,
	} {
		v.err = outage
		for _, endpoint := range all {
			_, err := r.Declare(t.Context(), phone, endpoint, []byte(`{"StatusItems":{},"Errors":[]}`))
			assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "%s: %v", endpoint, outage)
			assert.Equal(t, 503, server.StatusOf(err))
			assert.ErrorIs(t, err, outage)
		}
	}
	v.err = nil
	v.list = append(v.list, activates("b", "nowhere"))
	assert.Equal(t, mdm.Internal, code("tokens"))
	assert.Equal(t, mdm.Internal, code("declaration-items"), "what cannot be published changes nothing on devices")
	v.list = append(v.list, echo("c", "2"))
	assert.Equal(t, mdm.Internal, code("declaration/configuration/c"))
	var wrong *ddm.SetError
	_, err := r.Set(t.Context(), phone)
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
	v.list = []ddm.Declaration{{Identifier: "c"}}
	assert.Equal(t, mdm.Internal, code("declaration/configuration/c"))
}

func TestStatusIsLimited(t *testing.T) {
	v := &vendor{}
	r := responder(v)
	r.MaxStatus = 10_000
	tell := func(data string) mdm.Code {
		_, err := r.Declare(t.Context(), phone, "status", []byte(data))
		require.Error(t, err)
		return mdm.CodeOf(err)
	}
	nested := func(n int) string {
		return `{"Errors":[],"StatusItems":{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	assert.Equal(t, mdm.TooLarge, tell(strings.Repeat(" ", 10_001)))
	assert.Equal(t, mdm.Malformed, tell(nested(ddm.MaxStatusDepth-1)))
	for _, bad := range []string{"", "null", "[]", "{", `{"a":1,"a":2}`, `<plist/>`} {
		assert.Equal(t, mdm.Malformed, tell(bad), bad)
	}
	assert.Empty(t, v.reports)
	for _, good := range []string{nested(ddm.MaxStatusDepth - 2), `{"Errors":[],"StatusItems":{"x":"` + strings.Repeat(`[\"`, 100) + `"}}`,
		`{"Errors":[],"StatusItems":{"passcode":{"is-compliant":"perhaps"}}}`, `{}`} {
		_, err := r.Declare(t.Context(), phone, "status", []byte(good))
		assert.NoError(t, err, good)
	}
	require.Len(t, v.reports, 4)
	items, wrong := ddm.StatusItemsOf(v.reports[2])
	assert.NotEmpty(t, wrong)
	assert.Nil(t, items.Passcode.IsCompliant)
}

func TestSync(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 890, time.FixedZone("", 3600))
	s, empty := set(t, echo("c", "1")), set(t)
	assert.False(t, ddm.SyncDue("", empty), "what has nothing need not be switched on")
	assert.True(t, ddm.SyncDue("", s))
	assert.False(t, ddm.SyncDue(s.Token(), s))
	assert.True(t, ddm.SyncDue(s.Token(), empty), "what was there is taken back")
	c := ddm.SyncCommand(s, at)
	assert.JSONEq(t, `{"SyncTokens":{"DeclarationsToken":"`+s.Token()+`","Timestamp":"2026-03-04T04:06:07Z"}}`, string(c.Data))
	assert.Equal(t, s.Token(), ddm.ToldBy(c))
	assert.Nil(t, ddm.SyncCommand(nil, at).Data)
	c.Data = []byte("no JSON")
	assert.Empty(t, ddm.ToldBy(c))
	o := ddm.SyncOrder(s, at, phone)
	assert.True(t, o.Supersede)
	assert.Equal(t, ddm.SyncCollapse, o.Collapse)
}

func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"tokens", "status", "declaration-items", "declaration/asset/x", "declaration/management/a/b", "declaration//", "x\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ddm.ParseEndpoint(text)
		if err != nil {
			if mdm.CodeOf(err) != mdm.Malformed {
				t.Fatal(err)
			}
			return
		}
		if e.String() != text {
			t.Fatalf("%q is read as %q", text, e)
		}
	})
}

func FuzzStatus(f *testing.F) {
	for _, seed := range []string{`{"StatusItems":{},"Errors":[]}`, `{"StatusItems":{"management":{"declarations":{"activations":[{"identifier":"a","active":true}]}}},"Errors":[{"StatusItem":"x"}],"FullReport":true}`,
		`{"StatusItems":{"passcode":{"is-compliant":1}}}`, `[`, `{"a":"\u0000"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v := &vendor{}
		r := responder(v)
		_, err := r.Declare(t.Context(), phone, "status", data)
		if err != nil {
			if code := mdm.CodeOf(err); code != mdm.Malformed && code != mdm.TooLarge {
				t.Fatal(err)
			}
			return
		}
		_, _ = ddm.StatusItemsOf(v.reports[0])
		again, err := json.Marshal(v.reports[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Declare(t.Context(), phone, "status", again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

// FuzzStored reads what a store holds.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`[{"Type":"com.apple.configuration.management.test","Identifier":"a","ServerToken":"b","Payload":{"Echo":"x"}}]`))
	f.Add([]byte(`[{"Payload":null}]`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if g, err := ddm.DecodeGroup("g", 1, data); err == nil {
			_, _ = g.Encode()
			_ = ddm.Check(g.Declarations)
		}
	})
}
