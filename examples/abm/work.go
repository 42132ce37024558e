package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/practice"
)

// parse reads the flags of a command, and that it has so many arguments; most < 0: any number.
func (p *program) parse(flags *flag.FlagSet, args []string, least, most int) error {
	flags.SetOutput(p.errout)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return misuse{err}
	}
	if n := flags.NArg(); n < least || most >= 0 && n > most {
		return misuse{fmt.Errorf("%s has %d arguments", flags.Name(), n)}
	}
	return nil
}

func (p *program) makeKey(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("key", flag.ContinueOnError)
	out := flags.String("out", "", "where the certificate goes; empty: standard output")
	if err := p.parse(flags, args, 0, 0); err != nil {
		return err
	}
	v, err := dep.Enlist(ctx, p.store, p.key, now())
	if err != nil {
		return err
	}
	if *out == "" {
		_, err = p.out.Write(v.KeyPair.Certificate)
		return err
	}
	if err := os.WriteFile(*out, v.KeyPair.Certificate, 0o644); err != nil { //nolint:gosec // a certificate is for everybody
		return err
	}
	fmt.Fprintf(p.out, "%s is to be uploaded at business.apple.com or school.apple.com, as the certificate of an MDM server.\n", *out)
	return nil
}

const maxToken = 1 << 20

func (p *program) importToken(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("import", flag.ContinueOnError)
	other := flags.Bool("other", false, "the token is for another server at Apple than the one before, and that is meant")
	if err := p.parse(flags, args, 1, 1); err != nil {
		return err
	}
	data, err := p.input(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	v, err := dep.Import(ctx, p.store, p.key, data, *other, now())
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "The token is good until %s.\n", v.Token.Expires.Format("2006-01-02"))
	return nil
}

func (p *program) account(ctx context.Context, args []string) error {
	if err := p.parse(flag.NewFlagSet("account", flag.ContinueOnError), args, 0, 0); err != nil {
		return err
	}
	if _, err := p.server(ctx); err != nil {
		return err
	}
	a, err := p.client(p.key).Account(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s, server %q, administered by %s\n", a.OrgName, a.ServerName, a.AdminID)
	return nil
}

func (p *program) sync(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("sync", flag.ContinueOnError)
	full := flags.Bool("full", false, "fetch all devices, not only what changed")
	if err := p.parse(flags, args, 0, 0); err != nil {
		return err
	}
	if _, err := p.server(ctx); err != nil {
		return err
	}
	s := p.syncer()
	if *full {
		if err := s.Full(ctx, p.key); err != nil {
			return err
		}
	}
	done, err := s.Sync(ctx, p.key)
	if done.Pages > 0 {
		fmt.Fprintln(p.errout)
	}
	fmt.Fprintf(p.out, "%d added, %d modified, %d removed.\n", done.Added, done.Modified, done.Removed)
	return err
}

func (p *program) profile(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	all := flags.Bool("default", false, "make it the profile of all devices of the server")
	if err := p.parse(flags, args, 1, 1); err != nil {
		return err
	}
	data, err := p.input(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	var profile dep.Profile
	if err := json.Unmarshal(data, &profile); err != nil {
		return fmt.Errorf("%s: %w", flags.Arg(0), err)
	}
	uuid, err := p.assigner().Define(ctx, p.key, profile)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.out, uuid)
	if *all {
		return p.assigner().SetProfile(ctx, p.key, uuid)
	}
	return nil
}

func (p *program) assign(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("assign", flag.ContinueOnError)
	uuid := flags.String("profile", "", "the profile of the devices that follow; \"default\": that of the server")
	if err := p.parse(flags, args, 0, -1); err != nil {
		return err
	}
	if (*uuid == "") != (flags.NArg() == 0) {
		return misuse{fmt.Errorf("-profile goes with serial numbers")}
	}
	if _, err := p.server(ctx); err != nil {
		return err
	}
	a := p.assigner()
	if *uuid != "" {
		want := *uuid
		if want == "default" {
			want = ""
		}
		unknown, err := a.Want(ctx, p.key, want, flags.Args()...)
		if err != nil {
			return err
		}
		for _, serial := range unknown {
			fmt.Fprintf(p.errout, "%s is not known; sync first\n", serial)
		}
	}
	done, err := a.Assign(ctx, p.key)
	fmt.Fprintf(p.out, "%d have their profile now, %d had it, %d are tried again later.\n", done.Assigned, done.Right, done.Waiting)
	for _, word := range slices.Sorted(maps.Keys(done.Refused)) {
		fmt.Fprintf(p.out, "  %d: %s\n", done.Refused[word], word)
	}
	return err
}

// line is a device in a report.
type line struct {
	Serial     string `json:"serial"`
	Model      string `json:"model"`
	Status     string `json:"profileStatus"`
	Profile    string `json:"profile,omitempty"`
	Supervised string `json:"supervised"`
	Removable  string `json:"removable"`
	Note       string `json:"note"`
}

func (p *program) report(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "a line of JSON for each device")
	if err := p.parse(flags, args, 0, 0); err != nil {
		return err
	}
	v, err := p.server(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	encoder := json.NewEncoder(p.out)
	if !*asJSON {
		fmt.Fprintln(table, "SERIAL\tMODEL\tPROFILE\tSUPERVISED\tREMOVABLE\tFROM")
	}
	for r, err := range p.store.Records(ctx, dep.Query{Server: p.key}) {
		if err != nil {
			return err
		}
		if err := p.learn(ctx, &v, r.Device.ProfileUUID); err != nil {
			return err
		}
		// A server that manages the device would also say what the device says of itself.
		h := practice.HoldOf(&r, &v, practice.Said{})
		l := line{r.Serial, r.Device.Model, string(r.Device.ProfileStatus), h.ProfileUUID, answer(h.Supervised), answer(h.Removable), h.Note}
		if *asJSON {
			err = encoder.Encode(l)
		} else {
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Serial, l.Model, l.Status, l.Supervised, l.Removable, l.Note)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// learn reads a profile that was defined elsewhere, once. One that Apple does not know any more stays unknown.
func (p *program) learn(ctx context.Context, v *dep.Server, uuid string) error {
	if _, known := v.Profiles[uuid]; known || uuid == "" || p.missing[uuid] {
		return nil
	}
	_, err := p.assigner().Learn(ctx, p.key, uuid)
	if err != nil && mdm.CodeOf(err) == mdm.NotFound {
		if p.missing == nil {
			p.missing = map[string]bool{}
		}
		p.missing[uuid] = true
		return nil
	}
	if err == nil {
		*v, err = p.server(ctx)
	}
	return err
}

func answer(t mdm.Tristate) string {
	switch t {
	case mdm.Yes:
		return "yes"
	case mdm.No:
		return "no"
	}
	return "unknown"
}

// input reads the file that a command of a server names.
func (p *program) input(ctx context.Context, name string) ([]byte, error) {
	if _, err := p.server(ctx); err != nil {
		return nil, err
	}
	return readFile(name, maxToken)
}

func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return data, err
}
