package plistx_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/internal/plistx"
)

type payload struct {
	Name    string         `plist:"PayloadIdentifier"`
	Version int64          `plist:"PayloadVersion"`
	Ratio   float64        `plist:",omitempty"`
	On      bool           `plist:"Enabled"`
	Token   []byte         `plist:"Token"`
	Since   time.Time      `plist:"Since"`
	Names   []string       `plist:"Names,omitempty"`
	Rest    map[string]any `plist:"Rest,omitempty"`
	Maybe   *bool          `plist:"Maybe,omitempty"`
}

func filled() payload {
	no := false
	return payload{
		Name: "a & <b>\r\n\t\"c\" ü😀", Version: -7, Ratio: 0.1, On: true, Token: []byte{0, 1, 254, 255},
		Since: time.Date(2026, 10, 1, 12, 30, 0, 0, time.UTC), Names: []string{"", " x "}, Maybe: &no,
		Rest: map[string]any{"b": uint64(1), "a": []any{"x", false}, "c & d": map[string]any{}},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, marshal := range []func(any) ([]byte, error){plistx.Marshal, plistx.MarshalIndent} {
		data, err := marshal(filled())
		require.NoError(t, err)
		again, err := marshal(filled())
		require.NoError(t, err)
		require.Equal(t, string(data), string(again))
		require.True(t, strings.HasPrefix(string(data), "<?xml"))
		for _, form := range [][]byte{data, toBinary(t, data)} {
			var back payload
			require.NoError(t, plistx.Unmarshal(form, &back))
			require.Equal(t, filled(), back)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	for _, v := range []any{nil, (*payload)(nil), map[string]any{"a": nil}, []any{nil}, make(chan int), map[int]string{1: ""},
		func() {}, panics{}, indexes{}} {
		_, err := plistx.Marshal(v)
		require.Error(t, err)
		_, err = plistx.MarshalIndent(v)
		require.Error(t, err)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	t.Parallel()
	doc := []byte("<plist><dict><key>A</key><array><string>x</string></array></dict></plist>")
	var text string
	for _, v := range []any{
		nil, payload{}, (*payload)(nil), &text, new(int), new(chan int), new([]string),
		&struct{ A string }{}, &struct{ A []int }{}, &struct{ A [1]string }{}, &struct{ A []byte }{},
		&map[int]any{}, &map[string]string{"A": "x"}, &struct{ A []string }{A: []string{"y"}},
		&struct{ A panics }{}, &struct{ A fails }{},
	} {
		require.Error(t, plistx.Unmarshal(doc, v), "%T", v)
	}
	require.ErrorIs(t, plistx.Unmarshal(doc, &struct{ A string }{}), plistx.ErrType)
	require.ErrorIs(t, plistx.Unmarshal(doc, &struct{ A panics }{}), plistx.ErrType)
	require.ErrorIs(t, plistx.Unmarshal(doc, &struct{ A fails }{}), errOfType)
}

var errOfType = errors.New("refused by the type")

type fails struct{}

func (*fails) UnmarshalPlist(func(any) error) error { return errOfType }

type panics struct{}

func (*panics) UnmarshalPlist(func(any) error) error { panic("a secret") }

func (panics) MarshalPlist() (any, error) { panic(errOfType) }

type indexes []int

func (i indexes) MarshalPlist() (any, error) { return i[len(i)], nil }

func TestPanicsHoldNoContent(t *testing.T) {
	t.Parallel()
	err := plistx.Unmarshal([]byte("<plist><true/></plist>"), new(panics))
	require.ErrorIs(t, err, plistx.ErrType)
	require.NotContains(t, err.Error(), "a secret")
}

func TestUnmarshalUsesTheTypesMethod(t *testing.T) {
	t.Parallel()
	var v struct{ A, B upper }
	require.NoError(t, plistx.Unmarshal([]byte("<plist><dict><key>A</key><string>x</string></dict></plist>"), &v))
	require.Equal(t, upper("X"), v.A)
	require.Empty(t, v.B)
}

type upper string

func (u *upper) UnmarshalPlist(decode func(any) error) error {
	var s string
	err := decode(&s)
	*u = upper(strings.ToUpper(s))
	return err
}
