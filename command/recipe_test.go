package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/schema"
)

// queue is a store whose commands are put off by NotNow, one session long.
type queue struct {
	exchanger
	offers []*command.Offer
}

func (q *queue) Exchange(_ context.Context, r *command.Report, _ func(*identity.Standing) identity.Verdict) (*command.Offer, error) {
	q.reports = append(q.reports, r)
	if r.Status != command.StatusIdle {
		q.offers = q.offers[1:]
	}
	if len(q.offers) == 0 {
		return nil, q.err
	}
	return q.offers[0], nil
}

func offered(t *testing.T, uuid string, c command.Command) *command.Offer {
	t.Helper()
	item, err := command.Prepare(command.Order{Command: c, UUID: uuid})
	require.NoError(t, err)
	return &command.Offer{UUID: uuid, RequestType: item.RequestType, Body: item.Body}
}

func recipe(name string) command.Recipe {
	return command.Recipe{Type: "InstallProfile", Name: name, Args: map[string]string{"for": "& <you>"}}
}

func TestRecipeIsMadeAtDelivery(t *testing.T) {
	x, r := enrolled(t)
	r.Status = command.StatusIdle
	q := &queue{exchanger: *x, offers: []*command.Offer{offered(t, "u1", recipe("fresh"))}}
	times := 0
	s := command.Service{Store: q, Cooks: map[string]command.Cook{
		"fresh": func(_ context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
			times++
			assert.Equal(t, phone, id)
			assert.Equal(t, map[string]string{"for": "& <you>"}, args)
			return command.InstallProfile{Payload: []byte{byte(times)}}, nil
		},
	}}
	for n := range 2 { // the device lost the first answer: it is made anew
		offer, err := s.Report(t.Context(), r)
		require.NoError(t, err)
		assert.Equal(t, offered(t, "u1", command.InstallProfile{Payload: []byte{byte(n + 1)}}), offer)
	}
	assert.NotContains(t, string(q.offers[0].Body), "<key>Payload</key>")
	assert.Len(t, q.reports, 2, "what can be made costs no further step")
}

func TestWhatCannotBeMadeHoldsUpNobody(t *testing.T) {
	x, r := enrolled(t)
	r.Status = command.StatusIdle
	q := &queue{exchanger: *x, offers: []*command.Offer{
		offered(t, "off", recipe("off")), offered(t, "down", recipe("down")), offered(t, "panics", recipe("panics")),
		offered(t, "nothing", recipe("nothing")), offered(t, "other", recipe("other")), offered(t, "unknown", recipe("unknown")),
		offered(t, "replaces", recipe("replaces")),
		offered(t, "last", command.SecurityInfo{}),
	}}
	var logged bytes.Buffer
	s := command.Service{Store: q, Logger: slog.New(slog.NewTextHandler(&logged, nil)), Cooks: map[string]command.Cook{
		"off": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) {
			return nil, fmt.Errorf("%w: it has a passcode", command.ErrCalledOff)
		},
		"down": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) {
			return nil, errors.New("the CA is down")
		},
		"panics":  func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) { panic("bug") },
		"nothing": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) { return nil, nil },
		"replaces": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) {
			return command.InstallProfile{Payload: []byte(mdmProfile)}, nil
		},
		"other": func(context.Context, mdm.EnrollmentID, map[string]string) (command.Command, error) {
			return command.EraseDevice{}, nil
		},
	}}
	offer, err := s.Report(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, "last", offer.UUID)
	require.Len(t, q.reports, 8)
	assert.Equal(t, &command.Unsent{CalledOff: true, Why: "command: called off: it has a passcode"}, q.reports[1].Unsent)
	for i, off := range q.reports[1:] {
		assert.Equal(t, i == 0, off.Unsent.CalledOff, "only what is called off is canceled")
		assert.Equal(t, command.StatusNotNow, off.Status)
		assert.Equal(t, r.UserConfiguration, off.UserConfiguration)
	}
	for _, text := range []string{"the CA is down", "bug", "made nothing", "not a InstallProfile", "nobody makes", "which the Traits"} {
		assert.Contains(t, logged.String(), text)
	}
}

func TestRecipeIsCheckedAsFarAsItGoes(t *testing.T) {
	_, err := command.Prepare(command.Order{Command: command.Recipe{Name: "n"}})
	require.Error(t, err, "of no type")
	item, err := command.Prepare(command.Order{Command: command.Recipe{Type: "EnableLostMode", Name: "n", Traits: command.ReplacesMDM}})
	require.NoError(t, err, "its keys come later")
	assert.Equal(t, command.ReplacesMDM, item.Traits)
	assert.Error(t, item.Check(mac()), "it is for no Mac, whatever it will hold")
	got, ok := command.RecipeOf(item.Body)
	require.True(t, ok)
	assert.Equal(t, command.Recipe{Type: "EnableLostMode", Name: "n", Args: map[string]string{}, Traits: command.ReplacesMDM}, got)
	_, ok = command.RecipeOf(offered(t, "u", command.InstallProfile{Payload: []byte("com.github.gomdm.applemdm.Recipe")}).Body)
	assert.False(t, ok)
}

const mdmProfile = `<?xml version="1.0"?><plist version="1.0"><dict><key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.mdm</string></dict></array></dict></plist>`

func TestTraitsThatFollowFromTheType(t *testing.T) {
	item, err := command.Prepare(command.Order{Command: command.Recipe{Type: "EraseDevice", Name: "n"}})
	require.NoError(t, err)
	assert.Equal(t, command.Erases, item.Traits)
}

func TestACookHasADeadline(t *testing.T) {
	x, r := enrolled(t)
	r.Status = command.StatusIdle
	q := &queue{exchanger: *x, offers: []*command.Offer{offered(t, "u1", recipe("slow"))}}
	s := command.Service{Store: q, Cooks: map[string]command.Cook{
		"slow": func(ctx context.Context, _ mdm.EnrollmentID, _ map[string]string) (command.Command, error) {
			_, ok := ctx.Deadline()
			assert.True(t, ok)
			return nil, context.DeadlineExceeded
		}}}
	offer, err := s.Report(t.Context(), r)
	require.NoError(t, err)
	assert.Nil(t, offer)
}

func mac() schema.Target { return schema.Target{Platform: schema.MacOS, OSVersion: "15.0"} }
