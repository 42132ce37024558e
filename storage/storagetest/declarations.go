package storagetest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
)

func declarationCases() []testCase {
	return []testCase{
		{name: "put, replaced, deleted",
			why: "ddm.Store: a group takes the place of the one of its name, and groups are read in the order of their names",
			run: declarationGroups},
		{name: "every kind of value",
			why: "ddm.Store: what is written is read, also what the schema does not know",
			run: declarationValues},
		{name: "channels and tenants apart",
			why: "ddm.Store: groups are of one enrollment",
			run: declarationsApart},
		{name: "they end with the generation",
			why: "Apple: unenrolling removes all that declarations brought; a device that enrolls anew has none",
			run: declarationsEnd},
		{name: "refused",
			why: "ddm.Store: NotFound for an enrollment that is not known, Forbidden for one that is not Enrolled or of another generation, Malformed for what cannot be kept",
			run: declarationsRefused},
		{name: "many at once on two handles",
			why: "ddm.Store: a group is replaced in one step",
			run: declarationRace},
		{name: "nothing of a canceled context",
			why: "an error means that nothing happened",
			run: declarationsCanceled},
		{name: "on another handle", needs: needsDurable,
			why: "ddm.Store: what was put is there",
			run: declarationsAgain},
	}
}

// declared is a group with one declaration.
func declared(name, token string) ddm.Group {
	return ddm.Group{Name: name, Declarations: []ddm.Declaration{{Identifier: name + ".x", ServerToken: token,
		Payload: &ddm.ManagementTest{Echo: name + " ü & <x>"}}}}
}

func (w *world) declare(id mdm.EnrollmentID, g ddm.Group) {
	w.Helper()
	require.NoError(w, w.Declarations.PutDeclarations(w.Context(), id, g))
}

// declaredGroups returns the groups as names with the token of their first declaration.
func (w *world) declaredGroups(id mdm.EnrollmentID) []string {
	w.Helper()
	groups, err := w.Declarations.DeclarationGroups(w.Context(), id)
	require.NoError(w, err)
	out := []string{}
	for _, g := range groups {
		text := g.Name
		for _, d := range g.Declarations {
			text += " " + d.ServerToken
		}
		out = append(out, text)
	}
	return out
}

func declarationGroups(w *world) {
	d := w.enrolled("D")
	assert.Empty(w, w.declaredGroups(d.id))
	w.declare(d.id, declared("b", "1"))
	w.declare(d.id, declared("a", "1"))
	w.declare(d.id, declared("B", "1"))
	assert.Equal(w, []string{"B 1", "a 1", "b 1"}, w.declaredGroups(d.id))
	w.declare(d.id, declared("a", "2"))
	w.declare(d.id, declared("a", "2"))
	assert.Equal(w, []string{"B 1", "a 2", "b 1"}, w.declaredGroups(d.id))
	w.declare(d.id, ddm.Group{Name: "empty"})
	assert.Equal(w, []string{"B 1", "a 2", "b 1", "empty"}, w.declaredGroups(d.id))
	for range 2 {
		require.NoError(w, w.Declarations.DeleteDeclarations(w.Context(), d.id, 0, "a"))
	}
	for _, name := range []string{"", "unknown", "\xff\x00"} {
		require.NoError(w, w.Declarations.DeleteDeclarations(w.Context(), d.id, 0, name))
	}
	assert.Equal(w, []string{"B 1", "b 1", "empty"}, w.declaredGroups(d.id))
	d.checkOut()
	assert.Empty(w, w.declaredGroups(d.id))
}

func declarationValues(w *world) {
	d := w.enrolled("D")
	g := ddm.Group{Name: "g", Declarations: []ddm.Declaration{
		{Identifier: "typed", ServerToken: "1", Payload: &ddm.PasscodeSettings{RequirePasscode: new(true), MinimumLength: new(int64(6)),
			Extra: map[string]any{"NewKey": "x"}}},
		{Identifier: "raw", Payload: &ddm.Raw{Type: "com.apple.configuration.of.tomorrow", Values: map[string]any{"a": []any{int64(1), 1.5, true, "ü\n"},
			"b": map[string]any{}}}, Extra: map[string]any{"More": "y"}},
	}}
	w.declare(d.id, g)
	groups, err := w.Declarations.DeclarationGroups(w.Context(), d.id)
	require.NoError(w, err)
	g.Generation = w.row(d.id).Generation
	assert.Equal(w, []ddm.Group{g}, groups)
}

func declarationsApart(w *world) {
	d, other := w.enrolled("D"), w.enrolled("E")
	foreign := w.enrolledID(mdm.EnrollmentID{Tenant: "t", Device: "D"})
	user := d.user("U")
	for i, id := range []mdm.EnrollmentID{d.id, user.id, foreign.id} {
		w.declare(id, declared("g", fmt.Sprint(i)))
	}
	assert.Equal(w, []string{"g 0"}, w.declaredGroups(d.id))
	assert.Equal(w, []string{"g 1"}, w.declaredGroups(user.id))
	assert.Equal(w, []string{"g 2"}, w.declaredGroups(foreign.id))
	assert.Empty(w, w.declaredGroups(other.id))
	assert.Empty(w, w.declaredGroups(mdm.EnrollmentID{Device: "unknown"}))
	require.NoError(w, w.Declarations.DeleteDeclarations(w.Context(), user.id, 0, "g"))
	assert.Equal(w, []string{"g 0"}, w.declaredGroups(d.id))
}

