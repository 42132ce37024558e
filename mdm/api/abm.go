package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// maxTokenFile is the size of the largest token file that is read, in bytes. Apple's have some 3 KB.
const maxTokenFile = 256 << 10

// abmServer is a server of Apple Business Manager or Apple School Manager as the API shows it. Its key and its token are not part of it.
type abmServer struct {
	Name         string      `json:"name"`
	ServerName   string      `json:"serverName,omitempty"` // this and the next four as Apple says
	ServerUUID   string      `json:"serverUUID,omitempty"`
	Organization string      `json:"organization,omitempty"`
	OrgType      string      `json:"organizationType,omitempty"`
	Admin        string      `json:"admin,omitempty"`
	AddedAt      time.Time   `json:"addedAt,omitzero"`
	Token        *abmToken   `json:"token,omitempty"` // absent: none was imported yet
	Profile      string      `json:"profile"`         // empty: none
	Sync         abmSync     `json:"sync"`
	Problem      *abmProblem `json:"problem,omitempty"`
	Devices      int         `json:"devices"`
	Due          int         `json:"due"`
	Certificate  string      `json:"certificate,omitempty"` // PEM, in answers about one server
}

// abmToken is when a token ends, which is all that is told of it.
type abmToken struct {
	Expires time.Time `json:"expires,omitzero"`
	Expired bool      `json:"expired"`
}

// abmProblem is why Apple refuses calls.
type abmProblem struct {
	Word  string    `json:"word"`
	Text  string    `json:"text"`
	Since time.Time `json:"since,omitzero"`
	At    time.Time `json:"at,omitzero"`
}

