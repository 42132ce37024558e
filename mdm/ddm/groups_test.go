package ddm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/ddm"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
)

// managed returns stores with the enrolled phone.
func managed(t *testing.T, version string) storage.Stores {
	t.Helper()
	stores := memory.New().Stores()
	require.NoError(t, stores.Checkin.Update(t.Context(), checkin.Key{ID: phone}, func(*checkin.Situation) (checkin.Plan, error) {
		return checkin.Plan{Enrollments: []mdm.Enrollment{{ID: phone, Channel: mdm.DeviceChannel, State: mdm.Enrolled, Generation: 1,
			Device: mdm.Device{ProductName: "iPhone15,2", OSVersion: version}, EnrolledAt: time.Now()}}}, nil
	}))
	return stores
}

func syncs(t *testing.T, stores storage.Stores) (open, all int) {
	t.Helper()
	for e, err := range stores.Command.Entries(t.Context(), command.Query{From: phone}) {
		require.NoError(t, err)
		assert.Equal(t, "DeclarativeManagement", e.RequestType)
		all++
		if e.State.Open() {
			open++
		}
	}
	return open, all
}

func TestGroups(t *testing.T) {
	stores := managed(t, "18.0")
	heard := 0
	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command, Reported: func(context.Context, mdm.EnrollmentID, ddm.StatusReport) error {
		heard++
		return nil
	}}
	r := &ddm.Responder{Backend: groups}
	token := func() string {
		s, err := r.Set(t.Context(), phone)
		require.NoError(t, err)
		return s.Token()
	}
	none := token()
	require.NoError(t, groups.Declare(t.Context(), phone, ddm.Group{Name: "one", Declarations: []ddm.Declaration{echo("c", "1"), activates("on", "c")}}))
	first := token()
	require.NoError(t, groups.Declare(t.Context(), phone, ddm.Group{Name: "two", Declarations: []ddm.Declaration{echo("d", "1"), activates("both", "c", "d")}}))
	open, all := syncs(t, stores)
	assert.Equal(t, []int{1, 2}, []int{open, all}, "a sync that was not sent is one for all changes")
	assert.Len(t, map[string]bool{none: true, first: true, token(): true}, 3)

	before := token()
	var wrong *ddm.SetError
	require.ErrorAs(t, groups.Declare(t.Context(), phone, ddm.Group{Name: "three", Declarations: []ddm.Declaration{echo("c", "2")}}), &wrong)
	require.ErrorAs(t, groups.Withdraw(t.Context(), phone, 0, "one"), &wrong, "the other names what is in it")
	assert.Equal(t, before, token(), "nothing was changed")

	require.NoError(t, groups.Withdraw(t.Context(), phone, 99, "two"))
	assert.Equal(t, before, token(), "that would be of another enrollment")
	require.NoError(t, groups.Withdraw(t.Context(), phone, 1, "two"))
	assert.Equal(t, first, token())
	require.NoError(t, groups.Withdraw(t.Context(), phone, 0, "one"))
	require.NoError(t, groups.Withdraw(t.Context(), phone, 0, "one"))
	assert.Equal(t, none, token())
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(groups.Declare(t.Context(), phone, ddm.Group{Name: "late", Generation: 2})))
	_, err := r.Declare(t.Context(), phone, "status", []byte(`{}`))
	require.NoError(t, err)
	assert.Equal(t, 1, heard)
}

// TestGroupsOfASystemWithoutDeclarations: what the queue refuses is an error.
func TestGroupsOfASystemWithoutDeclarations(t *testing.T) {
	stores := managed(t, "14.0")
	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command}
	err := groups.Declare(t.Context(), phone, ddm.Group{Name: "one", Declarations: []ddm.Declaration{echo("c", "1")}})
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
}

// refusing is a queue, or a store, that does not work.
type refusing struct{ ddm.Store }

var errAway = errors.New("away")

func (refusing) Enqueue(context.Context, command.Order) (command.Receipt, error) {
	return command.Receipt{}, errAway
}

func (refusing) DeclarationGroups(context.Context, mdm.EnrollmentID) ([]ddm.Group, error) {
	return nil, errAway
}

func TestGroupsInAnOutage(t *testing.T) {
	stores := managed(t, "18.0")
	groups := &ddm.Groups{Store: stores.Declarations, Commands: refusing{}}
	g := ddm.Group{Name: "one", Declarations: []ddm.Declaration{echo("c", "1")}}
	require.ErrorIs(t, groups.Declare(t.Context(), phone, g), errAway)
	groups.Commands = stores.Command
	require.NoError(t, groups.Declare(t.Context(), phone, g), "repeated, it tells the device although nothing is new")
	open, _ := syncs(t, stores)
	assert.Equal(t, 1, open)
	groups.Store = refusing{}
	require.ErrorIs(t, groups.Declare(t.Context(), phone, g), errAway)
	require.ErrorIs(t, groups.Withdraw(t.Context(), phone, 0, "one"), errAway)
	_, err := (&ddm.Responder{Backend: groups}).Declare(t.Context(), phone, "declaration/configuration/c", nil)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err))
}

// TestGroupsThatDoNotFit: what two have declared at once, and cannot be published, is taken back one by one.
func TestGroupsThatDoNotFit(t *testing.T) {
	stores := managed(t, "18.0")
	groups := &ddm.Groups{Store: stores.Declarations, Commands: stores.Command}
	for _, name := range []string{"one", "two", "three"} {
		require.NoError(t, stores.Declarations.PutDeclarations(t.Context(), phone, ddm.Group{Name: name, Declarations: []ddm.Declaration{echo("same", name)}}))
	}
	var wrong *ddm.SetError
	r := &ddm.Responder{Backend: groups}
	_, err := r.Set(t.Context(), phone)
	require.ErrorAs(t, err, &wrong)
	require.NoError(t, groups.Withdraw(t.Context(), phone, 0, "one"))
	require.NoError(t, groups.Withdraw(t.Context(), phone, 0, "two"))
	s, err := r.Set(t.Context(), phone)
	require.NoError(t, err)
	assert.Equal(t, 1, s.Len())
}
