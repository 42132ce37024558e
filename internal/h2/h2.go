// Package h2 is the client's side of an HTTP/2 connection (RFC 9113) for many small requests with small answers, as push
// notification services have them. It is not a general client: a request has a short body that is known beforehand, and
// of an answer no more than its beginning is kept.
//
// It tells what net/http hides: whether the peer has processed a request whose answer did not come. And it is cheap: a
// request costs neither a goroutine nor a timer, many go out in one write, and what they have in common is sent once
// (RFC 7541).
package h2

import (
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	maxHeaderList = 16 << 10  // bytes of an answer's header list
	maxRequest    = 32 << 10  // bytes of a request's body
	usualList     = 2 << 10   // bytes of a header list that any peer should take
	maxBody       = 4 << 10   // bytes of an answer's body that are kept; the stream is given up at more
	maxControl    = 16 << 10  // bytes of replies to control frames that wait to be written
	maxWaiting    = 256 << 10 // bytes that wait to be written before requests must wait, too
	maxFrames     = 10_000    // frames without an answer, and in the time of PingInterval
	maxResets     = 100       // requests that are given up and reset, in the time of PingInterval
	maxEnded      = 64        // requests that end before Changed is called
	maxBlock      = 256 << 10 // bytes of one frame with its continuations
	maxDebug      = 1 << 10   // bytes of a GOAWAY's debug data that are kept
	tableSize     = 4 << 10   // bytes of HPACK's dynamic tables, the default of HTTP/2
	readFrame     = 16 << 10  // bytes of a frame that the peer may send, the default of HTTP/2
	idlePing      = time.Hour // how long the peer may be silent while nothing waits, as Apple advises
	streamWindow  = 64<<10 - 1
	connWindow    = 1 << 20 // bytes of answers that the peer may have under way
	maxStream     = 1<<31 - 1
)

// Config sets up a Conn. Its zero fields take the defaults given.
type Config struct {
	Streams      int           // requests in flight that are allowed, even if the peer allows more; 0: 1000
	PingInterval time.Duration // how long the peer may be silent while requests wait before it is asked for a sign of life; 0: 15 s
	PingTimeout  time.Duration // how long it may then be silent before the connection is given up; 0: 10 s
	WriteTimeout time.Duration // how long a write may take; 0: 10 s

	// Changed is called after something has changed that may let requests start, or keep them from it: requests ended,
	// the peer allows more or fewer, the connection is used up. Many changes may be one call. It is called by the Conn's
	// own goroutines and by Cancel and Close, with nothing locked; it must not block.
	Changed func()
}

// Receiver gets what became of a request.
type Receiver interface {
	// Answered is called exactly once for a request that was started, and must not block. Either err is nil or there is
	// no answer. Changed is called thereafter.
	Answered(a Answer, err error)
}

// Answer is a final answer. One that broke off after its header is none the less an answer.
type Answer struct {
	Status int
	Header []hpack.HeaderField // without pseudo fields; names are in lower case
	Body   []byte              // the first 4 KB
}

// Get returns the value of the first header field of that name, in lower case, or nothing.
func (a Answer) Get(name string) string {
	for _, f := range a.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Load is how busy a connection is.
type Load struct {
	InFlight int  // requests without an answer
	Limit    int  // of them; 1 until the peer has told
	Settled  bool // the peer has told its limit
	Room     bool // another may start now
	Open     bool // others may start, now or when those in flight are answered
	Breaking bool // the connection broke, and why is not known yet
	Lost     int  // requests that may have been processed when the connection ended
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
