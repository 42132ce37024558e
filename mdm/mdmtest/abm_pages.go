package mdmtest

import (
	"net/http"
	"time"
)

// abmOp is an operation that a sync tells of.
type abmOp struct {
	device uint32
	at     uint32 // seconds of Unix
	word   uint16 // its type, of ABM.words
}

const (
	abmAdded = iota
	abmModified
	abmDeleted
)

// log adds an operation.
func (s *ABMServer) log(id uint32, word uint16, at time.Time) {
	s.ops = append(s.ops, abmOp{id, abmSeconds(at), word})
}

// abmEntry is a device in a page; op is nil if all are fetched.
type abmEntry struct {
	device uint32
	op     *abmOp
}

// abmPage is a page that is asked for.
type abmPage struct {
	Cursor string `json:"cursor"`
	Limit  *int   `json:"limit"`
}

// pageLimit returns how many devices the client wants.
func (a *ABM) pageLimit(c *abmCall, p abmPage) (int, abmReply, bool) {
	switch {
	case p.Limit == nil:
		return a.config.DefaultLimit, abmReply{}, true
	case *p.Limit < 1:
		return 0, refuseABM(http.StatusBadRequest, "MALFORMED_REQUEST_BODY", "a limit of %d", *p.Limit), false
	case *p.Limit > a.config.MaxLimit:
		a.violate("unwise: %s of %s: a limit of %d is taken as %d", c.name(), c.server.name, *p.Limit, a.config.MaxLimit)
	}
	return min(*p.Limit, a.config.MaxLimit), abmReply{}, true
}

// fetchPage answers POST /server/devices.
func (a *ABM) fetchPage(c *abmCall) abmReply {
	var p abmPage
	if reply, ok := c.decode(&p); !ok {
		return reply
	}
	limit, reply, ok := a.pageLimit(c, p)
	if !ok {
		return reply
	}
	s := c.server
	cursor := abmCursor{Server: s.number, Epoch: s.epoch, End: uint32(len(s.members)), Op: uint32(len(s.ops))}
	if p.Cursor != "" {
		if cursor, reply, ok = a.openCursor(c, p.Cursor, false); !ok {
			return reply
		}
	}
	if a.odd.Grows {
		cursor.End = uint32(len(s.members))
	}
	return a.page(c, p.Cursor, cursor, limit, int(cursor.End), func(i int) (abmEntry, bool) {
		return abmEntry{device: s.members[i]}, s.members[i] != abmNobody
	})
}

// syncPage answers POST /devices/sync.
func (a *ABM) syncPage(c *abmCall) abmReply {
	var p abmPage
	if reply, ok := c.decode(&p); !ok {
		return reply
	}
	if p.Cursor == "" {
		return refuseABM(http.StatusBadRequest, "CURSOR_REQUIRED", "a sync without a cursor")
	}
	limit, reply, ok := a.pageLimit(c, p)
	if !ok {
		return reply
	}
	s := c.server
	cursor, reply, ok := a.openCursor(c, p.Cursor, true)
	if !ok {
		return reply
	}
	return a.page(c, p.Cursor, cursor, limit, len(s.ops), func(i int) (abmEntry, bool) {
		return abmEntry{s.ops[i].device, &s.ops[i]}, true
	})
}

// page answers with the entries from the cursor on, up to end.
func (a *ABM) page(c *abmCall, text string, cursor abmCursor, limit, end int, entry func(int) (abmEntry, bool)) abmReply {
	s := c.server
	s.pages++
	s.paging++
	c.paging = true
	a.totals.AtOnce[s.name] = max(a.totals.AtOnce[s.name], s.paging)
	a.follow(c, &cursor, text == "")

	var entries []abmEntry
	next := int(cursor.Next)
	if a.odd.EmptyEvery <= 0 || s.pages%a.odd.EmptyEvery != 0 {
		entries, next = a.collect(next, end, limit, entry)
	}
	if a.odd.Stuck > 0 && text != "" {
		a.odd.Stuck--
		s.chains[cursor.Chain].open = true
		return c.raw(a.pageJSON(c, entries, text, true))
	}
	more := next < end
	cursor.Next, cursor.At = uint32(next), c.now.Unix()
	if !more && !cursor.Sync {
		cursor.Sync, cursor.Next, cursor.End = true, cursor.Op, 0
	}
	return c.raw(a.pageJSON(c, entries, a.encode(s.advance(cursor, more)), more))
}

// collect gathers at most limit entries, and says where the next page begins.
func (a *ABM) collect(from, end, limit int, entry func(int) (abmEntry, bool)) ([]abmEntry, int) {
	if a.odd.ShortPages {
		limit = 1 + a.dice.IntN(limit)
	}
	next := max(from-min(a.odd.Overlap, limit/4), 0)
	entries := make([]abmEntry, 0, min(limit, end-next))
	for ; next < end; next++ {
		e, there := entry(next)
		if !there {
			continue
		}
		if len(entries) == limit {
			break
		}
		entries = append(entries, e)
		if a.odd.Twice > 0 && next%a.odd.Twice == 0 && len(entries) < limit {
			entries = append(entries, e)
		}
	}
	if a.odd.Shuffle {
		a.dice.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	}
	return entries, next
}
