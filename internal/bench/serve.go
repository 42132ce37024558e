package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
)

// serveConfig is what a child is told on its stdin, in one line of JSON. It ends when stdin does.
type serveConfig struct {
	DSN string `json:"dsn"` // a database of its own, or the path of a file
	CA  []byte `json:"ca"`  // PEM, of the devices' certificates
	// Pool is how many connections a tuned pool has: as many as there are devices at a time.
	Pool int `json:"pool"`
}

// serveReady is what a child answers on its stdout.
type serveReady struct {
	Devices string `json:"devices"` // addresses to connect to
	Control string `json:"control"`
	Error   string `json:"error,omitempty"`
}

// serveMain is a child: one server under test, on loopback.
func serveMain(name string) int {
	signal.Ignore(os.Interrupt) // that one is for the parent, which ends us
	in := bufio.NewReader(os.Stdin)
	ready, stop, err := serve(context.Background(), name, in)
	if err != nil {
		ready.Error = err.Error()
	}
	if line, err := json.Marshal(ready); err == nil {
		fmt.Println(string(line))
	}
	if err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, in)
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

// serve opens the named system and serves it.
func serve(ctx context.Context, name string, in *bufio.Reader) (ready serveReady, stop func() error, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return ready, nil, err
	}
	var c serveConfig
	if err := json.Unmarshal(line, &c); err != nil {
		return ready, nil, err
	}
	all := systems()
	n := slices.IndexFunc(all, func(s system) bool { return s.name == name })
	if n < 0 {
		return ready, nil, fmt.Errorf("no system %q", name)
	}
	b, err := all[n].open(ctx, c)
	if err != nil {
		return ready, nil, err
	}
	devices, err := listen(b.devices())
	if err != nil {
		return ready, nil, err
	}
	control, err := listen(controlHandler(b))
	return serveReady{Devices: devices, Control: control}, b.close, err
}

// listen serves h until the process ends, as net/http does by default, and returns the address.
func listen(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(l, h) }() // ends with the process
	return l.Addr().String(), nil
}
