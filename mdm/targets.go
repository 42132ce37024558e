package mdm

import "slices"

// Filter selects enrollments. Every set field must match; the zero Filter selects every enrollment of the tenant "".
type Filter struct {
	Tenant       string
	States       []State   // any of them; empty: any
	Channels     []Channel // any of them; empty: any
	Device       string    // all channels of this device
	Topic        string
	SerialNumber string
	Presence     []Presence // any of them; empty: any

	// After and Limit page through the result in the order of EnrollmentID (device, then user): only enrollments after
	// this id, at most Limit of them. A Limit of 0 is no limit.
	After EnrollmentID
	Limit int
}

// Matches reports whether e is selected by f, without regard to After and Limit.
func (f Filter) Matches(e *Enrollment) bool {
	return e.ID.Tenant == f.Tenant &&
		(len(f.States) == 0 || slices.Contains(f.States, e.State)) &&
		(len(f.Channels) == 0 || slices.Contains(f.Channels, e.Channel)) &&
		(f.Device == "" || f.Device == e.ID.Device) &&
		(f.Topic == "" || f.Topic == e.Topic) &&
		(f.SerialNumber == "" || f.SerialNumber == e.Device.SerialNumber) &&
		(len(f.Presence) == 0 || slices.Contains(f.Presence, e.Presence))
}

// Targets says to whom something is addressed: a list of enrollments or a filter that the store applies. The zero
// Targets is nobody.
type Targets struct {
	ids      []EnrollmentID
	filter   Filter
	matching bool
}

// IDs addresses these enrollments, each once however often it is named.
func IDs(ids ...EnrollmentID) Targets { return Targets{ids: slices.Clone(ids)} }

// Matching addresses every enrollment that f selects at the time of the call it is passed to.
func Matching(f Filter) Targets { return Targets{filter: f, matching: true} }

// List returns the ids of a Targets made by IDs, nil for others.
func (t Targets) List() []EnrollmentID { return t.ids }

// Filter returns the filter of a Targets made by Matching; ok is false for others.
func (t Targets) Filter() (f Filter, ok bool) { return t.filter, t.matching }
