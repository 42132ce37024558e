package expiry_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/expiry"
)

func TestItemsAreInOrderAndOnePerCredential(t *testing.T) {
	t.Parallel()
	c := &expiry.Calendar{Sources: []expiry.Source{
		expiry.Fixed(
			expiry.Item{Kind: expiry.DEPToken, Name: "b", NotAfter: day(5, 1)},
			expiry.Item{Kind: expiry.TLSServer, Name: "x", NotAfter: day(7, 1)},
			expiry.Item{Kind: expiry.TLSServer, Name: "x", Tenant: "red", NotAfter: day(7, 2)},
		),
		expiry.Fixed(
			expiry.Item{Kind: expiry.DEPToken, Name: "a", NotAfter: day(5, 1), Action: "ask Anna"},
			expiry.Item{Kind: expiry.TLSServer, Name: "x", NotAfter: day(6, 1).Add(time.Millisecond).In(time.FixedZone("", 3600))},
		),
	}}
	items, err := c.Items(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []expiry.Item{
		{Kind: expiry.DEPToken, Name: "a", NotAfter: day(5, 1), Action: "ask Anna"},
		{Kind: expiry.DEPToken, Name: "b", NotAfter: day(5, 1), Action: expiry.DEPToken.Action()},
		{Kind: expiry.TLSServer, Name: "x", NotAfter: day(6, 1), Action: expiry.TLSServer.Action()},
		{Kind: expiry.TLSServer, Name: "x", Tenant: "red", NotAfter: day(7, 2), Action: expiry.TLSServer.Action()},
	}, items)

	items, err = new(expiry.Calendar).Items(t.Context())
	require.NoError(t, err)
	assert.Empty(t, items)
}

func TestWhatASourceCannotTellHidesNothing(t *testing.T) {
	t.Parallel()
	good := expiry.Item{Kind: expiry.DeviceCA, Name: "devices", NotAfter: day(5, 1)}
	c := &expiry.Calendar{Timeout: 50 * time.Millisecond, Sources: []expiry.Source{
		expiry.One(expiry.Item{Kind: expiry.DEPToken, Name: "down"}, func(context.Context) (time.Time, error) { return time.Time{}, errDown }),
		expiry.One(expiry.Item{Kind: expiry.DEPToken, Name: "slow"}, func(ctx context.Context) (time.Time, error) {
			<-ctx.Done()
			return time.Time{}, ctx.Err()
		}),
		expiry.One(expiry.Item{Kind: expiry.DEPToken, Name: "endless"}, func(context.Context) (time.Time, error) { return time.Time{}, nil }),
		expiry.SourceFunc(func(context.Context) iter.Seq2[expiry.Item, error] { panic("no source") }),
		expiry.Fixed(expiry.Item{Kind: expiry.TLSServer, Name: strings.Repeat("x", expiry.MaxName+1), NotAfter: day(5, 1)}, good),
	}}
	items, err := c.Items(t.Context())
	require.Len(t, items, 1)
	assert.Equal(t, "devices", items[0].Name)
	for _, want := range []error{errDown, context.DeadlineExceeded, expiry.ErrNoEnd, expiry.ErrTooLong} {
		require.ErrorIs(t, err, want)
	}
	require.ErrorContains(t, err, "no source")
	require.ErrorContains(t, err, "dep-token down")
	var failed *expiry.SourceError
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	assert.Len(t, joined.Unwrap(), 5)
	for _, e := range joined.Unwrap() {
		assert.ErrorAs(t, e, &failed)
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	own := func(stages ...expiry.Stage) func(expiry.Item) []expiry.Stage {
		return func(expiry.Item) []expiry.Stage { return stages }
	}
	for name, tt := range map[string]struct {
		left   time.Duration
		stages func(expiry.Item) []expiry.Stage
		want   expiry.Stage
		days   int
	}{
		"long":            {left: 60*expiry.Day + 1, want: expiry.NotYet, days: 61},
		"first":           {left: 60 * expiry.Day, want: 60, days: 60},
		"between":         {left: 31 * expiry.Day, want: 60, days: 31},
		"second":          {left: 30 * expiry.Day, want: 30, days: 30},
		"week":            {left: 7 * expiry.Day, want: 7, days: 7},
		"a part of a day": {left: 6*expiry.Day + time.Hour, want: 7, days: 7},
		"day":             {left: time.Hour, want: 1, days: 1},
		"ended":           {left: 0, want: expiry.Expired, days: 0},
		"long ago":        {left: -5 * expiry.Day, want: expiry.Expired, days: -5},
		"own":             {left: 10 * expiry.Day, stages: own(3, 14, 0, -9), want: 14, days: 10},
		"own, not yet":    {left: 15 * expiry.Day, stages: own(3, 14), want: expiry.NotYet, days: 15},
		"own, no end":     {left: -1, stages: own(3, 14), want: 3, days: 0},
		"none are all":    {left: 45 * expiry.Day, stages: own(), want: 60, days: 45},
	} {
		i := expiry.Item{NotAfter: day(5, 1).Add(tt.left)}
		assert.Equal(t, tt.want, (&expiry.Calendar{Stages: tt.stages}).Due(i, day(5, 1)), name)
		assert.Equal(t, tt.days, i.DaysLeft(day(5, 1)), name)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"not yet", "expired", "1 day", "30 days"},
		[]string{expiry.NotYet.String(), expiry.Expired.String(), expiry.Stage(1).String(), expiry.Stage(30).String()})
	assert.NotEmpty(t, expiry.Kind("ours").Action())
	for left, want := range map[time.Duration]string{
		7 * expiry.Day:        "ours x expires in 7 days, on 2026-05-01: do it",
		expiry.Day + 1:        "ours x expires in 2 days, on 2026-05-01: do it",
		expiry.Day:            "ours x expires in 24 hours, on 2026-05-01: do it",
		61 * time.Minute:      "ours x expires in 2 hours, on 2026-05-01: do it",
		time.Minute:           "ours x expires within the hour, on 2026-05-01: do it",
		-100 * 24 * time.Hour: "ours x expired on 2026-05-01: do it",
	} {
		assert.Equal(t, want, expiry.Item{Kind: "ours", Name: "x", NotAfter: day(5, 1), Action: "do it"}.Text(day(5, 1).Add(-left)))
	}
}
