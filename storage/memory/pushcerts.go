package memory

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// PushCertificate implements [push.Certificates].
func (db *DB) PushCertificate(ctx context.Context, topic string) (out *tls.Certificate, err error) {
	err = db.tx(ctx, func() error {
		c, found := db.pushCertificates[topic]
		if !found {
			return mdm.Errorf(mdm.NotFound, "memory.PushCertificate", "there is no push certificate for topic %q", topic)
		}
		out = &c.TLS
		return nil
	})
	return out, err
}

// SavePushCertificate implements [push.CertificateStore]. The error is a Malformed one for a certificate without a
// topic.
func (db *DB) SavePushCertificate(ctx context.Context, c push.Certificate) error {
	if c.Topic == "" {
		return mdm.Errorf(mdm.Malformed, "memory.SavePushCertificate", "the certificate has no topic")
	}
	return db.tx(ctx, func() error { db.pushCertificates[c.Topic] = c; return nil })
}

// PushTopics implements [push.CertificateStore].
func (db *DB) PushTopics(ctx context.Context) (out []push.Topic, err error) {
	err = db.tx(ctx, func() error {
		for topic, c := range db.pushCertificates {
			out = append(out, push.Topic{Name: topic, NotAfter: c.NotAfter})
		}
		return nil
	})
	slices.SortFunc(out, func(a, b push.Topic) int { return cmp.Compare(a.Name, b.Name) })
	return out, err
}
