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
	"path/filepath"
	"strings"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// rehearsal is a run with a stand-in for Apple.
type rehearsal struct {
	*program
	ctx    context.Context //nolint:containedctx // of this one run
	apple  *mdmtest.ABM
	server *mdmtest.ABMServer
	dir    string
	said   *bytes.Buffer // what the last command printed
	failed int
}

const bought = 2500 // devices

// rehearse goes through all commands against a stand-in for Apple, in a directory that is deleted then, and checks what comes of
// them.
func rehearse(ctx context.Context, out, errout io.Writer) error {
	dir, err := os.MkdirTemp("", "abm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(ctx, filepath.Join(dir, "abm.db"), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	apple := mdmtest.NewABM()
	defer apple.Close()
	r := &rehearsal{ctx: ctx, apple: apple, server: apple.Server("MDM"), dir: dir, said: &bytes.Buffer{}}
	apple.AddMany(r.server, bought)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = apple.RootCAs()
	defer transport.CloseIdleConnections()
	r.program = &program{store: db.Stores().DEP, key: dep.Key{Name: "main"}, baseURL: apple.URL(), http: &http.Client{Transport: transport},
		out: io.MultiWriter(out, r.said), errout: errout}
	if err := r.all(); err != nil {
		return err
	}
	r.check("nothing that Apple would object to", "[]", fmt.Sprint(apple.Violations()))
	if r.failed > 0 {
		return fmt.Errorf("%d checks failed", r.failed)
	}
	fmt.Fprintln(out, "All checks passed.")
	return nil
}

func (r *rehearsal) all() error {
	for _, step := range []func() error{r.token, r.first, r.profiles, r.reports, r.later, r.terms} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// run does a command as a person would.
func (r *rehearsal) run(args ...string) error {
	r.said.Reset()
	fmt.Fprintln(r.errout, "\n$ abm", strings.Join(args, " "))
	return r.do(r.ctx, args...)
}

func (r *rehearsal) check(what, want, got string) {
	if want == got {
		fmt.Fprintln(r.errout, "  ok:", what)
		return
	}
	r.failed++
	fmt.Fprintf(r.errout, "  FAILED: %s: want %s, got %s\n", what, want, got)
}

func (r *rehearsal) file(name string, data []byte) (string, error) {
	path := filepath.Join(r.dir, name)
	return path, os.WriteFile(path, data, 0o600)
}

// token makes the key pair and takes the token for it.
func (r *rehearsal) token() error {
	if err := r.run("key"); err != nil {
		return err
	}
	token, err := r.file("token.p7m", r.apple.Token(r.server, bytes.Clone(r.said.Bytes())))
	if err != nil {
		return err
	}
	if err := r.run("import", token); err != nil {
		return err
	}
	stranger, err := r.file("other.p7m", r.apple.Token(r.apple.Server("Another MDM"), certificateOf(r.ctx, r.program)))
	if err != nil {
		return err
	}
	r.check("a token of another server is not taken by mistake", "true", fmt.Sprint(errors.Is(r.run("import", stranger), dep.ErrOtherServer)))
	return r.run("account")
}

func certificateOf(ctx context.Context, p *program) []byte {
	v, err := p.server(ctx)
	if err != nil {
		return nil
	}
	return v.KeyPair.Certificate
}

// first fetches all devices, the second time what changed: nothing.
func (r *rehearsal) first() error {
	if err := r.run("sync"); err != nil {
		return err
	}
	r.check("all devices are there", fmt.Sprintf("%d added, 0 modified, 0 removed.\n", bought), r.said.String())
	if err := r.run("sync"); err != nil {
		return err
	}
	r.check("nothing changed", "0 added, 0 modified, 0 removed.\n", r.said.String())
	return nil
}

// profiles gives all devices a profile, and one another.
func (r *rehearsal) profiles() error {
	firm, err := r.file("profile.json", []byte(`{"profile_name": "Phones and Macs", "url": "https://mdm.example.com/ade", "is_supervised": true,
		"is_mandatory": true, "is_mdm_removable": false, "await_device_configured": true, "skip_setup_items": ["Siri", "Tips"]}`))
	if err != nil {
		return err
	}
	loose, err := r.file("loose.json", []byte(`{"profile_name": "On loan", "url": "https://mdm.example.com/ade", "is_supervised": true}`))
	if err != nil {
		return err
	}
	if err := r.run("profile", "-default", firm); err != nil {
		return err
	}
	if err := r.run("assign"); err != nil {
		return err
	}
	r.check("all devices have it", fmt.Sprintf("%d have their profile now, 0 had it, 0 are tried again later.\n", bought), r.said.String())
	if err := r.run("profile", loose); err != nil {
		return err
	}
	uuid := strings.TrimSpace(r.said.String())
	if err := r.run("assign", "-profile", uuid, r.serial(0)); err != nil {
		return err
	}
	r.check("one has another", "1 have their profile now, 0 had it, 0 are tried again later.\n", r.said.String())
	return nil
}

// serial is the serial number of one of the devices.
func (r *rehearsal) serial(n int) string {
	for serial := range r.apple.Serials(r.server) {
		if n--; n < 0 {
			return serial
		}
	}
	return ""
}

// reports lets three devices be set up, and says how firmly they hold their management.
func (r *rehearsal) reports() error {
	for n := range 3 {
		r.apple.Activate(r.serial(n))
	}
	if err := r.run("sync"); err != nil {
		return err
	}
	out := r.out
	r.out = r.said // it is long
	err := r.run("report", "-json")
	r.out = out
	if err != nil {
		return err
	}
	held := map[string]line{}
	for decoder := json.NewDecoder(r.said); decoder.More(); {
		var l line
		if err := decoder.Decode(&l); err != nil {
			return err
		}
		held[l.Serial] = l
	}
	r.check("all are in the report", fmt.Sprint(bought), fmt.Sprint(len(held)))
	for n, want := range []string{"yes yes", "yes no", "yes no", "unknown unknown"} {
		l := held[r.serial(n)]
		r.check(fmt.Sprintf("%s is supervised, and removable", l.Serial), want, l.Supervised+" "+l.Removable)
	}
	return nil
}

// later moves devices, and lets Apple cut the connection meanwhile.
func (r *rehearsal) later() error {
	r.apple.Move(r.apple.Server("Another MDM"), r.serial(10), r.serial(11))
	r.apple.AddMany(r.server, 3)
	if err := r.run("sync"); err != nil {
		return err
	}
	r.check("what moved", "3 added, 0 modified, 2 removed.\n", r.said.String())
	if err := r.run("assign"); err != nil {
		return err
	}
	r.check("new devices have the profile", "3 have their profile now, 0 had it, 0 are tried again later.\n", r.said.String())
	return nil
}

// terms are new, and nobody has accepted them.
func (r *rehearsal) terms() error {
	r.apple.RequireTerms(true)
	err := r.run("sync")
	r.check("new terms are to be accepted", "true", fmt.Sprint(errors.Is(err, dep.ErrTermsNotSigned)))
	if p, ok := dep.AsProblem(err); ok {
		fmt.Fprintln(r.errout, "abm:", p.Text)
	}
	r.apple.RequireTerms(false)
	v, err := r.program.server(r.ctx)
	if err != nil {
		return err
	}
	r.check("which is remembered", "true", fmt.Sprint(v.Stopped != nil && v.Stopped.Code == string(dep.ErrTermsNotSigned)))
	return nil
}
