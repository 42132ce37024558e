package api

import (
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// enrollment is an enrollment as the API shows it. How to wake a device is not part of it.
type enrollment struct {
	ID         mdm.EnrollmentID `json:"id"`
	Channel    string           `json:"channel"`
	State      string           `json:"state"`
	Generation mdm.Generation   `json:"generation"`
	Topic      string           `json:"topic,omitempty"`
	Rights     mdm.AccessRights `json:"rights,omitempty"`
	Reachable  bool             `json:"reachable"` // there is a push token that APNs does not call dead

	Presence      mdm.Presence `json:"presence"`
	PresenceSince time.Time    `json:"presenceSince,omitzero"`

	Name         string `json:"name,omitempty"`
	Model        string `json:"model,omitempty"`
	ModelName    string `json:"modelName,omitempty"`
	ProductName  string `json:"productName,omitempty"`
	SerialNumber string `json:"serialNumber,omitempty"`
	OSVersion    string `json:"osVersion,omitempty"`
	BuildVersion string `json:"buildVersion,omitempty"`
	IMEI         string `json:"imei,omitempty"`
	MEID         string `json:"meid,omitempty"`
	Supervised   *bool  `json:"supervised,omitempty"`
	SharedIPad   *bool  `json:"sharedIPad,omitempty"`
	Automated    *bool  `json:"automated,omitempty"`
	UserApproved *bool  `json:"userApproved,omitempty"`

	UserShortName string `json:"userShortName,omitempty"`
	UserLongName  string `json:"userLongName,omitempty"`

	AwaitingConfiguration bool `json:"awaitingConfiguration,omitempty"`

	AuthenticatedAt time.Time `json:"authenticatedAt,omitzero"`
	EnrolledAt      time.Time `json:"enrolledAt,omitzero"`
	TokenUpdatedAt  time.Time `json:"tokenUpdatedAt,omitzero"`
	LastSeenAt      time.Time `json:"lastSeenAt,omitzero"`
	EndedAt         time.Time `json:"endedAt,omitzero"`
	EndReason       string    `json:"endReason,omitempty"`

	Push *lastPush `json:"push,omitempty"`
}

// lastPush is what is known of the pushes to an enrollment.
type lastPush struct {
	At        time.Time `json:"at,omitzero"`
	Outcome   string    `json:"outcome,omitempty"`
	Status    int       `json:"status,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	APNsID    string    `json:"apnsID,omitempty"`
	Delivered time.Time `json:"delivered,omitzero"`
	Failures  int       `json:"failures,omitempty"`
	Due       time.Time `json:"due,omitzero"`
	Held      bool      `json:"held,omitempty"`
}

func shownPush(r push.Record) *lastPush {
	p := &lastPush{At: r.At, Status: r.Status, Reason: r.Reason, APNsID: r.APNsID, Delivered: r.Delivered, Failures: r.Failures, Due: r.Due, Held: r.Held}
	if r.Outcome != 0 {
		p.Outcome = r.Outcome.String()
	}
	if *p == (lastPush{}) {
		return nil
	}
	return p
}

func shown(e *mdm.Enrollment) enrollment {
	d := &e.Device
	return enrollment{
		ID: e.ID, Channel: e.Channel.String(), State: e.State.String(), Generation: e.Generation, Topic: e.Topic, Rights: e.Rights,
		Reachable: len(e.PushToken) > 0 && e.Presence != mdm.Gone, Presence: e.Presence, PresenceSince: e.PresenceSince, Name: d.Name, Model: d.Model, ModelName: d.ModelName, ProductName: d.ProductName,
		SerialNumber: d.SerialNumber, OSVersion: d.OSVersion, BuildVersion: d.BuildVersion, IMEI: d.IMEI, MEID: d.MEID,
		Supervised: truth(d.Supervised), SharedIPad: truth(d.SharedIPad), Automated: truth(d.Automated), UserApproved: truth(d.UserApproved),
		UserShortName: e.UserShortName, UserLongName: e.UserLongName, AwaitingConfiguration: e.AwaitingConfiguration,
		AuthenticatedAt: e.AuthenticatedAt, EnrolledAt: e.EnrolledAt, TokenUpdatedAt: e.TokenUpdatedAt, LastSeenAt: e.LastSeenAt,
		EndedAt: e.EndedAt, EndReason: e.EndReason,
	}
}

// truth is absent if nobody knows.
func truth(t mdm.Tristate) *bool {
	if t == mdm.Unsaid {
		return nil
	}
	return new(t == mdm.Yes)
}

func (a *api) enrollments(c *call) (any, error) {
	if err := c.one(append([]string{"after", "limit"}, filterNames...)...); err != nil {
		return nil, err
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	if text := c.param("after"); text != "" {
		if f.After, err = c.id(text); err != nil {
			return nil, err
		}
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	f.Limit = limit + 1 // one more, to see whether there is more
	answer := struct {
		Enrollments []enrollment `json:"enrollments"`
		Next        string       `json:"next,omitempty"`
	}{Enrollments: []enrollment{}}
	for e, err := range a.cfg.Stores.Roster.Enrollments(c.Context(), f) {
		if err != nil {
			return nil, err
		}
		if len(answer.Enrollments) == limit {
			answer.Next = answer.Enrollments[limit-1].ID.String()
			break
		}
		answer.Enrollments = append(answer.Enrollments, shown(e))
	}
	return answer, nil
}

func (a *api) enrollment(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	return a.shown(c)
}

// shown answers with the enrollment that the path names.
func (a *api) shown(c *call) (any, error) {
	id, err := c.id(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	e, err := a.cfg.Stores.Roster.Enrollment(c.Context(), id)
	if mdm.CodeOf(err) == mdm.NotFound && err != nil {
		return nil, mdm.Errorf(mdm.NotFound, "api", "no such enrollment")
	}
	if err != nil {
		return nil, err
	}
	answer := shown(e)
	if a.cfg.Stores.Push != nil {
		last, err := a.cfg.Stores.Push.LastPush(c.Context(), id)
		if err != nil {
			return nil, err
		}
		answer.Push = shownPush(last)
	}
	return answer, nil
}

func (a *api) end(c *call) (any, error) {
	if err := c.one("reason"); err != nil {
		return nil, err
	}
	id, err := c.id(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	reason := c.param("reason")
	if reason == "" {
		reason = "ended by the operator"
	}
	if err := a.cfg.End(c.Context(), id, 0, reason); err != nil {
		return nil, err
	}
	return a.shown(c)
}