// abmSync is how far the devices of a server are known.
type abmSync struct {
	State     string    `json:"state"`
	Text      string    `json:"text"`
	Running   bool      `json:"running"`
	Fetched   int       `json:"fetched"` // by the fetch of all that is going on, or was last
	FetchedAt time.Time `json:"fetchedAt,omitzero"`
	At        time.Time `json:"at,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	NotBefore time.Time `json:"notBefore,omitzero"`
}

// The states of a sync.
const (
	syncNoToken  = "no-token"
	syncStopped  = "stopped"
	syncWaiting  = "waiting"
	syncNew      = "new"
	syncFetching = "fetching"
	syncSweeping = "sweeping"
	syncChanges  = "changes"
)

func shownSync(v *dep.Server, now time.Time) abmSync {
	y := &v.Sync
	shown := abmSync{Running: held(y, now), Fetched: y.Fetched, FetchedAt: y.FetchedAt, At: y.At, Until: y.Until}
	if now.Before(y.NotBefore) {
		shown.NotBefore = y.NotBefore
	}
	shown.State, shown.Text = inWords(v, now)
	return shown
}

// held reports whether somebody is at a sync.
func held(y *dep.Sync, now time.Time) bool { return y.Holder != "" && now.Before(y.HeldUntil) }

// inWords says how the sync of a server stands: first what keeps it from going on.
func inWords(v *dep.Server, now time.Time) (state, text string) {
	y := &v.Sync
	switch {
	case v.Token.ConsumerKey == "":
		return syncNoToken, "there is no server token yet: the certificate has to be uploaded at Apple, and the token that is downloaded there imported here"
	case v.Stopped != nil:
		return syncStopped, "Apple refuses calls until somebody does something: see the problem"
	case now.Before(y.NotBefore):
		return syncWaiting, "Apple asked not to be called before " + y.NotBefore.UTC().Format(time.RFC3339)
	case y.Round == 0:
		return syncNew, "the devices have not been fetched yet"
	}
	pause := ""
	if !held(y, now) {
		pause = ", when it goes on"
	}
	switch y.Phase {
	case dep.PhaseFetch:
		return syncFetching, fmt.Sprintf("all devices are being fetched%s: %d so far", pause, y.Fetched)
	case dep.PhaseSweep:
		return syncSweeping, fmt.Sprintf("all %d devices are fetched; those that were not among them are looked at%s", y.Fetched, pause)
	}
	return syncChanges, "all devices are known; Apple is asked for changes from time to time"
}

func shownServer(v *dep.Server, n dep.Counts, now time.Time) abmServer {
	shown := abmServer{Name: v.Name, ServerName: v.Account.ServerName, ServerUUID: v.Account.ServerUUID, Organization: v.Account.OrgName,
		OrgType: v.Account.OrgType, Admin: v.Account.AdminID, AddedAt: v.AddedAt, Profile: v.Profile, Sync: shownSync(v, now),
		Devices: n.Devices, Due: n.Due}
	if v.Token.ConsumerKey != "" {
		expires := v.Token.Expires
		shown.Token = &abmToken{expires, !expires.IsZero() && !now.Before(expires)}
	}
	if p := v.Stopped; p != nil {
		shown.Problem = &abmProblem{p.Code, p.Text, p.Since, p.At}
	}
	return shown
}

// server returns the key of the server that the path names.
func (c *call) server() dep.Key { return dep.Key{Tenant: c.tenant, Name: c.PathValue("name")} }

func (a *api) abmServers(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	now := time.Now()
	list := []abmServer{}
	for v, err := range a.cfg.Stores.DEP.Servers(c.Context(), c.tenant) {
		if err != nil {
			return nil, err
		}
		list = append(list, shownServer(&v, dep.Counts{}, now))
	}
	for i := range list { // not while the list is read
		n, err := a.cfg.Stores.DEP.CountRecords(c.Context(), dep.Key{Tenant: c.tenant, Name: list[i].Name})
		if err != nil {
			return nil, err
		}
		list[i].Devices, list[i].Due = n.Devices, n.Due
	}
	return map[string]any{"servers": list}, nil
}

func (a *api) abmServer(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	v, err := a.cfg.Stores.DEP.Server(c.Context(), c.server())
	return a.answeredServer(c, v, err)
}

// answeredServer answers with one server.
func (a *api) answeredServer(c *call, v dep.Server, err error) (any, error) {
	if err != nil {
		return nil, noServer(err)
	}
	n, err := a.cfg.Stores.DEP.CountRecords(c.Context(), v.Key)
	if err != nil {
		return nil, err
	}
	shown := shownServer(&v, n, time.Now())
	shown.Certificate = string(v.KeyPair.Certificate)
	return shown, nil
}

// noServer says which thing it is that was not found.
func noServer(err error) error {
	if mdm.CodeOf(err) == mdm.NotFound {
		return mdm.Errorf(mdm.NotFound, "api", "no such server")
	}
	return err
}

// enlist makes a server, or answers with the one that there is.
func (a *api) enlist(c *call) (any, error) {
	if err := c.one(); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond) // as it is kept
	v, err := dep.Enlist(c.Context(), a.cfg.Stores.DEP, c.server(), now)
	return a.answeredServer(c, v, err)
}

// importToken takes the file that was downloaded from Apple.
func (a *api) importToken(c *call) (any, error) {
	if err := c.one("other"); err != nil {
		return nil, err
	}
	other, err := c.flag("other", false)
	if err != nil {
		return nil, err
	}
	file, err := c.read(maxTokenFile)
	if err != nil {
		return nil, err
	}
	v, err := dep.Import(c.Context(), a.cfg.Stores.DEP, c.server(), file, other, time.Now())
	if err == nil {
		a.notify(v.Key)
	}
	return a.answeredServer(c, v, err)
}

// notify has devices synced and assigned at once, if that is done here.
func (a *api) notify(key dep.Key) {
	if a.cfg.Syncer != nil {
		a.cfg.Syncer.Notify(key)
	}
	if a.cfg.Assigner != nil {
		a.cfg.Assigner.Notify(key)
	}
}

// sync has a server synced at once, and does not wait for it. A fetch of all devices that is going on is not begun anew.
func (a *api) sync(c *call) (any, error) {
	if err := c.one("full"); err != nil {
		return nil, err
	}
	full, err := c.flag("full", false)
	if err != nil {
		return nil, err
	}
	v, err := a.cfg.Stores.DEP.Server(c.Context(), c.server())
	if err != nil {
		return nil, noServer(err)
	}
	if v.Token.ConsumerKey == "" {
		return nil, v.Token.Check(time.Now())
	}
	if going := v.Sync.Phase == dep.PhaseFetch && held(&v.Sync, time.Now()); full && !going {
		if err := a.cfg.Syncer.Full(c.Context(), v.Key); err != nil {
			return nil, noServer(err)
		}
		if v, err = a.cfg.Stores.DEP.Server(c.Context(), v.Key); err != nil {
			return nil, noServer(err)
		}
	}
	a.cfg.Syncer.Notify(v.Key)
	answer, err := a.answeredServer(c, v, nil)
	if err == nil {
		write(c.w, http.StatusAccepted, answer)
	}
	return nil, err
}
