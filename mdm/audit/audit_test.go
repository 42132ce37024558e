package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/audit"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)

// chain returns n entries as a Log has them.
func chain(t testing.TB, n int) []audit.Entry {
	t.Helper()
	var head audit.Head
	var out []audit.Entry
	for i := range n {
		e, err := audit.Entry{Tenant: "t", Actor: "anna", Action: "secret.released", Reason: fmt.Sprint("ticket ", i),
			Enrollment: mdm.EnrollmentID{Tenant: "t", Device: "D"}, Details: map[string]string{"secret": "unlock-token", "n": fmt.Sprint(i)}}.Chained(head, noon)
		require.NoError(t, err)
		head = e.Head()
		out = append(out, e)
	}
	return out
}

func each(entries []audit.Entry) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func broken(t *testing.T, err error) int64 {
	t.Helper()
	var b *audit.Broken
	require.ErrorAs(t, err, &b)
	assert.Contains(t, err.Error(), b.Why)
	return b.Number
}

func TestVerify(t *testing.T) {
	log := chain(t, 6)
	head, err := audit.Verify(each(log), audit.Head{})
	require.NoError(t, err)
	assert.Equal(t, log[5].Head(), head)
	for _, remembered := range log {
		_, err = audit.Verify(each(log), remembered.Head())
		require.NoError(t, err, "an earlier head is still there")
		head, err := audit.Verify(each(log[remembered.Number-1:]), remembered.Head())
		require.NoError(t, err, "going on where it ended")
		assert.Equal(t, log[5].Head(), head)
	}
	head, err = audit.Verify(each(nil), audit.Head{})
	require.NoError(t, err)
	assert.Zero(t, head)

	_, err = audit.Verify(each(log[:4]), log[5].Head())
	assert.Equal(t, int64(5), broken(t, err), "cut off at the end")
	_, err = audit.Verify(each(log[:4]), audit.Head{})
	require.NoError(t, err, "nobody remembered")
	_, err = audit.Verify(each(nil), log[0].Head())
	assert.Equal(t, int64(1), broken(t, err))
	_, err = audit.Verify(each(log[3:]), log[1].Head())
	assert.Equal(t, int64(1), broken(t, err), "it begins neither at the first nor at the remembered")
	_, err = audit.Verify(each(log[1:]), audit.Head{})
	assert.Equal(t, int64(1), broken(t, err))
	_, err = audit.Verify(each(slices.Concat(log[:2], log[3:])), audit.Head{})
	assert.Equal(t, int64(3), broken(t, err))
	_, err = audit.Verify(each(slices.Concat(log[:2], log[1:])), audit.Head{})
	assert.Equal(t, int64(3), broken(t, err), "one twice")
	anew := chain(t, 6)
	anew[4].Reason = "else"
	for i := 4; i < 6; i++ {
		anew[i].Previous = anew[i-1].Hash
		anew[i].Hash = anew[i].Sum()
	}
	_, err = audit.Verify(each(anew), audit.Head{})
	require.NoError(t, err, "a chain that was written anew is whole")
	_, err = audit.Verify(each(anew), log[5].Head())
	assert.Equal(t, int64(6), broken(t, err), "but it is not the remembered one")
	_, err = audit.Verify(each(anew[4:]), log[4].Head())
	assert.Equal(t, int64(5), broken(t, err))

	no := errors.New("no")
	_, err = audit.Verify(func(yield func(audit.Entry, error) bool) { _ = yield(log[0], nil) && yield(audit.Entry{}, no) }, audit.Head{})
	assert.ErrorIs(t, err, no)
}

// TestEveryFieldIsCovered changes each field of an entry, so that a new one is not forgotten.
func TestEveryFieldIsCovered(t *testing.T) {
	changes := map[string]func(*audit.Entry){
		"Number": func(e *audit.Entry) { e.Number++ }, "At": func(e *audit.Entry) { e.At = e.At.Add(1) },
		"Tenant": func(e *audit.Entry) { e.Tenant += "x" }, "Actor": func(e *audit.Entry) { e.Actor += "x" },
		"Action": func(e *audit.Entry) { e.Action += "x" }, "Reason": func(e *audit.Entry) { e.Reason += "x" },
		"Enrollment": func(e *audit.Entry) { e.Enrollment.User = "x" }, "Details": func(e *audit.Entry) { e.Details["n"] = "x" },
		"Previous": func(e *audit.Entry) { e.Previous[31]++ }, "Hash": func(e *audit.Entry) { e.Hash[0]++ },
	}
	kind := reflect.TypeFor[audit.Entry]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		require.Contains(t, changes, name)
		log := chain(t, 3)
		changes[name](&log[1])
		_, err := audit.Verify(each(log), audit.Head{})
		require.Error(t, err, name)
		delete(changes, name)
	}
	assert.Empty(t, slices.Collect(maps.Keys(changes)))

	moved := chain(t, 1)[0]
	moved.Actor, moved.Action = moved.Actor+moved.Action, ""
	assert.NotEqual(t, moved.Hash, moved.Sum(), "text that moves from a field to the next")
	moved = chain(t, 1)[0]
	moved.Details = map[string]string{"secret": "unlock-tokenn0", "n": "0"}
	assert.NotEqual(t, moved.Hash, moved.Sum())
}

