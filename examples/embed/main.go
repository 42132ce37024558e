// Embed is the smallest wiring of the library into a program of your own: a database, a check of client certificates,
// a push provider, and a handler. Its CA is yours, its enrollment profiles are made elsewhere.
//
//	embed -ca devices-ca.pem -tls-cert chain.pem -tls-key key.pem -push-cert push.pem
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/event"
	"github.com/gomdm/applemdm/mdm/identity"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/push"
	"github.com/gomdm/applemdm/push/apns"
	"github.com/gomdm/applemdm/storage/sqlite"
)

func main() {
	listen := flag.String("listen", ":443", "address to listen on")
	database := flag.String("db", "mdm.db", "SQLite database")
	ca := flag.String("ca", "", "PEM file with the CA of the devices' certificates")
	tlsCert, tlsKey := flag.String("tls-cert", "", "PEM file"), flag.String("tls-key", "", "PEM file")
	pushCert := flag.String("push-cert", "", "PEM file with the push certificate and its key")
	flag.Parse()
	ctx := context.Background()

	db := must(sqlite.Open(ctx, *database, nil))
	stores := db.Stores()
	pushPEM := must(os.ReadFile(*pushCert))
	check(stores.PushCertificates.SavePushCertificate(ctx, must(push.LoadCertificate(pushPEM, pushPEM))))
	h := must(server.New(server.Config{
		Stores:    stores,
		Extractor: identity.TLS(),
		Validator: must(identity.IssuedBy(identity.IssuerConfig{Roots: certificates(*ca)})),
		Pusher:    &apns.Client{Certificates: stores.PushCertificates},
		Consumers: map[string]event.Consumer{"log": event.ConsumerFunc(logEvent)},
		Logger:    slog.Default(),
	}))
	go func() { check(h.Run(ctx)) }()
	s := &http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		TLSConfig: &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}}
	check(s.ListenAndServeTLS(*tlsCert, *tlsKey))
}

func logEvent(ctx context.Context, e mdm.Event) error {
	slog.LogAttrs(ctx, slog.LevelInfo, string(e.Type), slog.String("enrollment", e.Enrollment.String()))
	return nil
}

func certificates(file string) []*x509.Certificate {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(must(os.ReadFile(file))); block != nil; block, rest = pem.Decode(rest) {
		certs = append(certs, must(x509.ParseCertificate(block.Bytes)))
	}
	return certs
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		slog.Error("embed", slog.Any("error", err))
		os.Exit(1)
	}
}
