package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	nanomdm "github.com/micromdm/nanomdm/mdm"
	nanopushes "github.com/micromdm/nanomdm/push"
	"github.com/micromdm/nanomdm/push/nanopush"
)

// nanoPushes is NanoMDM's own provider, with the HTTP client that it makes by itself, sent to the fake APNs.
type nanoPushes struct {
	lists    bool // else one push at a time, from many goroutines
	provider nanopushes.PushProvider
	client   *http.Client
}

func (p *nanoPushes) open(o pushOrder) error {
	if p.provider != nil {
		return nil
	}
	cert, roots, err := o.credentials()
	if err != nil {
		return err
	}
	u, err := url.Parse(o.APNs)
	if err != nil {
		return err
	}
	factory := nanopush.NewFactory(nanopush.WithWorkers(o.Concurrency), nanopush.WithExpiration(7*24*time.Hour),
		nanopush.WithNewClient(func(pair *tls.Certificate) (*http.Client, error) {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.TLSClientConfig = &tls.Config{Certificates: []tls.Certificate{*pair}, RootCAs: roots, ServerName: u.Hostname()}
			transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, u.Host) // its address of Apple's is fixed
			}
			p.client = &http.Client{Transport: transport}
			return p.client, nanopush.ForceHTTP2(p.client)
		}))
	p.provider, err = factory.NewPushProvider(&cert.TLS)
	return err
}

func (p *nanoPushes) close() {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	p.provider, p.client = nil, nil
}

func (p *nanoPushes) push(o pushOrder) (int, error) {
	if err := p.open(o); err != nil {
		return 0, err
	}
	if p.lists {
		return p.batches(o), nil
	}
	return p.callers(o), nil
}

func nanoPush(i int) *nanomdm.Push {
	return &nanomdm.Push{Topic: benchTopic, PushMagic: benchMagic, Token: benchToken(i)}
}

// callers gives the provider one push at a time, from as many goroutines as there may be pushes under way: what serves it
// best.
func (p *nanoPushes) callers(o pushOrder) int {
	var next, accepted atomic.Int64
	var group sync.WaitGroup
	for range o.Concurrency {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < o.Pushes; i = int(next.Add(1)) - 1 {
				answers, err := p.provider.Push(context.Background(), []*nanomdm.Push{nanoPush(i)})
				accepted.Add(int64(nanoAccepted(answers, err)))
			}
		})
	}
	group.Wait()
	return int(accepted.Load())
}

// batches gives it lists, as its own service does. It starts a goroutine for each push of a list, however many workers it
// is told to have; so a list is as long as there may be pushes under way.
func (p *nanoPushes) batches(o pushOrder) (accepted int) {
	for from := 0; from < o.Pushes; from += o.Concurrency {
		var list []*nanomdm.Push
		for i := from; i < min(from+o.Concurrency, o.Pushes); i++ {
			list = append(list, nanoPush(i))
		}
		answers, err := p.provider.Push(context.Background(), list)
		accepted += nanoAccepted(answers, err)
	}
	return accepted
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
