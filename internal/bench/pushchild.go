package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/push"
)

// pushOrder is what a child of the comparison of pushes is told, a line of JSON on its stdin.
type pushOrder struct {
	APNs        string        `json:"apns"`    // where it is; of those who push
	Root        []byte        `json:"root"`    // whom to trust, DER
	Latency     time.Duration `json:"latency"` // of answers from now on; of the APNs
	Pushes      int           `json:"pushes"`
	Concurrency int           `json:"concurrency"`
	Close       bool          `json:"close"` // close all connections, and push nothing
}

// pushDone is the answer, a line of JSON.
type pushDone struct {
	APNs        string  `json:"apns,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`
	CPU         float64 `json:"cpu,omitempty"`         // seconds, of this process
	Accepted    int     `json:"accepted,omitempty"`    // as the pusher was told, or as the APNs counts
	Connections int     `json:"connections,omitempty"` // that the APNs has ever had
	Open        int     `json:"open,omitempty"`        // that it has now
	Error       string  `json:"error,omitempty"`
}

// pusher is a side that pushes. It is opened by the first push and after it was closed.
type pusher interface {
	push(o pushOrder) (accepted int, err error)
	close()
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
		"apns":           servePushes,
		"applemdm":       func() func(pushOrder) (pushDone, error) { return measured(&ourPushes{}) },
		"applemdm-lists": func() func(pushOrder) (pushDone, error) { return measured(&ourPushes{lists: true}) },
		"nanomdm":        func() func(pushOrder) (pushDone, error) { return measured(&nanoPushes{}) },
		"nanomdm-lists":  func() func(pushOrder) (pushDone, error) { return measured(&nanoPushes{lists: true}) },
	}
}

// servePushes is the fake APNs. It counts by itself, so that nobody need be believed. It is lenient, as Apple's is: NanoMDM
// sends neither apns-topic nor apns-push-type.
func servePushes() func(pushOrder) (pushDone, error) {
	a := mdmtest.APNsConfig{Lean: true, Lenient: true}.Start()
	return func(o pushOrder) (pushDone, error) {
		a.Latency(o.Latency)
		if v := a.Violations(); len(v) > 0 {
			return pushDone{}, fmt.Errorf("%d pushes were not as Apple wants them, as: %s", len(v), v[0])
		}
		cpu, err := ownCPU()
		open, connections := a.Connections()
		return pushDone{APNs: a.URL(), Accepted: a.Totals().Accepted, Connections: connections, Open: open, CPU: cpu}, err
	}
}

// measured runs a push of many and says what it took.
func measured(side pusher) func(pushOrder) (pushDone, error) {
	return func(o pushOrder) (pushDone, error) {
		if o.Close {
			side.close()
			return pushDone{}, nil
		}
		runtime.GC() // each window begins with its own garbage
		before, err := ownCPU()
		if err != nil {
			return pushDone{}, err
		}
		began := time.Now()
		accepted, err := side.push(o)
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

// shown returns the certificate that the fake APNs shows, DER, as the one to trust.
func shown(base string) ([]byte, error) {
	cert, err := mdmtest.NewPushCertificate(benchTopic)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Raw, nil
}

// credentials returns a push certificate, and whom to trust as the APNs.
func (o pushOrder) credentials() (cert push.Certificate, roots *x509.CertPool, err error) {
	root, err := x509.ParseCertificate(o.Root)
	if err != nil {
		return cert, nil, err
	}
	roots = x509.NewCertPool()
	roots.AddCert(root)
	cert, err = mdmtest.NewPushCertificate(benchTopic)
	return cert, roots, err
}
