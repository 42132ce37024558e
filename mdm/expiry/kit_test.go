package expiry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/expiry"
)

// day is midnight of a day in 2026.
func day(month time.Month, d int) time.Time { return time.Date(2026, month, d, 0, 0, 0, 0, time.UTC) }

// note is what an expiry.Store remembers.
type note struct {
	kind, tenant, name string
	notAfter           time.Time
}

// notes is an expiry.Store.
type notes struct {
	mu     sync.Mutex
	told   map[note]expiry.Stage
	events []mdm.Event
	err    error
}

func (n *notes) Remind(_ context.Context, e mdm.Event, stage expiry.Stage) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := note{e.Subject, e.Enrollment.Tenant, e.Name, e.NotAfter}
	if last, ok := n.told[k]; n.err != nil || ok && last <= stage {
		return false, n.err
	}
	if n.told == nil {
		n.told = map[note]expiry.Stage{}
	}
	n.told[k] = stage
	n.events = append(n.events, e)
	return true, nil
}

// take returns what was told since it was called last.
func (n *notes) take() []mdm.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	events := n.events
	n.events = nil
	return events
}

var errDown = errors.New("down")

// pair makes a self-signed certificate.
func pair(t testing.TB, name string, notAfter time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"mdm.example.org"},
		NotBefore: notAfter.AddDate(-1, 0, 0), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func cert(t testing.TB, name string, notAfter time.Time) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(pair(t, name, notAfter).Certificate[0])
	require.NoError(t, err)
	return c
}
