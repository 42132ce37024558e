package api

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm/expiry"
)

// Calendar lists what expires. An *expiry.Calendar is one.
type Calendar interface {
	// Items returns what is known, the earliest end first. The error is of what could not be told beside.
	Items(ctx context.Context) ([]expiry.Item, error)
	// Due returns the most urgent stage that an item has reached.
	Due(i expiry.Item, now time.Time) expiry.Stage
}

// credential is an item of the calendar as the API shows it.
type credential struct {
	Kind     expiry.Kind `json:"kind"`
	Tenant   string      `json:"tenant,omitempty"`
	Name     string      `json:"name,omitempty"`
	NotAfter time.Time   `json:"notAfter"`
	DaysLeft int         `json:"daysLeft"`
	Stage    *int        `json:"stage,omitempty"` // days; absent: none is reached
	Expired  bool        `json:"expired"`
	Action   string      `json:"action"`
}

// expiry lists the credentials of the caller's tenant.
func (a *api) expiry(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	answer := struct {
		Credentials []credential `json:"credentials"`
		Errors      []string     `json:"errors"`
	}{[]credential{}, []string{}}
	now := time.Now()
	items, err := a.cfg.Expiry.Items(c.Context())
	for _, i := range items {
		if i.Tenant == c.tenant {
			answer.Credentials = append(answer.Credentials, a.credential(i, now))
		}
	}
	for _, e := range apart(err) {
		a.unknown(c, e, &answer.Errors)
	}
	return answer, nil
}

func (a *api) credential(i expiry.Item, now time.Time) credential {
	shown := credential{Kind: i.Kind, Tenant: i.Tenant, Name: i.Name, NotAfter: i.NotAfter, DaysLeft: i.DaysLeft(now),
		Expired: !i.NotAfter.After(now), Action: i.Action}
	if stage := a.cfg.Expiry.Due(i, now); stage != expiry.NotYet {
		shown.Stage = new(int(stage))
	}
	return shown
}

// unknown logs what a source could not tell, and says of what it is if that is the caller's. What it is of may not be known:
// then every caller is told that the list may not be complete.
func (a *api) unknown(c *call, err error, list *[]string) {
	if a.cfg.Logger != nil {
		a.cfg.Logger.LogAttrs(c.Context(), slog.LevelWarn, "the calendar is not complete", slog.Any("error", err))
	}
	what := "a part of the calendar"
	if e, ok := errors.AsType[*expiry.SourceError](err); ok && (e.Kind != "" || e.Name != "") {
		if e.Tenant != c.tenant {
			return
		}
		what = strings.TrimSpace(string(e.Kind) + " " + e.Name)
	}
	*list = append(*list, what+" is not known; the server's log says why")
}

// apart returns the errors that are joined in err.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}