// TestNothingHoldsASecret: a Secret cannot be put into an entry without being revealed first.
func TestNothingHoldsASecret(t *testing.T) {
	secret := reflect.TypeFor[mdm.Secret]()
	var look func(reflect.Type)
	look = func(kind reflect.Type) {
		require.False(t, secret.AssignableTo(kind), "%s", kind)
		switch kind.Kind() {
		case reflect.Struct:
			if kind == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range kind.NumField() {
				look(kind.Field(i).Type)
			}
		case reflect.Map:
			look(kind.Key())
			look(kind.Elem())
		case reflect.Slice, reflect.Array, reflect.Pointer:
			look(kind.Elem())
		case reflect.Interface, reflect.Func, reflect.Chan:
			t.Errorf("%s could hold anything", kind)
		}
	}
	look(reflect.TypeFor[audit.Entry]())
	e, err := audit.Entry{Actor: "a", Action: "b", Reason: fmt.Sprint(mdm.SecretString("hidden"))}.Chained(audit.Head{}, noon)
	require.NoError(t, err)
	assert.NotContains(t, e.Reason, "hidden")
}

func TestLines(t *testing.T) {
	log := chain(t, 4)
	log[2].Details = nil
	var b bytes.Buffer
	require.NoError(t, audit.WriteLines(&b, each(log)))
	var got []audit.Entry
	for e, err := range audit.ReadLines(strings.NewReader("\n" + b.String())) {
		require.NoError(t, err)
		got = append(got, e)
	}
	assert.Equal(t, log, got)
	for range audit.ReadLines(&b) {
		break
	}
	read := func(s string) (err error) {
		for _, err = range audit.ReadLines(strings.NewReader(s)) {
		}
		return err
	}
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(read("{}\nno\n{}")))
	assert.ErrorContains(t, read("{}\nno\n{}"), "line 2")
	assert.Equal(t, mdm.Malformed, mdm.CodeOf(read(`{"hash":"00"}`)))
	assert.Equal(t, mdm.TooLarge, mdm.CodeOf(read(strings.Repeat(" ", audit.MaxLine+1))))
	no := errors.New("no")
	b.Reset()
	assert.ErrorIs(t, audit.WriteLines(&b, func(yield func(audit.Entry, error) bool) { _ = yield(log[0], nil) && yield(audit.Entry{}, no) }), no)
	assert.NotEmpty(t, b.String(), "what came before it is written")

	longest := audit.Entry{Actor: strings.Repeat("<", audit.MaxName), Action: strings.Repeat("<", audit.MaxName), Reason: strings.Repeat("<", audit.MaxReason), Details: map[string]string{}}
	for i := range audit.MaxDetails {
		longest.Details[fmt.Sprintf("%02d", i)+strings.Repeat("<", audit.MaxKey-2)] = strings.Repeat("<", audit.MaxValue)
	}
	e, err := longest.Chained(audit.Head{}, noon)
	require.NoError(t, err)
	b.Reset()
	require.NoError(t, audit.WriteLines(&b, each([]audit.Entry{e})))
	require.NoError(t, read(b.String()), "the longest entry fits into a line")
}

func TestHead(t *testing.T) {
	for _, h := range []audit.Head{{}, chain(t, 1)[0].Head()} {
		got, err := audit.ParseHead(h.String())
		require.NoError(t, err)
		assert.Equal(t, h, got)
	}
	hash := audit.Hash{1}.String()
	for _, s := range []string{"", "1", "1:", "x:" + hash, "-1:" + hash, "01:" + hash, "+1:" + hash, "0:" + hash, "1:" + audit.Hash{}.String(), "1:" + hash + "0", "1:" + hash[:63] + "g"} {
		_, err := audit.ParseHead(s)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err), s)
	}
}

func TestTime(t *testing.T) {
	for _, year := range []int{-1, 10_000} {
		_, err := audit.Entry{Actor: "a", Action: "b", Reason: "c", At: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}.Chained(audit.Head{}, noon)
		assert.Equal(t, mdm.Malformed, mdm.CodeOf(err))
	}
}

func FuzzReadLines(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, audit.WriteLines(&b, each(chain(f, 2))))
	f.Add(b.Bytes())
	f.Add([]byte(`{"number":1,"at":"2026-01-01T00:00:00Z","enrollment":"t~a/b"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var read []audit.Entry
		for e, err := range audit.ReadLines(bytes.NewReader(data)) {
			if err != nil {
				break
			}
			read = append(read, e)
		}
		_, _ = audit.Verify(each(read), audit.Head{})
		var out bytes.Buffer
		require.NoError(t, audit.WriteLines(&out, each(read)), "what was read can be written")
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add(audit.Head{}.String())
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := audit.ParseHead(s); err == nil {
			assert.Equal(t, strings.ToLower(s), h.String())
		}
	})
}
