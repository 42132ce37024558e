package dbtest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/storage"
)

// Proxy stands between a store and its server, so that a test can cut the connections or be an outage.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

// NewProxy listens on a port of its own and passes everything on to server, a host and port.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{listener: l, server: server, conns: map[net.Conn]bool{}}
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close()
		p.Cut()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() *net.TCPAddr { return p.listener.Addr().(*net.TCPAddr) }

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pass(c)
	}
}

func (p *Proxy) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	if !p.hold(c) {
		return
	}
	up, err := net.Dial("tcp", p.server)
	if err != nil || !p.hold(up) {
		return
	}
	defer func() { _ = up.Close() }()
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
}

func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down {
		p.conns[c] = true
	}
	return !p.down
}

// Cut ends every connection in the middle of whatever is on it.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// SetDown makes new connections fail, or work again.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Outages works on a store while its connections are cut and its server goes away and comes back. Every error must be one
// that a device repeats after, and what was acknowledged must be there in the end, once.
func Outages(t *testing.T, stores storage.Stores, p *Proxy) {
	t.Helper()
	const devices = 6
	var prints [devices]mdm.Fingerprint
	for n := range devices {
		var err error
		prints[n], err = Enroll(stores, device(n))
		require.NoError(t, err)
	}
	over := make(chan struct{})
	var working sync.WaitGroup
	var answered [devices][]string
	for n := range devices {
		working.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				receipt, err := stores.Command.Enqueue(t.Context(), command.Order{Command: command.SecurityInfo{}, To: mdm.IDs(device(n))})
				if err == nil {
					_, err = Report(stores, device(n), prints[n], command.StatusAcknowledged, receipt.UUID)
				}
				if err == nil {
					answered[n] = append(answered[n], receipt.UUID)
				} else if !assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "%v", err) {
					return
				}
			}
		})
	}
	for range 8 {
		time.Sleep(100 * time.Millisecond)
		p.Cut()
	}
	p.SetDown(true)
	p.Cut()
	time.Sleep(1500 * time.Millisecond)
	p.SetDown(false)
	time.Sleep(time.Second)
	close(over)
	working.Wait()
	for n := range devices {
		found := map[string]int{}
		for e, err := range stores.Command.Entries(t.Context(), command.Query{From: device(n)}) {
			require.NoError(t, err)
			if e.State == command.Acknowledged {
				found[e.UUID]++
			}
		}
		require.NotEmpty(t, answered[n])
		for _, uuid := range answered[n] {
			assert.Equal(t, 1, found[uuid], "an answer that was acknowledged")
		}
	}
	for a, err := range stores.Command.Aside(t.Context(), "", 0, 0) {
		require.NoError(t, err)
		t.Errorf("a repetition was kept aside: %v", a)
	}
}
