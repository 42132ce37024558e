package mdmtest_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

type deadToken struct {
	token string
	since int64
}

// readFeedback reads what the service has for cert. rest is what is not a whole tuple.
func readFeedback(t *testing.T, s *mdmtest.FeedbackService, certs ...tls.Certificate) (dead []deadToken, rest []byte, err error) {
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.RootCAs(), Certificates: certs})
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	data, err := io.ReadAll(conn)
	for len(data) >= 6 {
		end := 6 + int(binary.BigEndian.Uint16(data[4:]))
		if end > len(data) {
			break
		}
		dead = append(dead, deadToken{string(data[6:end]), int64(binary.BigEndian.Uint32(data))})
		data = data[end:]
	}
	return dead, data, err
}

func startFeedback(t *testing.T) (*mdmtest.FeedbackService, push.Certificate) {
	s := mdmtest.NewFeedbackService()
	t.Cleanup(s.Close)
	cert, err := mdmtest.NewPushCertificate(pushTopic)
	require.NoError(t, err)
	return s, cert
}

func TestFeedbackServiceTellsATopicsTokensOnce(t *testing.T) {
	t.Parallel()
	s, cert := startFeedback(t)
	s.Add(pushTopic, []byte("a"), time.Unix(1_700_000_000, 5))
	s.Add(pushTopic+".other", []byte("b"), time.Unix(1_700_000_001, 0))
	s.Add(pushTopic, []byte("a longer one"), time.Unix(1_700_000_002, 0))
	dead, rest, err := readFeedback(t, s, cert.TLS)
	require.NoError(t, err)
	assert.Empty(t, rest)
	assert.Equal(t, []deadToken{{"a", 1_700_000_000}, {"a longer one", 1_700_000_002}}, dead)

	dead, rest, err = readFeedback(t, s, cert.TLS)
	require.NoError(t, err)
	assert.Empty(t, dead)
	assert.Empty(t, rest)

	other, err := mdmtest.NewPushCertificate(pushTopic + ".other")
	require.NoError(t, err)
	dead, _, err = readFeedback(t, s, other.TLS)
	require.NoError(t, err)
	assert.Equal(t, []deadToken{{"b", 1_700_000_001}}, dead)
	assert.Equal(t, 3, s.Served())
}

func TestFeedbackServiceCutOffKeepsTheList(t *testing.T) {
	t.Parallel()
	s, cert := startFeedback(t)
	s.Add(pushTopic, []byte("first"), time.Unix(1_700_000_000, 0))
	s.Add(pushTopic, []byte("second"), time.Unix(1_700_000_001, 0))
	s.Truncate(6 + 5 + 3)
	dead, rest, err := readFeedback(t, s, cert.TLS)
	require.NoError(t, err, "TLS of Go takes it for the end")
	assert.Len(t, dead, 1)
	assert.Len(t, rest, 3)
	dead, rest, err = readFeedback(t, s, cert.TLS)
	require.NoError(t, err)
	assert.Len(t, dead, 2)
	assert.Empty(t, rest)
}

func TestFeedbackServiceDemandsAPushCertificate(t *testing.T) {
	t.Parallel()
	s, cert := startFeedback(t)
	s.Add(pushTopic, []byte("a"), time.Unix(1_700_000_000, 0))
	_, _, err := readFeedback(t, s)
	require.Error(t, err)
	dead, _, err := readFeedback(t, s, cert.TLS)
	require.NoError(t, err)
	assert.Len(t, dead, 1)
	assert.Equal(t, 1, s.Served())
}

func TestFeedbackServiceCloses(t *testing.T) {
	t.Parallel()
	s, cert := startFeedback(t)
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: s.RootCAs(), Certificates: []tls.Certificate{cert.TLS}})
	require.NoError(t, err)
	defer conn.Close()
	s.Close()
	s.Close() // a second time does nothing
	_, _, err = readFeedback(t, s, cert.TLS)
	require.Error(t, err)
}
