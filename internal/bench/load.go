package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// client is one connection of the load generator. It speaks just enough HTTP/1.1 by hand that the generator costs little
// beside the server that it shares the machine with.
type client struct {
	addr      string
	conn      net.Conn
	in        *bufio.Reader
	body      []byte
	request   []byte
	latencies []time.Duration
}

// requestTime is how long an answer may take; a server that is slower has failed.
const requestTime = time.Minute

// put sends a request and returns the body of a 200 answer, which holds until the next call.
func (c *client) put(request []byte) ([]byte, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return nil, err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	started := time.Now()
	_ = c.conn.SetDeadline(started.Add(requestTime))
	_, err := c.conn.Write(request)
	status := 0
	if err == nil {
		status, err = c.read()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.latencies = append(c.latencies, time.Since(started))
	if status != 200 {
		return nil, fmt.Errorf("status %d: %.100s", status, c.body)
	}
	return c.body, nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// read reads an answer into c.body.
func (c *client) read() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if _, rest, ok := bytes.Cut(line, []byte(" ")); ok && len(rest) > 3 {
		status, _ = strconv.Atoi(string(rest[:3]))
	}
	length, chunked := 0, false
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		key, value, more := bytes.Cut(line, []byte(":"))
		if !more {
			break
		}
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(key, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		case bytes.EqualFold(key, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if chunked {
		c.body, err = io.ReadAll(httputil.NewChunkedReader(c.in))
		if err == nil {
			_, err = c.in.ReadSlice('\n') // the end of the trailers, of which there are none
		}
		return status, err
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	_, err = io.ReadFull(c.in, c.body)
	return status, err
}

// load is what a run of the generator gave.
type load struct {
	ops       int
	elapsed   time.Duration
	latencies []time.Duration // of every request, sorted
	failed    int
	first     error // of one that failed
}

// drive runs jobs on a number of connections until there are no more. A job returns how many operations it was.
func drive(ctx context.Context, addr string, workers int, more func(n int) bool, job func(c *client, n int) (int, error)) load {
	var next atomic.Int64
	var mu sync.Mutex
	var group sync.WaitGroup
	all := load{}
	started := time.Now()
	for range workers {
		group.Go(func() {
			c, mine := &client{addr: addr}, load{}
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				if !more(n) {
					break
				}
				ops, err := job(c, n)
				mine.ops += ops
				if err != nil {
					mine.failed++
					mine.first = cmp.Or(mine.first, err)
				}
			}
			c.close()
			mu.Lock()
			defer mu.Unlock()
			all.ops, all.failed, all.first = all.ops+mine.ops, all.failed+mine.failed, cmp.Or(all.first, mine.first)
			all.latencies = append(all.latencies, c.latencies...)
		})
	}
	group.Wait()
	all.elapsed = time.Since(started)
	slices.Sort(all.latencies)
	if err := ctx.Err(); err != nil {
		all.failed, all.first = all.failed+1, err
	}
	return all
}

// count is for drive: that many jobs.
func count(jobs int) func(int) bool { return func(n int) bool { return n < jobs } }

// during is for drive: as many jobs as fit.
func during(d time.Duration) func(int) bool {
	end := time.Now().Add(d)
	return func(int) bool { return time.Now().Before(end) }
}
