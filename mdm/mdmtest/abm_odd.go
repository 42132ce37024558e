package mdmtest

// ABMOddities is what Apple does now and then, and a client has to live with. None of it is a fault. The zero value has none of it.
type ABMOddities struct {
	TextMore    bool // more_to_follow is "true" or "false", a string
	QuoteErrors bool // codes of errors are quoted, and have spaces around them

	Twice      int  // every n-th device is told of twice in a page; 0: none
	Overlap    int  // so many devices of a page are told of again in the next, at most a quarter of it
	Shuffle    bool // a page is in any order; operations keep their dates
	ShortPages bool // pages are shorter than was asked for, by chance
	EmptyEvery int  // every n-th page is empty, and more follows; 0: none
	Grows      bool // devices that are given to the server while all are fetched are among them, and are told of in the sync, too

	// Stuck has the next n pages that were asked for with a cursor come with the same cursor again, and more to follow.
	Stuck int

	NoOpType int    // every n-th operation of a page has no type; 0: none
	NoOpDate int    // every n-th has no date; 0: none
	OpType   string // every third has this type in place of its own; "": none

	QuietChanges bool // changes of profiles are not told of in a sync
}

// SetOddities sets what Apple does, in place of what it did.
func (a *ABM) SetOddities(o ABMOddities) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.odd = o
}
