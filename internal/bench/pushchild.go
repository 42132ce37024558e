package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	nanomdm "github.com/micromdm/nanomdm/mdm"
	nanopushes "github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/push/nanopush"
)

// pushOrder is what a child of the comparison of pushes is told, a line of JSON on its stdin.
type pushOrder struct {
	APNs        string        `json:"apns"`    // where it is; of those who push
	Latency     time.Duration `json:"latency"` // of answers from now on; of the APNs
	Pushes      int           `json:"pushes"`
	Concurrency int           `json:"concurrency"`
}

// pushDone is the answer, a line of JSON.
type pushDone struct {
	APNs     string  `json:"apns,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`
	CPU      float64 `json:"cpu,omitempty"`      // seconds, of this process
	Accepted int     `json:"accepted,omitempty"` // as the pusher was told, or as the APNs counts
	Error    string  `json:"error,omitempty"`
}

// pushChild is one side of the comparison, in a process of its own, until its stdin ends.
func pushChild(name string) int {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	serve := pushSides()[name]
	if serve == nil {
		fmt.Fprintln(os.Stderr, "no side", name)
		return 1
	}
	do := serve()
	for {
		var order pushOrder
		if err := in.Decode(&order); err != nil {
			return 0
		}
		done, err := do(order)
		if err != nil {
			done.Error = err.Error()
		}
		if err := out.Encode(done); err != nil {
			return 1
		}
	}
}

// pushSides are the sides, by their name.
func pushSides() map[string]func() func(pushOrder) (pushDone, error) {
	return map[string]func() func(pushOrder) (pushDone, error){
		"apns":            servePushes,
		"applemdm":        func() func(pushOrder) (pushDone, error) { return measured(new(ourPushes).push) },
		"nanomdm":         func() func(pushOrder) (pushDone, error) { return measured(new(nanoPushes).callers) },
		"nanomdm-batches": func() func(pushOrder) (pushDone, error) { return measured(new(nanoPushes).batches) },
	}
}

// servePushes is the fake APNs. It counts by itself, so that nobody need be believed.
func servePushes() func(pushOrder) (pushDone, error) {
	a := mdmtest.APNsConfig{Lean: true}.Start()
	return func(o pushOrder) (pushDone, error) {
		a.Latency(o.Latency)
		if v := a.Violations(); len(v) > 0 {
			return pushDone{}, fmt.Errorf("%d pushes were not as Apple wants them, as: %s", len(v), v[0])
		}
		cpu, err := ownCPU()
		return pushDone{APNs: a.URL(), Accepted: a.Totals().Accepted, CPU: cpu}, err
	}
}

// measured runs a push of many and says what it took.
func measured(push func(pushOrder) (accepted int, err error)) func(pushOrder) (pushDone, error) {
	return func(o pushOrder) (pushDone, error) {
		before, err := ownCPU()
		if err != nil {
			return pushDone{}, err
		}
		began := time.Now()
		accepted, err := push(o)
		took := time.Since(began)
		if err != nil {
			return pushDone{}, err
		}
		after, err := ownCPU()
		return pushDone{Seconds: took.Seconds(), CPU: after - before, Accepted: accepted}, err
	}
}

const benchTopic = "com.apple.mgmt.External.bench"

func benchToken(i int) []byte {
	token := make([]byte, 32)
	binary.BigEndian.PutUint64(token[24:], uint64(i))
	return token
}

const benchMagic = "0B6E9A52-3B63-45F0-9C7B-7B1A6C1DFA27"

// ourPushes is a client of this library for each concurrency.
type ourPushes struct{ clients map[int]*apns.Client }

func (p *ourPushes) push(o pushOrder) (accepted int, err error) {
	c := p.clients[o.Concurrency]
	if c == nil {
		cert, err := mdmtest.NewPushCertificate(benchTopic)
		if err != nil {
			return 0, err
		}
		roots, err := trust(o.APNs)
		if err != nil {
			return 0, err
		}
		c = &apns.Client{Certificates: push.Fixed(cert), Host: o.APNs, RootCAs: roots, Concurrency: o.Concurrency}
		p.clients = map[int]*apns.Client{o.Concurrency: c}
	}
	targets := make([]push.Target, o.Pushes)
	for i := range targets {
		targets[i] = push.Target{Topic: benchTopic, Token: benchToken(i), Magic: benchMagic}
	}
	results, err := c.Push(context.Background(), targets)
	for _, r := range results {
		if r.Outcome == push.Delivered {
			accepted++
		}
	}
	return accepted, err
}

