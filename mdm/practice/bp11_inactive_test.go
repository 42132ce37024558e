package practice_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/presence"
	"github.com/gomdm/applemdm/mdm/server"
)

func TestBP11_AccessOfInactiveDevices(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		access := &gate{}
		var apns *line
		l.serve(func(c *server.Config) {
			apns = l.line(c)
			c.Presence = presence.Policy{Inactive: 3 * 24 * time.Hour}
		}, (&practice.Inactive{Access: access}).Workflows()...)
		steady, silent, gone, left := l.enrolled(mdmtest.Config{}), l.earthly(aMac), l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{})
		user := silent.User("U1", "mary")
		require.NoError(t, user.TokenUpdate(t.Context()))
		l.settle(steady)
		assert.Empty(t, access.calls, "who enrolls may reach everything anyhow")
		require.NoError(t, left.CheckOut(t.Context()))
		l.settle(steady)
		assert.Equal(t, []string{"limit"}, access.of(left), "gone at once")
		assert.Equal(t, "limited: the device is ended", l.runs("access")[0].Note)
		l.kill(apns, gone)
		l.settle(steady)
		assert.Equal(t, []string{"limit"}, access.of(gone))
		l.advance(48*time.Hour, steady)
		assert.Empty(t, access.of(silent), "quiet is not inactive")
		l.advance(48*time.Hour, steady)
		assert.Equal(t, []string{"limit"}, access.of(silent))
		pushes := apns.pushes(silent)
		assert.Less(t, pushes, 8, "about one a day")

		// While the system is down, the last state wins: what is passed on is what holds when it is.
		access.down = 1 << 20
		require.NoError(t, silent.Poll(t.Context()))
		l.advance(3*time.Hour, steady)
		assert.Equal(t, []string{"limit"}, access.of(silent))
		l.advance(5*24*time.Hour, steady)
		require.NoError(t, silent.Poll(t.Context()))
		l.advance(time.Hour, steady)
		access.down = 0
		l.advance(time.Hour, steady)
		assert.Equal(t, []string{"limit", "restore"}, access.of(silent))

		require.NoError(t, gone.Poll(t.Context()), "it speaks again")
		l.settle(steady)
		assert.Equal(t, []string{"limit", "restore"}, access.of(gone))
		require.NoError(t, silent.CheckOut(t.Context()))
		l.settle(steady)
		require.NoError(t, silent.Enroll(t.Context(), l.https.URL+"/enroll"))
		l.settle(steady)
		assert.Equal(t, []string{"limit", "restore", "limit", "restore"}, access.of(silent), "it enrolled anew")
		assert.Empty(t, access.of(steady))
		for _, c := range access.calls {
			assert.False(t, strings.Contains(c, "U1"), "users are not treated by themselves")
		}
		assert.Len(t, l.runs("access"), 3)
	})
}

// TestBP11_HeadsetsMayBeSilentForLonger holds a device that is seldom worn against a phone.
func TestBP11_HeadsetsMayBeSilentForLonger(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		access := &gate{}
		l.serve(func(c *server.Config) { l.line(c) }, (&practice.Inactive{Access: access}).Workflows()...)
		phone, headset := l.enrolled(mdmtest.Config{}), l.enrolled(mdmtest.Config{ProductName: "RealityDevice14,1", OSVersion: "2.0"})
		l.settle()
		l.advance(9 * 24 * time.Hour)
		assert.Equal(t, []string{"limit"}, access.of(phone))
		assert.Empty(t, access.of(headset))
		l.advance(14 * 24 * time.Hour)
		assert.Equal(t, []string{"limit"}, access.of(headset))
		require.NoError(t, headset.Poll(t.Context()))
		l.settle()
		assert.Equal(t, []string{"limit", "restore"}, access.of(headset))
	})
}
