package identity

import (
	"crypto/x509"
	"sync"
)

// Bounds of what a recent remembers: some 5 MB, with headers of the usual size.
const (
	maxRecent      = 1024
	maxRecentValue = 8 << 10
)

// recent remembers how headers were read: the requests of a device's session come close together and repeat its certificate.
type recent struct {
	mu    sync.Mutex
	certs map[string][]*x509.Certificate
}

// read returns what parse made of value when it was last asked, or asks it.
func (r *recent) read(value string, parse func() ([]*x509.Certificate, error)) ([]*x509.Certificate, error) {
	if len(value) > maxRecentValue {
		return parse()
	}
	r.mu.Lock()
	certs := r.certs[value]
	r.mu.Unlock()
	if certs != nil {
		return certs, nil
	}
	certs, err := parse()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.certs == nil || len(r.certs) >= maxRecent {
		r.certs = make(map[string][]*x509.Certificate, maxRecent)
	}
	r.certs[value] = certs[:len(certs):len(certs)] // who appends to it has a copy
	return r.certs[value], nil
}
