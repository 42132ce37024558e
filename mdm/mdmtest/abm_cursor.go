package mdmtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
)

// abmCursor is how far a client has come. Clients see it sealed.
type abmCursor struct {
	Sync   bool   // all was fetched
	Server uint16 // whose it is
	Epoch  uint16 // of the cursors of the server
	Chain  uint32 // of pages, each asked for with the cursor of the one before
	Seq    uint32 // in the chain
	Next   uint32 // of the members of the server, or of its operations, in a sync
	End    uint32 // of the members when the fetch began
	Op     uint32 // when the fetch began
	At     int64  // when it was given, in seconds of Unix
}

const (
	abmCursorSize = 33
	abmCursorMAC  = 12
)

// encode seals the cursor.
func (a *ABM) encode(c abmCursor) string {
	b, _ := binary.Append(nil, binary.BigEndian, c) // of a fixed size
	return base64.StdEncoding.EncodeToString(append(b, a.cursorMAC(b)...))
}

func (a *ABM) cursorMAC(b []byte) []byte {
	mac := hmac.New(sha256.New, a.seal[:])
	mac.Write(b)
	return mac.Sum(nil)[:abmCursorMAC]
}

func (a *ABM) decodeCursor(s string) (c abmCursor, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != abmCursorSize+abmCursorMAC || !hmac.Equal(b[abmCursorSize:], a.cursorMAC(b[:abmCursorSize])) {
		return abmCursor{}, false
	}
	_, err = binary.Decode(b, binary.BigEndian, &c)
	return c, err == nil
}

// ForgetCursors makes Apple refuse the cursors of a server that it has given so far with INVALID_CURSOR.
func (a *ABM) ForgetCursors(s *ABMServer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.epoch++
}

// openCursor reads the cursor of a call, and refuses it if it cannot be used there.
func (a *ABM) openCursor(c *abmCall, text string, sync bool) (abmCursor, abmReply, bool) {
	invalid := func(why string) (abmCursor, abmReply, bool) {
		return abmCursor{}, refuseABM(http.StatusBadRequest, "INVALID_CURSOR", "%s", why), false
	}
	cursor, ok := a.decodeCursor(text)
	switch {
	case !ok:
		return invalid("the cursor was never given")
	case cursor.Server != c.server.number:
		return invalid("the cursor is of another server")
	case cursor.Epoch != c.server.epoch:
		return abmCursor{}, sayABM(http.StatusBadRequest, "INVALID_CURSOR"), false
	case c.now.Unix()-cursor.At > int64(a.config.CursorFor.Seconds()):
		if sync && cursor.Sync {
			return abmCursor{}, sayABM(http.StatusBadRequest, "EXPIRED_CURSOR"), false
		}
		return abmCursor{}, sayABM(http.StatusBadRequest, "INVALID_CURSOR"), false
	case !sync && cursor.Sync:
		return abmCursor{}, refuseABM(http.StatusBadRequest, "EXHAUSTED_CURSOR", "everything was fetched with this cursor"), false
	case sync && !cursor.Sync:
		return invalid("the fetch that the cursor is of is not done")
	}
	return cursor, abmReply{}, true
}

// abmChain is a chain of pages.
type abmChain struct {
	last   uint32 // the number of its last cursor
	open   bool   // there is more to follow
	broken bool   // somebody else has taken the sync over: who goes on with the last cursor is a second one
}

// follow finds out whether one client alone asks for the pages of a server. Each chain is of one client. It may leave a chain for a
// new one, or go back in it, which begins a new one; but only a second client goes on where the first was left, in the middle
// or after its last cursor was superseded. follow sets the chain and the number of the next cursor.
func (a *ABM) follow(c *abmCall, cursor *abmCursor, fresh bool) {
	s := c.server
	current := s.chains[s.chain]
	chain := s.chains[cursor.Chain]
	if fresh || chain == nil {
		if current != nil && current.open && fresh {
			current.broken = true
		}
		s.startChain(cursor)
		return
	}
	if current != nil && current != chain && current.open {
		current.broken = true
	}
	if cursor.Seq < chain.last { // it was used before
		chain.broken = true
		s.startChain(cursor)
		return
	}
	if chain.broken {
		a.violate("%s of %s: two chains of pages at once: somebody else has asked in between, and this one goes on", c.name(), s.name)
		chain.broken = false
	}
	s.chain = cursor.Chain
}

func (s *ABMServer) startChain(cursor *abmCursor) {
	const kept = 1000
	s.chainMade++
	delete(s.chains, s.chainMade-kept)
	cursor.Chain, cursor.Seq = s.chainMade, 0
	s.chains[s.chainMade] = &abmChain{}
	s.chain = s.chainMade
}

// advance returns the cursor that a page comes with.
func (s *ABMServer) advance(cursor abmCursor, more bool) abmCursor {
	chain := s.chains[cursor.Chain]
	cursor.Seq++
	chain.last, chain.open = cursor.Seq, more
	return cursor
}
