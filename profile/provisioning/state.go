package provisioning

import (
	"time"

	"github.com/gomdm/applemdm/command"
)

// State is what is known of one device: what it listed, and what it was told to do. It can be stored as JSON. It belongs to one
// enrollment of the device: begin with a new one after it enrolled anew, since its queue of commands is gone then. The zero State
// knows nothing, and a plan for it asks for a list.
type State struct {
	Installed []Installed `json:"installed,omitempty"`
	ListedAt  time.Time   `json:"listedAt,omitzero"` // when the list came; zero: none came yet
	Listing   bool        `json:"listing,omitempty"` // a list is asked for
	FailedAt  time.Time   `json:"failedAt,omitzero"` // when it was last answered with an error

	// Orders holds by UUID, in lower case, what the device was told and what does not show in its list.
	Orders map[string]Order `json:"orders,omitempty"`
}

// Installed is a provisioning profile that a device has listed.
type Installed struct {
	UUID   string    `json:"uuid"`
	Name   string    `json:"name"`
	Expiry time.Time `json:"expiry,omitzero"` // zero: the device did not say
}

// Order is a command about one profile.
type Order struct {
	Action   Action    `json:"action"`
	Sent     time.Time `json:"sent"`
	Answered time.Time `json:"answered,omitzero"` // zero: it is outstanding
}

// outstanding reports whether the device may still do it.
func (o Order) outstanding() bool { return o.Answered.IsZero() }

// Sent notes that the commands of a plan are queued.
func (s *State) Sent(p *Plan, at time.Time) {
	if s.Orders == nil {
		s.Orders = map[string]Order{}
	}
	for _, step := range p.Steps {
		s.Orders[key(step.UUID)] = Order{Action: step.Action, Sent: at}
	}
	s.Listing = s.Listing || p.List
}

// Answered notes that the command about a profile was answered, or canceled. Whether with success shows in the next list only;
// after an error it is given again, but not before [Planner].Retry. Not now is no answer.
func (s *State) Answered(uuid string, at time.Time) {
	if o, ok := s.Orders[key(uuid)]; ok && o.outstanding() {
		o.Answered = at
		s.Orders[key(uuid)] = o
	}
}

// Listed notes the answer to a ProvisioningProfileList.
func (s *State) Listed(r command.ProvisioningProfileListResponse, at time.Time) {
	s.Installed = nil
	listed := map[string]bool{}
	for _, item := range r.ProvisioningProfileList {
		i := Installed{UUID: item.UUID, Name: item.Name}
		if item.ExpiryDate != nil {
			i.Expiry = *item.ExpiryDate
		}
		s.Installed = append(s.Installed, i)
		listed[key(i.UUID)] = true
	}
	s.ListedAt, s.Listing, s.FailedAt = at, false, time.Time{}
	for uuid, o := range s.Orders {
		if listed[uuid] == (o.Action == Install) {
			delete(s.Orders, uuid) // it shows
		}
	}
}

// ListFailed notes that a ProvisioningProfileList was answered with an error, or canceled. What was known before stays.
func (s *State) ListFailed(at time.Time) { s.Listing, s.FailedAt = false, at }
