package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWrongAnswersFail holds the generator to what it promises: no figure without a right answer.
func TestWrongAnswersFail(t *testing.T) {
	f, err := newFleet(1)
	require.NoError(t, err)
	d := f.devices[0]
	var answers []string // in turn; "500" is that status
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http.MethodPut, r.Method)
		assert.True(t, strings.HasPrefix(r.Header.Get(certHeader), ":MII"))
		answer := answers[0]
		answers = answers[1:]
		if answer == "500" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer s.Close()
	session := func(list ...string) (int, error) {
		c := &client{addr: s.Listener.Addr().String()}
		defer c.close()
		answers = list
		return d.session(c, []string{commandUUID(0, 0, 0), commandUUID(0, 1, 0)})
	}
	first, second := string(rawCommand(commandUUID(0, 0, 0))), string(rawCommand(commandUUID(0, 1, 0)))
	long := strings.Replace(second, "<dict>", "<dict>"+strings.Repeat(" ", 10_000), 1) // comes in chunks

	done, err := session(first, long, "")
	require.NoError(t, err)
	assert.Equal(t, 2, done)
	done, err = session(second, first, "")
	require.Error(t, err, "in another order")
	assert.Equal(t, 0, done)
	done, err = session(first, "", "")
	require.Error(t, err, "one is missing")
	assert.Equal(t, 1, done)
	done, err = session(first, second, first)
	require.Error(t, err, "one too many")
	assert.Equal(t, 1, done, "nobody knows whether the last one was taken")
	_, err = session(first, "500")
	require.ErrorContains(t, err, "status 500")

	answers = []string{"", first} // a command for a device that has none
	l := drive(t.Context(), s.Listener.Addr().String(), 1, count(2), func(c *client, _ int) (int, error) { return d.poll(c) })
	assert.Equal(t, 1, l.ops)
	assert.Equal(t, 1, l.failed)
	require.Error(t, l.first)
	assert.Len(t, l.latencies, 2)
}

func TestDuring(t *testing.T) {
	assert.True(t, during(time.Hour)(1))
	assert.False(t, during(-1)(1))
	assert.True(t, count(2)(1))
	assert.False(t, count(2)(2))
}
