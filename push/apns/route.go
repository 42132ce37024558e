package apns

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// route is the way to the devices of a topic, or why there is none.
type route struct {
	link    *link
	outcome push.Outcome
	err     error
}

type routes map[string]route

// find asks for the way of every topic once. The caller releases what it found.
func (c *Client) find(ctx context.Context, found routes, to endpoint, targets []push.Target) {
	for _, t := range targets {
		if _, ok := found[t.Topic]; !ok {
			found[t.Topic] = c.route(ctx, to, t.Topic)
		}
	}
}

func (r routes) release() {
	for _, route := range r {
		if route.link != nil {
			route.link.unhold()
		}
	}
}

func (c *Client) route(ctx context.Context, to endpoint, topic string) route {
	call := c.asked.Add(1)
	pair, err := c.Certificates.PushCertificate(ctx, topic)
	switch {
	case err != nil && (mdm.CodeOf(err) == mdm.NotFound || mdm.CodeOf(err) == mdm.Malformed):
		return route{outcome: push.BadCertificate, err: fmt.Errorf("apns: push certificate: %w", err)}
	case err != nil:
		return route{outcome: push.Unsent, err: fmt.Errorf("apns: push certificate: %w", err)}
	case pair == nil || len(pair.Certificate) == 0:
		return route{outcome: push.BadCertificate, err: fmt.Errorf("apns: no push certificate for topic %q", topic)}
	}
	l, err := c.link(to, topic, pair, call)
	if err != nil {
		return route{outcome: push.BadCertificate, err: err}
	}
	return route{link: l}
}

// link returns the link of topic with this certificate, made if it is new, and takes hold of it. A call that asked for
// the certificate before the present one was taken into use may have got a former one: it takes the present one, too.
func (c *Client) link(to endpoint, topic string, pair *tls.Certificate, call uint64) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.links[topic]
	l := old
	if old == nil || call > old.since && !bytes.Equal(old.cert.TLS.Certificate[0], pair.Certificate[0]) {
		cert, err := c.examine(topic, *pair)
		if err != nil {
			return nil, err
		}
		l = c.newLink(cert, to)
	}
	if err := l.cert.Check(c.now()); err != nil {
		return nil, fmt.Errorf("apns: %w", err)
	}
	if l != old {
		c.install(topic, l)
	}
	l.hold()
	return l, nil
}

// examine refuses a certificate that APNs would refuse. Expiry is left to the caller, who goes by c.Clock.
func (c *Client) examine(topic string, pair tls.Certificate) (push.Certificate, error) {
	cert, err := push.NewCertificate(pair)
	if err != nil && !errors.Is(err, push.ErrExpired) {
		return push.Certificate{}, fmt.Errorf("apns: push certificate: %w", err)
	}
	if cert.Topic != topic {
		return push.Certificate{}, fmt.Errorf("apns: the push certificate for topic %q is of topic %q", topic, cert.Topic)
	}
	return cert, nil
}

// install puts l in the place of a former link of topic. The caller holds c.mu.
func (c *Client) install(topic string, l *link) {
	if c.links == nil {
		c.links = map[string]*link{}
	}
	if old := c.links[topic]; old != nil {
		l.inherit(old)
		old.retire()
	}
	l.since = c.asked.Load()
	c.links[topic] = l
}

// inherit goes on with what old has learnt about connecting, but not about its certificate. Nobody uses l yet.
func (l *link) inherit(old *link) {
	old.mu.Lock()
	defer old.mu.Unlock()
	l.gate = old.gate
	if !certificateRefused(old.dials.err) {
		l.dials = old.dials
	}
}
