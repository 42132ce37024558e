package storagetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

func pushCertificateCases() []testCase {
	return []testCase{
		{name: "saved and found",
			why: "push.CertificateStore: stored under its topic, with its private key",
			run: pushCertificateSaved},
		{name: "none",
			why: "push.Certificates: without one for the topic it returns a NotFound error",
			run: noPushCertificate},
		{name: "renewed",
			why: "push.CertificateStore: in place of a former one",
			run: pushCertificateRenewed},
		{name: "expired",
			why: "an operator must be able to see that it is; whether it is used is decided by who uses it",
			run: pushCertificateExpired},
		{name: "topics",
			why: "push.CertificateStore: PushTopics lists them in order, with the end of each certificate's validity",
			run: pushTopics},
	}
}

// pushCertificate returns a self-signed one.
func (w *world) pushCertificate(topic string, notAfter time.Time) push.Certificate {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w, err)
	uid := asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(w.number())),
		Subject:      pkix.Name{CommonName: "APSP:test", ExtraNames: []pkix.AttributeTypeAndValue{{Type: uid, Value: topic}}},
		NotBefore:    notAfter.AddDate(-1, 0, 0), NotAfter: notAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(w, err)
	cert, err := push.NewCertificate(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	if err != nil {
		require.ErrorIs(w, err, push.ErrExpired)
	}
	return cert
}

func pushCertificateSaved(w *world) {
	want := w.pushCertificate(topic, w.now().AddDate(1, 0, 0))
	require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), want))
	got, err := w.PushCertificates.PushCertificate(w.Context(), topic)
	require.NoError(w, err)
	assert.Equal(w, want.TLS.Certificate, got.Certificate)
	key, ok := got.PrivateKey.(*ecdsa.PrivateKey)
	require.True(w, ok)
	assert.True(w, key.Equal(want.TLS.PrivateKey))
	require.NotNil(w, got.Leaf, "parsed, so that nobody parses it for every connection")
	assert.True(w, got.Leaf.Equal(want.TLS.Leaf))
}

func noPushCertificate(w *world) {
	require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), w.pushCertificate(topic, w.now().AddDate(1, 0, 0))))
	_, err := w.PushCertificates.PushCertificate(w.Context(), topic+".other")
	require.Error(w, err)
	assert.Equal(w, mdm.NotFound, mdm.CodeOf(err))
}

func pushCertificateRenewed(w *world) {
	for range 2 {
		want := w.pushCertificate(topic, w.now().AddDate(1, 0, 0))
		require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), want))
		got, err := w.PushCertificates.PushCertificate(w.Context(), topic)
		require.NoError(w, err)
		assert.Equal(w, want.TLS.Certificate, got.Certificate, "at once: who caches must see it")
	}
	topics, err := w.PushCertificates.PushTopics(w.Context())
	require.NoError(w, err)
	assert.Len(w, topics, 1)
}

func pushCertificateExpired(w *world) {
	want := w.pushCertificate(topic, w.now().AddDate(0, 0, -1))
	require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), want))
	got, err := w.PushCertificates.PushCertificate(w.Context(), topic)
	require.NoError(w, err)
	assert.Equal(w, want.TLS.Certificate, got.Certificate)
}

func pushTopics(w *world) {
	topics, err := w.PushCertificates.PushTopics(w.Context())
	require.NoError(w, err)
	assert.Empty(w, topics)
	var want []push.Topic
	for i, name := range []string{topic + ".c", topic + ".a", topic + ".b"} {
		cert := w.pushCertificate(name, w.now().AddDate(0, i+1, 0))
		require.NoError(w, w.PushCertificates.SavePushCertificate(w.Context(), cert))
		want = append(want, push.Topic{Name: name, NotAfter: cert.NotAfter.UTC()})
	}
	topics, err = w.PushCertificates.PushTopics(w.Context())
	require.NoError(w, err)
	for i := range topics {
		topics[i].NotAfter = topics[i].NotAfter.UTC()
	}
	assert.Equal(w, []push.Topic{want[1], want[2], want[0]}, topics)
}
