package identity

import (
	"crypto/x509"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecent(t *testing.T) {
	var r recent
	asked := 0
	parse := func() ([]*x509.Certificate, error) { asked++; return []*x509.Certificate{{}}, nil }
	for range 3 {
		certs, err := r.read("a", parse)
		require.NoError(t, err)
		assert.Len(t, certs, 1)
	}
	assert.Equal(t, 1, asked)

	_, err := r.read("bad", func() ([]*x509.Certificate, error) { return nil, errors.New("bad") })
	require.Error(t, err)
	_, err = r.read("bad", parse)
	require.NoError(t, err, "a failure is not remembered")

	long := strings.Repeat("x", maxRecentValue+1)
	for range 2 {
		_, err := r.read(long, parse)
		require.NoError(t, err)
	}
	assert.Equal(t, 4, asked, "what is long is read each time")

	for n := range 2*maxRecent + 10 {
		_, err := r.read(strconv.Itoa(n), parse)
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(r.certs), maxRecent)
}
