package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// child is a server under test in a process of its own, so that its CPU and memory are its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ready serveReady
	http  http.Client
}

// startChild runs this program again as the named system.
func startChild(ctx context.Context, name string, c serveConfig, stderr io.Writer) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	k := &child{cmd: exec.CommandContext(ctx, self, "-serve", name)}
	k.cmd.Stderr = stderr
	dieWithParent(k.cmd)
	stdin, err := k.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := k.cmd.Start(); err != nil {
		return nil, err
	}
	k.stdin = stdin
	err = json.NewEncoder(stdin).Encode(c)
	if err == nil {
		err = json.NewDecoder(stdout).Decode(&k.ready)
	}
	if err == nil && k.ready.Error != "" {
		err = errors.New(k.ready.Error)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), k.stop())
	}
	return k, nil
}

// stop ends the child in order.
func (k *child) stop() error {
	k.resume()
	k.http.CloseIdleConnections()
	_ = k.stdin.Close()
	kill := time.AfterFunc(time.Minute, func() { _ = k.cmd.Process.Kill() })
	defer kill.Stop()
	return k.cmd.Wait()
}

// pause stops the child while others are measured, resume lets it go on: what runs by itself in a server that nobody asks
// anything is not to weigh on the others.
func (k *child) pause()  { _ = k.cmd.Process.Signal(syscall.SIGSTOP) }
func (k *child) resume() { _ = k.cmd.Process.Signal(syscall.SIGCONT) }

// ask calls a control endpoint.
func (k *child) ask(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+k.ready.Control+"/bench/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	return k.do(req, out)
}

func (k *child) do(req *http.Request, out any) error {
	res, err := k.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%.60s: status %d: %.300s", req.URL.Path, res.StatusCode, text)
	}
	return json.Unmarshal(text, out)
}

// enqueue is the one way in which the bench queues commands, on either side. Chains run side by side, each in its order.
func (k *child) enqueue(ctx context.Context, chains ...[]order) (queued int, err error) {
	err = k.ask(ctx, "enqueue", chains, &queued)
	return queued, err
}

// enqueueByAPI is NanoMDM's HTTP API: all targets are in the URL.
func (k *child) enqueueByAPI(ctx context.Context, uuid string, ids []string) error {
	url := "http://" + k.ready.Control + "/v1/enqueue/" + strings.Join(ids, ",") + "?nopush=1"
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(rawCommand(uuid)))
	if err != nil {
		return err
	}
	var answer struct {
		UUID  string          `json:"command_uuid"`
		Error json.RawMessage `json:"command_error"`
	}
	if err := k.do(req, &answer); err != nil {
		return err
	}
	if answer.UUID != uuid || answer.Error != nil {
		return fmt.Errorf("the API answered for command %q: %s", answer.UUID, answer.Error)
	}
	return nil
}

// cpu is how many seconds of CPU the child has used.
func (k *child) cpu(ctx context.Context) (seconds float64, err error) {
	err = k.ask(ctx, "cpu", struct{}{}, &seconds)
	return seconds, err
}

// collect makes the child give back what memory it does not use.
func (k *child) collect(ctx context.Context) error {
	var done int
	return k.ask(ctx, "gc", struct{}{}, &done)
}
