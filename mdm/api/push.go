package api

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// push wakes devices.
func (a *api) push(c *call) (any, error) {
	if err := c.one(append([]string{"to", "all"}, filterNames...)...); err != nil {
		return nil, err
	}
	to, err := c.to()
	if err != nil {
		return nil, err
	}
	n, err := a.cfg.Stores.Push.Wake(c.Context(), to, time.Now())
	if err != nil {
		return nil, err
	}
	return map[string]int{"woken": n}, nil
}

type topic struct {
	Topic    string    `json:"topic"`
	NotAfter time.Time `json:"notAfter"`
}

func (a *api) pushCertificates(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	topics, err := a.cfg.Stores.PushCertificates.PushTopics(c.Context())
	if err != nil {
		return nil, err
	}
	list := []topic{}
	for _, t := range topics {
		if !a.owns(c, t.Name) {
			continue
		}
		list = append(list, topic{t.Name, t.NotAfter})
	}
	return map[string]any{"pushCertificates": list}, nil
}

// owns reports whether the push certificate of a topic is the caller's.
func (a *api) owns(c *call, topic string) bool {
	return a.cfg.Authorize == nil || a.cfg.OwnsTopic != nil && a.cfg.OwnsTopic(c.Context(), c.tenant, topic)
}

// savePushCertificate takes a certificate and its private key, both as PEM, one after the other. Without force it refuses one
// that would reach no device.
func (a *api) savePushCertificate(c *call) (any, error) {
	if err := c.one("force"); err != nil {
		return nil, err
	}
	force, err := c.flag("force", false)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(c.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	cert, err := push.LoadCertificate(body, body)
	switch {
	case errors.Is(err, push.ErrExpired):
		return nil, malformed("the certificate has expired")
	case err != nil:
		return nil, malformed("%w", err)
	}
	if !a.owns(c, cert.Topic) {
		return nil, mdm.Errorf(mdm.Forbidden, "api", "the topic %s is not yours", cert.Topic)
	}
	store, roster := a.cfg.Stores.PushCertificates, a.cfg.Stores.Roster
	if force || roster == nil {
		err = store.SavePushCertificate(c.Context(), cert)
	} else if err = push.Renew(c.Context(), store, roster, c.tenant, cert); errors.Is(err, push.ErrOtherTopic) {
		return nil, malformed("%w; with force=1 it is stored", err)
	}
	if err != nil {
		return nil, err
	}
	return topic{cert.Topic, cert.NotAfter}, nil
}

func (a *api) events(c *call) (any, error) {
	if err := c.one("after", "limit"); err != nil {
		return nil, err
	}
	after, err := c.number("after")
	if err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	events, err := a.cfg.Stores.Events.Events(c.Context(), c.tenant, after, limit)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"events": events}
	if events == nil {
		answer["events"] = []mdm.Event{}
	}
	if len(events) == limit {
		answer["next"] = strconv.FormatInt(events[limit-1].Seq, 10)
	}
	return answer, nil
}
