package main

import (
	"context"
	"crypto/x509"
	"net/url"

	"github.com/gomdm/applemdm/mdm/expiry"
)

// expiry returns what this server knows of credentials that end, besides the push certificates of its store.
func (o *options) expiry() []expiry.Source {
	file := func(kind expiry.Kind, name string) expiry.Source {
		return expiry.Certificates(kind, name, func(context.Context) ([]*x509.Certificate, error) { return certificates(name) })
	}
	sources := []expiry.Source{file(expiry.DeviceCA, o.deviceCA)}
	if o.tlsCert != "" {
		sources = append(sources, file(expiry.TLSServer, o.tlsCert))
	}
	if addr := o.publicAddr(); addr != "" {
		sources = append(sources, expiry.Server{Addr: addr})
	}
	return sources
}

// publicAddr returns where -public-url leads to, "" if it is none.
func (o *options) publicAddr() string {
	u, err := url.Parse(o.publicURL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return ""
	}
	return u.Host
}
