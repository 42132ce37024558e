package apns

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAProxyFunctionThatBlocksIsGivenUp(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	defer close(block)
	d := dialer{proxy: func(*http.Request) (*url.URL, error) { <-block; return nil, errors.New("late") }}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := d.choose(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestTheEnvironmentIsNotQuoted(t *testing.T) {
	t.Parallel()
	host := "me:secret@host:port"
	_, err := url.Parse("http://" + host)
	require.ErrorContains(t, err, "secret")
	require.NotContains(t, withoutURL(err).Error(), "secret")
}
