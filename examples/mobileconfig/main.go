// Mobileconfig checks configuration profiles, plain or signed, before a device sees them.
//
//	go run ./examples/mobileconfig lint -platform macOS -os 15.0 office.mobileconfig
//	go run ./examples/mobileconfig lint -json -strict -set profiles/*.mobileconfig
//	go run ./examples/mobileconfig rules
//	go run ./examples/mobileconfig split -out parts office.mobileconfig
//
// A file named - is standard input. It ends with 0 if nothing is wrong, with 1 if errors were found (with -strict also
// warnings), and with 2 if it was called wrongly or could not read a file. It prints no secrets; what split writes holds
// those of the profile.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/profile/lint"
)

const usage = `usage: mobileconfig lint  [flags] file...   check profiles
       mobileconfig rules [-json]          list what is checked
       mobileconfig split [-out dir] file  make one profile for each account
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// program is one run.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := program{stdin, stdout, stderr}
	commands := map[string]func([]string) (int, error){"lint": p.lint, "rules": p.rules, "split": p.split}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	code, err := commands[args[0]](args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "mobileconfig:", printable(err.Error()))
		return 2
	}
	return code
}

func (p program) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("mobileconfig "+name, flag.ContinueOnError)
	f.SetOutput(p.stderr)
	return f
}

// options are the flags of lint.
type options struct {
	json, strict, set bool
	linter            lint.Linter
}

func (p program) options(args []string) (o options, files []string, err error) {
	f, l := p.flags("lint"), &o.linter
	f.BoolVar(&o.json, "json", false, "write JSON")
	f.BoolVar(&o.strict, "strict", false, "end with 1 for warnings, too")
	f.BoolVar(&o.set, "set", false, "the files are what one device has together")
	f.StringVar(&l.Target.OSVersion, "os", "", "version of the system, as 15.0")
	f.StringVar(&l.Topic, "topic", "", "topic of the push certificate")
	f.BoolVar(&l.Encrypted, "encrypted", false, "profiles are encrypted before they are sent")
	f.Func("platform", "iOS, macOS, tvOS, visionOS or watchOS", func(s string) error {
		for _, platform := range schema.Platforms() {
			if strings.EqualFold(string(platform), s) {
				l.Target.Platform = platform
				return nil
			}
		}
		return errors.New("no such platform")
	})
	f.Func("channel", "device, user or user-enrollment", func(s string) error {
		channels := map[string]mdm.Channel{"device": mdm.DeviceChannel, "user": mdm.UserChannel, "user-enrollment": mdm.UserEnrollmentChannel}
		l.Target.Channel = channels[s]
		if l.Target.Channel == 0 {
			return errors.New("no such channel")
		}
		return nil
	})
	f.BoolFunc("supervised", "the device is supervised; =false: it is not", func(s string) error {
		supervised, err := strconv.ParseBool(s)
		l.Target.Supervised = schema.BoolOf(supervised)
		return err
	})
	f.Func("proxy", "host of a ServerURL that is behind a proxy; may be repeated", func(s string) error {
		l.Proxies = append(l.Proxies, s)
		return nil
	})
	wifi := f.Bool("allow-wifi", false, "the initial profile may hold a Wi-Fi network")
	f.Func("disable", "rules not to check, with commas between", func(s string) error { return names(&l.Disable, s) })
	f.Func("only", "rules to check, and no others", func(s string) error { return names(&l.Only, s) })
	if err = f.Parse(args); err == nil && f.NArg() == 0 {
		err = errors.New("lint needs files")
	}
	if *wifi {
		l.InitialAlso = []string{profile.TypeWiFi}
	}
	return o, f.Args(), err
}

func names(to *[]string, list string) error {
	for name := range strings.SplitSeq(list, ",") {
		if _, ok := lint.RuleNamed(name); !ok {
			return fmt.Errorf("no rule is named %q; see mobileconfig rules", name)
		}
		*to = append(*to, name)
	}
	return nil
}

func (p program) lint(args []string) (int, error) {
	o, names, err := p.options(args)
	if err != nil {
		return 0, err
	}
	var files []lint.File
	for _, name := range names {
		data, err := p.read(name)
		if err != nil {
			return 0, err
		}
		files = append(files, lint.File{Name: name, Data: data})
	}
	found := lint.Findings{}
	if o.set {
		found = append(found, o.linter.CheckFiles(files...)...)
	} else {
		for _, f := range files {
			found = append(found, o.linter.CheckFiles(f)...)
		}
	}
	if err := p.report(o, found, len(files)); err != nil {
		return 0, err
	}
	if worst := found.Worst(); worst == lint.Error || o.strict && worst == lint.Warning {
		return 1, nil
	}
	return 0, nil
}

func (p program) report(o options, all lint.Findings, files int) error {
	count := map[lint.Severity]int{}
	for _, f := range all {
		count[f.Severity]++
	}
	if o.json {
		return p.writeJSON(map[string]any{"findings": all,
			"errors": count[lint.Error], "warnings": count[lint.Warning], "infos": count[lint.Info]})
	}
	var out bytes.Buffer
	for i, f := range all {
		if i == 0 || f.File != all[i-1].File {
			fmt.Fprintf(&out, "%s\n", printable(f.File))
		}
		fmt.Fprintf(&out, "  %-8s %s: %s\n           rule %s; why: %s\n           fix: %s\n",
			f.Severity, printable(cmp.Or(f.Path, "the profile")), printable(f.Text), f.Rule, f.Why, f.Fix)
	}
	fmt.Fprintf(&out, "errors: %d, warnings: %d, infos: %d, files: %d\n", count[lint.Error], count[lint.Warning], count[lint.Info], files)
	_, err := p.stdout.Write(out.Bytes())
	return err
}

func (p program) writeJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable keeps what a file says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

func (p program) read(name string) ([]byte, error) {
	in := p.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	return io.ReadAll(io.LimitReader(in, profile.MaxSize+1))
}

func (p program) rules(args []string) (int, error) {
	f := p.flags("rules")
	asJSON := f.Bool("json", false, "write JSON")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if *asJSON {
		return 0, p.writeJSON(lint.Rules())
	}
	for _, r := range lint.Rules() {
		fmt.Fprintf(p.stdout, "%s (%s, %s)\n  %s\n  why: %s\n  fix: %s\n  source: %s\n\n",
			r.Name, r.Severity, r.Scope, r.Title, r.Why, r.Fix, r.Source)
	}
	return 0, nil
}
