package practice_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

const bp09Day = 24 * time.Hour

// bp09 is a lab whose devices are renewed. Their identities live as long as lifetime says.
type bp09 struct {
	*lab
	recipe  *enroll.Recipe
	renewal *practice.Renewal
	trust   *practice.TrustChange
	alarms  []practice.RenewalAlarm
}

func newBP09(l *lab, lifetime time.Duration, change ...func(*server.Config)) *bp09 {
	b := &bp09{lab: l, recipe: &enroll.Recipe{}}
	b.renewal = &practice.Renewal{Recipe: b.recipe, Ends: practice.IdentityEnds(l.stores.Checkin), Roster: l.stores.Roster,
		Alarm: func(_ context.Context, a practice.RenewalAlarm) error {
			b.alarms = append(b.alarms, a)
			return nil
		}}
	b.trust = &practice.TrustChange{ID: "one", Renewal: b.renewal}
	l.serve(func(c *server.Config) {
		c.Cooks = b.renewal.Cooks()
		for name, cook := range b.trust.Cooks() {
			c.Cooks[name] = cook
		}
		for _, f := range change {
			f(c)
		}
	}, append(b.renewal.Workflows(), b.trust.Workflows()...)...)
	l.ca.Lifetime = lifetime
	b.recipe.Enrollment = profile.Enrollment{Identifier: "com.example.mdm", Topic: topic, ServerURL: l.https.URL + "/mdm", Uses: l.server.Uses(),
		Roots: []*x509.Certificate{l.https.Certificate()}}
	b.recipe.Identities = enroll.SCEPIdentities{Content: profile.SCEPContent{URL: l.https.URL + "/scep"}, Store: l.stores.SCEP, Clock: l.now}
	return b
}

// arrived returns a device that has enrolled by the recipe.
func (b *bp09) arrived(cfg mdmtest.Config) *mdmtest.Device {
	b.Helper()
	data, err := b.recipe.Bytes(b.Context(), enroll.For{})
	require.NoError(b, err)
	d := b.device(cfg)
	require.NoError(b, d.InstallEnrollment(b.Context(), data))
	b.settle(d)
	return d
}

// days goes on for n days; once in each of the last ten of them the devices connect.
func (b *bp09) days(n int, devices ...*mdmtest.Device) {
	b.Helper()
	if n > 10 {
		b.ahead.Add(int64(n-10) * int64(bp09Day))
		n = 10
	}
	for range n {
		b.ahead.Add(int64(bp09Day))
		b.settle(devices...)
	}
}

// run returns the only run of a workflow.
func (b *bp09) run(name string) workflow.Run {
	b.Helper()
	runs := b.runs(name)
	require.Len(b, runs, 1)
	return runs[0]
}

func (b *bp09) count(d *mdmtest.Device, kind mdm.EventType) (n int) {
	for _, e := range b.events(d) {
		if e.Type == kind {
			n++
		}
	}
	return n
}

func bp09Installs(d *mdmtest.Device) (n int) {
	for _, kind := range took(d) {
		if kind == "InstallProfile" {
			n++
		}
	}
	return n
}

// rightsOf grants each device the same.
func rightsOf(rights mdm.AccessRights) func(*checkin.Request) mdm.AccessRights {
	return func(*checkin.Request) mdm.AccessRights { return rights }
}

// replacements are the profiles on a device's queue, open and finished.
func (b *bp09) replacements(d *mdmtest.Device) (out []command.Entry) {
	b.Helper()
	for _, e := range b.queue(d) {
		if e.RequestType == "InstallProfile" {
			out = append(out, e)
		}
	}
	return out
}

// left is how long the device's identity lasts.
func (b *bp09) left(d *mdmtest.Device) time.Duration { return d.Certificate().NotAfter.Sub(b.now()) }

// moody is a script that answers InstallProfile as it is told.
type moody struct {
	answer atomic.Pointer[mdmtest.Answer]
}

func (m *moody) say(a mdmtest.Answer) { m.answer.Store(&a) }
func (m *moody) obey()                { m.answer.Store(nil) }

func (m *moody) respond(_ context.Context, o mdmtest.Order) mdmtest.Answer {
	if a := m.answer.Load(); a != nil && o.RequestType == "InstallProfile" {
		return *a
	}
	return mdmtest.Answer{}
}

// order puts a command on a queue.
func (b *bp09) order(d *mdmtest.Device, c command.Command) {
	b.Helper()
	receipt, err := b.stores.Command.Enqueue(b.Context(), command.Order{Command: c, To: mdm.IDs(id(d))})
	require.NoError(b, err)
	require.Equal(b, 1, receipt.Queued)
}

// bp09Root makes a root, and by it a certificate for the address of the tests' servers.
func bp09Root(t testing.TB, name string, from, to time.Time) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template.SerialNumber, template.NotBefore, template.NotAfter, template.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), from, to, true
		if parent == nil {
			parent, by = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		return cert, key
	}
	root, key := issue(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, leafKey := issue(&x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, root, key)
	return root, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey, Leaf: leaf}
}
