package h2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The other implementation that there is.
func TestAgainstNetHTTP(t *testing.T) {
	t.Parallel()
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Path", r.URL.Path)
		w.WriteHeader(400)
		_, _ = fmt.Fprintf(w, "%d", len(body))
	}))
	ts.EnableHTTP2 = true
	ts.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 50}
	ts.StartTLS()
	defer ts.Close()
	config := ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", ts.Listener.Addr().String(), config)
	require.NoError(t, err)
	changed := make(chan struct{}, 1)
	c := New(nc, Config{Changed: func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}})
	defer c.Close()
	body := make([]byte, 16<<10)
	var all []*receiver
	for n := 0; n < 500; {
		r := &receiver{done: make(chan struct{})}
		_, err := c.Start(fields(fmt.Sprintf("/%d", n)), body[:n*32], r)
		if errors.Is(err, ErrFull) {
			c.Flush()
			<-changed
			continue
		}
		require.NoError(t, err)
		all = append(all, r)
		n++
	}
	c.Flush()
	for n, r := range all {
		a, err := r.wait(t)
		require.NoError(t, err)
		assert.Equal(t, 400, a.Status)
		assert.Equal(t, fmt.Sprintf("/%d", n), a.Get("path"))
		assert.Equal(t, fmt.Sprint(n*32), string(a.Body))
	}
}

func TestALargeHeaderIsContinued(t *testing.T) {
	t.Parallel()
	c, s := dial(t, Config{}, streams(10))
	r := &receiver{done: make(chan struct{})}
	long := fields("/" + strings.Repeat("~", 40_000))
	id, err := c.Start(long, []byte("x"), r)
	require.NoError(t, err)
	c.Flush()
	var block []byte
	for {
		f := s.next()
		require.LessOrEqual(t, f.length, 16<<10)
		block = append(block, f.data...)
		if f.flags.Has(http2.FlagHeadersEndHeaders) {
			break
		}
	}
	got, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
	require.NoError(t, err)
	assert.Equal(t, long, got)
	s.answer(id)
	_, err = r.wait(t)
	require.NoError(t, err)

	s.check(s.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 300}))
	s.sync()
	_, err = c.Start(long, nil, r)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = c.Start(nil, make([]byte, maxRequest+1), r)
	require.ErrorIs(t, err, ErrTooLarge)
	begin(t, c, "x")
}
