package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage"
	"github.com/gomdm/applemdm/storage/memory"
	"github.com/gomdm/applemdm/storage/mysql"
	"github.com/gomdm/applemdm/storage/postgres"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// database is an open store.
type database interface {
	Stores() storage.Stores
	Close() error
}

// openStore opens what -store names. It brings the schema up to date.
func openStore(ctx context.Context, o *options) (database, error) {
	kind, name, _ := strings.Cut(o.store, ":")
	var sealer storage.Sealer // nil: that of the SQLite file
	if o.keyFile != "" {
		var err error
		if sealer, err = readKey(o.keyFile); err != nil {
			return nil, err
		}
	}
	switch kind {
	case "memory":
		return memory.New(), nil
	case "sqlite":
		return sqlite.Open(ctx, name, &sqlite.Config{Sealer: sealer})
	case "postgres", "mysql":
		if sealer == nil {
			return nil, errors.New("-key-file is required: every server of a database has the same key")
		}
		if kind == "mysql" {
			return mysql.Open(ctx, name, &mysql.Config{Sealer: sealer})
		}
		return postgres.Open(ctx, name, &postgres.Config{Sealer: sealer})
	}
	return nil, errors.New("the kind in -store is not sqlite, postgres, mysql or memory")
}

func readKey(name string) (storage.Sealer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("-key-file: %w (make one with: openssl rand -hex %d)", err, storage.KeySize)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != storage.KeySize {
		return nil, fmt.Errorf("%s does not hold %d hexadecimal digits", name, 2*storage.KeySize)
	}
	return storage.NewAESGCM(key)
}

// certificates reads the certificates of a PEM file.
func certificates(name string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", name)
	}
	return out, nil
}

// validator accepts certificates that lead to a root of -device-ca.
func (o *options) validator() (identity.Validator, error) {
	all, err := certificates(o.deviceCA)
	if err != nil {
		return nil, fmt.Errorf("-device-ca: %w", err)
	}
	cfg := identity.IssuerConfig{}
	for _, c := range all {
		if c.CheckSignatureFrom(c) == nil {
			cfg.Roots = append(cfg.Roots, c)
		} else {
			cfg.Intermediates = append(cfg.Intermediates, c)
		}
	}
	return identity.IssuedBy(cfg)
}

var formats = map[string]identity.Format{"rfc9440": identity.RFC9440, "escaped": identity.EscapedPEM, "folded": identity.FoldedPEM,
	"envoy": identity.EnvoyXFCC, "alb": identity.AWSALB, "alb-passthrough": identity.AWSALBPassthrough}

// byName are the formats of headers that have but one.
var byName = map[string]string{"Client-Cert": "rfc9440", "X-Forwarded-Client-Cert": "envoy", "X-Amzn-Mtls-Clientcert-Leaf": "alb",
	"X-Amzn-Mtls-Clientcert": "alb-passthrough", "": ""}

// extractor finds the client certificate where -identity says.
func (o *options) extractor() (identity.Extractor, error) {
	switch o.identity {
	case "tls":
		return identity.TLS(), nil
	case "signature":
		return identity.MDMSignature(), nil
	}
	name := http.CanonicalHeaderKey(strings.TrimPrefix(o.identity, "header:"))
	format := o.headerFormat
	if format == "" {
		if format = byName[name]; format == "" {
			format = "escaped"
		}
	}
	kind, ok := formats[format]
	if !ok {
		return nil, fmt.Errorf("-header-format: there is no %q", format)
	}
	var trusted []netip.Prefix
	for _, text := range strings.Split(o.trustedProxies, ",") {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("-trusted-proxies: %w", err)
		}
		trusted = append(trusted, prefix)
	}
	return identity.Proxy(identity.ProxyConfig{Format: kind, Header: name, Trusted: trusted})
}

// pusher stores -push-cert and returns the way to APNs, nil if no pushes are wanted.
func (o *options) pusher(ctx context.Context, stores storage.Stores) (push.Pusher, error) {
	if o.pushCert != "" {
		data, err := os.ReadFile(o.pushCert)
		if err != nil {
			return nil, fmt.Errorf("-push-cert: %w", err)
		}
		cert, err := push.LoadCertificate(data, data)
		if err != nil {
			return nil, fmt.Errorf("-push-cert: %w", err)
		}
		if err := push.Renew(ctx, stores.PushCertificates, stores.Roster, "", cert); err != nil {
			return nil, fmt.Errorf("-push-cert: %w", err) // who means it puts it to the API, with force=1
		}
	}
	if o.noPush {
		return nil, nil
	}
	client := &apns.Client{Certificates: stores.PushCertificates, Host: o.apnsURL}
	if o.apnsCA != "" {
		roots, err := certificates(o.apnsCA)
		if err != nil {
			return nil, fmt.Errorf("-apns-ca: %w", err)
		}
		client.RootCAs = x509.NewCertPool()
		for _, c := range roots {
			client.RootCAs.AddCert(c)
		}
	}
	return client, nil
}