// nanoPushes is NanoMDM's own provider, with the HTTP client that it makes by itself, sent to the fake APNs.
type nanoPushes struct {
	provider    nanopushes.PushProvider
	concurrency int
}

func (p *nanoPushes) open(o pushOrder) (nanopushes.PushProvider, error) {
	if p.provider != nil && p.concurrency == o.Concurrency {
		return p.provider, nil
	}
	cert, err := mdmtest.NewPushCertificate(benchTopic)
	if err != nil {
		return nil, err
	}
	roots, err := trust(o.APNs)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o.APNs)
	if err != nil {
		return nil, err
	}
	factory := nanopush.NewFactory(nanopush.WithWorkers(o.Concurrency), nanopush.WithExpiration(7*24*time.Hour),
		nanopush.WithNewClient(func(pair *tls.Certificate) (*http.Client, error) {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{*pair}, RootCAs: roots, ServerName: u.Hostname()}
			transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, u.Host) // its address of Apple's is fixed
			}
			// It sends no apns-topic and no apns-push-type; the fake insists on them, as Apple does not for MDM.
			client := &http.Client{Transport: transport}
			if err := nanopush.ForceHTTP2(client); err != nil {
				return nil, err
			}
			client.Transport = withHeaders{transport}
			return client, nil
		}))
	p.concurrency = o.Concurrency
	p.provider, err = factory.NewPushProvider(&cert.TLS)
	return p.provider, err
}

// withHeaders adds what the fake APNs asks for, on the request itself: it costs next to nothing.
type withHeaders struct{ *http.Transport }

func (t withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header["Apns-Topic"], r.Header["Apns-Push-Type"] = []string{benchTopic}, []string{"mdm"}
	return t.Transport.RoundTrip(r)
}

func nanoPush(i int) *nanomdm.Push {
	return &nanomdm.Push{Topic: benchTopic, PushMagic: benchMagic, Token: benchToken(i)}
}

// callers gives the provider one push at a time, from as many goroutines as there may be pushes under way: what serves it
// best.
func (p *nanoPushes) callers(o pushOrder) (int, error) {
	provider, err := p.open(o)
	if err != nil {
		return 0, err
	}
	var next, accepted atomic.Int64
	var group sync.WaitGroup
	for range o.Concurrency {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < o.Pushes; i = int(next.Add(1)) - 1 {
				answers, err := provider.Push(context.Background(), []*nanomdm.Push{nanoPush(i)})
				accepted.Add(int64(nanoAccepted(answers, err)))
			}
		})
	}
	group.Wait()
	return int(accepted.Load()), nil
}

// batches gives it lists, as its own service does. It starts a goroutine for each push of a list, however many workers it
// is told to have; so a list is as long as there may be pushes under way.
func (p *nanoPushes) batches(o pushOrder) (accepted int, err error) {
	provider, err := p.open(o)
	if err != nil {
		return 0, err
	}
	for from := 0; from < o.Pushes; from += o.Concurrency {
		var list []*nanomdm.Push
		for i := from; i < min(from+o.Concurrency, o.Pushes); i++ {
			list = append(list, nanoPush(i))
		}
		answers, err := provider.Push(context.Background(), list)
		accepted += nanoAccepted(answers, err)
	}
	return accepted, nil
}

func nanoAccepted(answers map[string]*nanopushes.Response, err error) (n int) {
	if err != nil {
		return 0
	}
	for _, a := range answers {
		if a.Err == nil {
			n++
		}
	}
	return n
}

// trust returns the certificate that the fake APNs shows, as the one to trust.
func trust(base string) (*x509.CertPool, error) {
	cert, err := mdmtest.NewPushCertificate(benchTopic)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	pool := x509.NewCertPool()
	pool.AddCert(conn.ConnectionState().PeerCertificates[0])
	return pool, nil
}
