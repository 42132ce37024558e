package mdmtest

import "strings"

// ABMOrg is an organization of an [ABM].
type ABMOrg struct {
	abm   *ABM
	name  string
	id    string
	terms bool // new ones wait to be accepted
}

// ABMServer is a server that an organization has made in an [ABM] for its MDM, with devices of its own. Two servers never
// have one device.
type ABMServer struct {
	abm    *ABM
	org    *ABMOrg
	name   string
	uuid   string
	number uint16 // from 1

	// Under the lock of the ABM:
	token     ABMToken
	ended     map[string]bool // access tokens that were renewed or revoked
	denied    bool
	members   []uint32 // in the order in which they were given to the server; abmNobody: that one has left
	count     int
	ops       []abmOp
	epoch     uint16 // of cursors
	chains    map[uint32]*abmChain
	chain     uint32 // that had a page last
	chainMade uint32
	pages     int // that were asked for
	paging    int // calls for pages under way
	discovery string
	discAt    int64
}

// Org returns the organization with that name. It makes it if there is none.
func (a *ABM) Org(name string) *ABMOrg {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.orgs[name]
	if o == nil {
		o = &ABMOrg{abm: a, name: name, id: abmRandom(8)}
		a.orgs[name] = o
	}
	return o
}

// Server returns the server with that name of the organization "Example Inc.". It makes it if there is none.
func (a *ABM) Server(name string) *ABMServer { return a.Org("Example Inc.").Server(name) }

// Name returns the name of the organization.
func (o *ABMOrg) Name() string { return o.name }

// Server returns the server with that name. It makes it if there is none. It panics beyond 65,535 servers.
func (o *ABMOrg) Server(name string) *ABMServer {
	a := o.abm
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.servers {
		if s.org == o && s.name == name {
			return s
		}
	}
	if len(a.servers) == 1<<16-1 {
		panic("mdmtest: too many servers")
	}
	s := &ABMServer{abm: a, org: o, name: name, uuid: strings.ToUpper(abmRandom(16)), number: uint16(len(a.servers) + 1),
		ended: map[string]bool{}, chains: map[uint32]*abmChain{}}
	a.servers = append(a.servers, s)
	return s
}

// Name returns the name of the server.
func (s *ABMServer) Name() string { return s.name }

// Org returns whose server it is.
func (s *ABMServer) Org() *ABMOrg { return s.org }

// DiscoveryURL returns where Apple sends devices for account-driven enrollment, as the server has asked for; "" if it has not.
func (s *ABMServer) DiscoveryURL() string {
	s.abm.mu.Lock()
	defer s.abm.mu.Unlock()
	return s.discovery
}

// RequireTerms makes Apple refuse everything with T_C_NOT_SIGNED, as when there are new terms that nobody in the organizations has
// accepted yet, or ends that.
func (a *ABM) RequireTerms(required bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.terms = required
}

// RequireTerms is [ABM.RequireTerms] for one organization.
func (o *ABMOrg) RequireTerms(required bool) {
	o.abm.mu.Lock()
	defer o.abm.mu.Unlock()
	o.terms = required
}

// Deny makes Apple refuse a server with ACCESS_DENIED, or ends that.
func (a *ABM) Deny(s *ABMServer, denied bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.denied = denied
}
