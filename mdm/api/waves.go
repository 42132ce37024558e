package api

import (
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/push"
)

// maxRate is the most that a wave may make a second.
const maxRate = 1_000_000

// wave is a wave of pushes as the API shows it.
type wave struct {
	ID       string    `json:"id"`
	To       waveOf    `json:"to"`
	Rate     int       `json:"rate"` // 0: the server's
	Begun    time.Time `json:"begunAt"`
	Ended    time.Time `json:"endedAt,omitzero"`
	Canceled bool      `json:"canceled"`
	Total    int       `json:"total"`
	Woken    int       `json:"woken"`
	Percent  int       `json:"percent"`
	Estimate time.Time `json:"estimatedEnd,omitzero"`
}

// waveOf are the parameters of the filter of a wave.
type waveOf struct {
	State    string `json:"state,omitempty"`
	Channel  string `json:"channel,omitempty"`
	Presence string `json:"presence,omitempty"`
	Device   string `json:"device,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Topic    string `json:"topic,omitempty"`
}

func shownWave(w push.Wave) wave {
	f := w.To
	return wave{ID: w.ID, Rate: w.Rate, Begun: w.Begun, Ended: w.Ended, Canceled: w.Canceled, Total: w.Total, Woken: w.Woken,
		Percent: w.Percent(), Estimate: w.Estimate(time.Now()),
		To: waveOf{State: names(f.States), Channel: names(f.Channels), Presence: names(f.Presence), Device: f.Device, Serial: f.SerialNumber, Topic: f.Topic}}
}

// names is the inverse of named.
func names[T interface{ String() string }](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.String()
	}
	return strings.Join(texts, ",")
}

// beginWave begins a wave. Everybody is meant only by all=1.
func (a *api) beginWave(c *call) (any, error) {
	if err := c.one(append([]string{"all", "rate", "id"}, filterNames...)...); err != nil {
		return nil, err
	}
	all, err := c.flag("all", false)
	if err != nil {
		return nil, err
	}
	if !all {
		return nil, malformed("for whom? all=1, which may be narrowed by %s", strings.Join(filterNames, ", "))
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	rate, err := c.number("rate")
	if err != nil {
		return nil, err
	}
	if rate > maxRate {
		return nil, malformed("rate is not a number from 1 to %d", maxRate)
	}
	w, err := a.cfg.Stores.Waves.BeginWave(c.Context(), push.Wave{ID: c.param("id"), To: f, Rate: int(rate)})
	if err != nil {
		return nil, err
	}
	return shownWave(w), nil
}

func (a *api) waves(c *call) (any, error) {
	if err := c.one("open", "after", "limit"); err != nil {
		return nil, err
	}
	open, err := c.flag("open", false)
	if err != nil {
		return nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return nil, err
	}
	q := push.WaveQuery{Tenant: c.tenant, Open: open, After: c.param("after"), Limit: limit + 1} // one more, to see whether there is more
	found, err := a.cfg.Stores.Waves.ListWaves(c.Context(), q)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Waves []wave `json:"waves"`
		Next  string `json:"next,omitempty"`
	}{Waves: []wave{}}
	if len(found) > limit {
		found = found[:limit]
		answer.Next = found[limit-1].ID
	}
	for _, w := range found {
		answer.Waves = append(answer.Waves, shownWave(w))
	}
	return answer, nil
}

func (a *api) wave(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	w, err := a.cfg.Stores.Waves.Wave(c.Context(), c.tenant, c.PathValue("id"))
	return answeredWave(w, err)
}

func (a *api) cancelWave(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	w, err := a.cfg.Stores.Waves.CancelWave(c.Context(), c.tenant, c.PathValue("id"))
	return answeredWave(w, err)
}

func answeredWave(w push.Wave, err error) (any, error) {
	if err != nil && mdm.CodeOf(err) == mdm.NotFound {
		return nil, mdm.Errorf(mdm.NotFound, "api", "no such wave")
	}
	if err != nil {
		return nil, err
	}
	return shownWave(w), nil
}