func declarationsEnd(w *world) {
	for name, end := range map[string]func(*device){"reenrolled": (*device).reenroll, "checked out": (*device).checkOut} {
		d := w.enrolled(name)
		user := d.user("U")
		w.declare(d.id, declared("g", "1"))
		w.declare(user.id, declared("g", "1"))
		before := w.row(d.id).Generation
		end(d)
		assert.Empty(w, w.declaredGroups(d.id), name)
		assert.Empty(w, w.declaredGroups(user.id), name)
		late := declared("g", "2")
		late.Generation = before
		if name == "reenrolled" {
			assert.Equal(w, mdm.Forbidden, mdm.CodeOf(w.Declarations.PutDeclarations(w.Context(), d.id, late)))
			late.Generation = w.row(d.id).Generation
			w.declare(d.id, late)
			assert.Equal(w, []string{"g 2"}, w.declaredGroups(d.id))
			require.NoError(w, w.Declarations.DeleteDeclarations(w.Context(), d.id, before, "g"))
			assert.Equal(w, []string{"g 2"}, w.declaredGroups(d.id), "who withdraws what a former enrollment had does not take this one's")
			require.NoError(w, w.Declarations.DeleteDeclarations(w.Context(), d.id, late.Generation, "g"))
			assert.Empty(w, w.declaredGroups(d.id))
		}
	}
}

func declarationsRefused(w *world) {
	d := w.enrolled("D")
	put := func(id mdm.EnrollmentID, g ddm.Group) mdm.Code {
		err := w.Declarations.PutDeclarations(w.Context(), id, g)
		require.Error(w, err)
		return mdm.CodeOf(err)
	}
	assert.Equal(w, mdm.NotFound, put(mdm.EnrollmentID{Device: "unknown"}, declared("g", "1")))
	assert.Equal(w, mdm.NotFound, put(mdm.EnrollmentID{Device: "D", User: "unknown"}, declared("g", "1")))
	assert.Equal(w, mdm.Malformed, put(d.id, declared("", "1")))
	assert.Equal(w, mdm.Malformed, put(d.id, declared("with space", "1")))
	assert.Equal(w, mdm.Malformed, put(d.id, ddm.Group{Name: "g", Declarations: []ddm.Declaration{{Identifier: "no payload"}}}))
	assert.Equal(w, mdm.Malformed, put(d.id, ddm.Group{Name: "g", Declarations: make([]ddm.Declaration, ddm.MaxDeclarations+1)}))
	assert.Equal(w, mdm.Forbidden, put(d.id, ddm.Group{Name: "g", Generation: 99}))
	for n := range ddm.MaxGroups {
		w.declare(d.id, ddm.Group{Name: numbered("g", n)})
	}
	assert.Equal(w, mdm.Malformed, put(d.id, declared("one.more", "1")))
	w.declare(d.id, declared(numbered("g", 0), "2"))
	d.checkOut()
	assert.Equal(w, mdm.Forbidden, put(d.id, declared("g", "1")))
	assert.Empty(w, w.declaredGroups(d.id))
}

func declarationRace(w *world) {
	d := w.enrolled("D")
	handles := []*world{w, w.again()}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 5 {
				assert.NoError(w, handles[i%2].Declarations.PutDeclarations(w.Context(), d.id, declared("shared", fmt.Sprint(i, "-", n))))
				assert.NoError(w, handles[i%2].Declarations.PutDeclarations(w.Context(), d.id, declared(numbered("own", i), fmt.Sprint(n))))
			}
		})
	}
	group.Wait()
	got := w.declaredGroups(d.id)
	require.Len(w, got, 9)
	for i := range 8 {
		assert.Equal(w, numbered("own", i)+" 4", got[i])
	}
	assert.Regexp(w, "^shared [0-7] ?- ?4$", got[8], "the last one of somebody")
}

func declarationsCanceled(w *world) {
	d := w.enrolled("D")
	w.declare(d.id, declared("g", "1"))
	require.Error(w, w.Declarations.PutDeclarations(canceled(), d.id, declared("g", "2")))
	require.Error(w, w.Declarations.DeleteDeclarations(canceled(), d.id, 0, "g"))
	_, err := w.Declarations.DeclarationGroups(canceled(), d.id)
	require.Error(w, err)
	assert.Equal(w, []string{"g 1"}, w.declaredGroups(d.id))
}

func declarationsAgain(w *world) {
	id := mdm.EnrollmentID{Device: "D"}
	w.session(needsDeclarations, func(w *world) {
		w.declare(w.enrolledID(id).id, declared("g", "1"))
	})
	w.session(needsDeclarations, func(w *world) {
		assert.Equal(w, []string{"g 1"}, w.declaredGroups(id))
	})
}
