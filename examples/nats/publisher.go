package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/gomdm/applemdm/mdm"
)

// stream is the narrow part of jetstream.JetStream that a publisher needs.
type stream interface {
	PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

// publisher is an event.Consumer that publishes to JetStream, to the subject <prefix>.<tenant>.<type>. It returns when the stream
// has stored the event, so a dispatcher keeps what was not stored, and the order within an enrollment.
type publisher struct {
	stream stream
	prefix string // as "mdm"
}

// Consume implements event.Consumer. What is published again, after a crash between the stream and the database, has the same
// Nats-Msg-Id, and the stream drops it if that is not longer ago than its window for duplicates.
func (p *publisher) Consume(ctx context.Context, e mdm.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: p.subject(&e), Data: body, Header: nats.Header{}}
	m.Header.Set(jetstream.MsgIDHeader, messageID(&e))
	if _, err := p.stream.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("nats: %s: %w", m.Subject, err)
	}
	return nil
}

// messageID names an event. The enrollment is part of it because Seq only has to be unique within one; the time, because a
// database that began anew counts anew.
func messageID(e *mdm.Event) string {
	return fmt.Sprintf("%s/%d/%d", e.Enrollment, e.Seq, e.At.UnixMicro())
}

// subject has one token for the tenant, and those of the type: mdm.acme.enrollment.enrolled. No tenant is "-".
func (p *publisher) subject(e *mdm.Event) string {
	tenant := "-"
	if e.Enrollment.Tenant != "" {
		tenant = token(e.Enrollment.Tenant)
	}
	return p.prefix + "." + tenant + "." + string(e.Type)
}

// token makes a text one token of a subject: dots, spaces and wildcards are escaped as in a URL.
func token(s string) string {
	if s == "-" {
		return "%2D"
	}
	return strings.NewReplacer(".", "%2E", "*", "%2A", ">", "%3E").Replace(url.PathEscape(s))
}
