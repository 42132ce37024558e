package audit

import (
	"fmt"
	"iter"
)

// Broken is the error of [Verify]: the first entry that is not as it was written, or not there.
type Broken struct {
	Number int64  // of the entry
	Why    string // in words
}

// Error tells which entry and why.
func (b *Broken) Error() string { return fmt.Sprintf("audit: entry %d: %s", b.Number, b.Why) }

// Verify reads the entries of one tenant, in order, and returns the head of their chain, to be remembered in another place than
// the log. The error is a *[Broken] if an entry was changed, removed or moved, else that of entries.
//
// remembered is a head that was returned earlier: its entry must still be there, with its hash, else somebody wrote the chain anew
// or cut off its end. With a zero one, neither is found. The entries begin with the first one or, to go on where an earlier call
// ended, with the remembered one: Entries(ctx, tenant, remembered.Number-1, 0).
func Verify(entries iter.Seq2[Entry, error], remembered Head) (Head, error) {
	c := checker{remembered: remembered}
	for e, err := range entries {
		if err != nil {
			return c.head, err
		}
		if why := c.next(&e); why != "" {
			return c.head, &Broken{Number: c.expected(), Why: why}
		}
		c.head, c.tenant, c.begun = e.Head(), e.Tenant, true
	}
	if c.head.Number < remembered.Number {
		return c.head, &Broken{Number: c.head.Number + 1, Why: fmt.Sprintf("it is missing, and so is all up to %d, which was there", remembered.Number)}
	}
	return c.head, nil
}

// checker goes along a chain.
type checker struct {
	remembered Head
	head       Head
	tenant     string
	begun      bool
	later      bool // it begins with the remembered entry
}

// expected is the number of the entry that is to come.
func (c *checker) expected() int64 {
	if !c.begun && c.later {
		return c.remembered.Number
	}
	return c.head.Number + 1
}

// next returns what is wrong with the next entry.
func (c *checker) next(e *Entry) string {
	c.later = !c.begun && e.Number == c.remembered.Number && e.Number > 1
	switch {
	case e.Number != c.expected():
		return fmt.Sprintf("it is missing; entry %d is in its place", e.Number)
	case e.Hash != e.Sum():
		return "it was changed"
	case c.begun && e.Tenant != c.tenant:
		return "it is another tenant's"
	case !c.later && e.Previous != c.head.Hash:
		return "it does not follow the entry before it"
	case e.Number == c.remembered.Number && e.Hash != c.remembered.Hash:
		return "it is another one than the remembered"
	}
	return ""
}
