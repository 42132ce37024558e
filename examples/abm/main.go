// Abm works with Apple Business Manager (or Apple School Manager) from the command line: what an MDM server does, step by
// step, with a SQLite database to keep it in.
//
//	go run ./examples/abm key -out main.pem             make a key pair; upload main.pem at Apple as an MDM server
//	go run ./examples/abm import main_Token.p7m         take the token that is downloaded there (every year again)
//	go run ./examples/abm sync                          fetch the devices, later what changed
//	go run ./examples/abm profile -default profile.json define a profile, in Apple's form, and make it that of all devices
//	go run ./examples/abm assign [-profile UUID SERIAL…]  bring devices to their profile, or these to another
//	go run ./examples/abm report [-json]                each device, and whether its user can remove the management
//
//	go run ./examples/abm -fake                         all of this against a stand-in for Apple, which checks itself
//
// It ends with 0 if all is well, with 1 if Apple refused something or is not reached, and with 2 if it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/storage/sqlite"
)

// What the program ends with.
const (
	well    = 0
	refused = 1
	misused = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// program is one run.
type program struct {
	store       dep.Store
	key         dep.Key
	baseURL     string // "": Apple's
	http        *http.Client
	out, errout io.Writer
	clients     map[dep.Key]*dep.Client
	missing     map[string]bool // profiles that Apple does not know
}

const usage = `usage: abm [-db file] [-server name] key [-out file]
       abm […] import [-other] token.p7m
       abm […] account
       abm […] sync [-full]
       abm […] profile [-default] profile.json
       abm […] assign [-profile uuid serial…]
       abm […] report [-json]
       abm -fake
`

// misuse is an error of the command line.
type misuse struct{ error }

func run(ctx context.Context, args []string, out, errout io.Writer) int {
	flags := flag.NewFlagSet("abm", flag.ContinueOnError)
	flags.SetOutput(errout)
	flags.Usage = func() { fmt.Fprint(errout, usage) }
	db := flags.String("db", "abm.db", "SQLite database; its key is kept beside it")
	server := flags.String("server", "main", "which server at Apple, in your words")
	fake := flags.Bool("fake", false, "go through all of it with a stand-in for Apple")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return well
	case err != nil:
		return misused
	case *fake:
		err = rehearse(ctx, out, errout)
	case flags.NArg() == 0:
		flags.Usage()
		return misused
	default:
		err = open(ctx, *db, *server, out, errout, flags.Args())
	}
	var wrong misuse
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return well
	case errors.As(err, &wrong):
		fmt.Fprintf(errout, "abm: %v\n%s", err, usage)
		return misused
	}
	fmt.Fprintln(errout, "abm:", err)
	if p, ok := dep.AsProblem(err); ok {
		fmt.Fprintln(errout, "abm:", p.Text)
	}
	return refused
}

// open does a command with a database.
func open(ctx context.Context, name, server string, out, errout io.Writer, args []string) error {
	db, err := sqlite.Open(ctx, name, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	p := &program{store: db.Stores().DEP, key: dep.Key{Name: server}, out: out, errout: errout}
	return p.do(ctx, args...)
}

// do does one command.
func (p *program) do(ctx context.Context, args ...string) error {
	commands := map[string]func(context.Context, []string) error{"key": p.makeKey, "import": p.importToken, "account": p.account, "sync": p.sync,
		"profile": p.profile, "assign": p.assign, "report": p.report}
	command := commands[args[0]]
	if command == nil {
		return misuse{fmt.Errorf("there is no %q", args[0])}
	}
	return command(ctx, args[1:])
}

// client is the one of a server, which is kept for its session.
func (p *program) client(key dep.Key) *dep.Client {
	if c := p.clients[key]; c != nil {
		return c
	}
	c := &dep.Client{Token: dep.StoredToken(p.store, key), BaseURL: p.baseURL, HTTP: p.http, UserAgent: "applemdm-abm/1"}
	if p.clients == nil {
		p.clients = map[dep.Key]*dep.Client{}
	}
	p.clients[key] = c
	return c
}

func (p *program) syncer() *dep.Syncer {
	return &dep.Syncer{Store: p.store, Connect: func(key dep.Key) dep.Source { return p.client(key) }, Progress: p.progress}
}

func (p *program) assigner() *dep.Assigner {
	return &dep.Assigner{Store: p.store, Connect: func(key dep.Key) dep.Profiles { return p.client(key) }}
}

// progress shows how far a sync is, on one line.
func (p *program) progress(at dep.Progress) {
	fmt.Fprintf(p.errout, "\r%s: %d devices, %d added, %d modified, %d removed ", at.Phase, at.Told, at.Added, at.Modified, at.Removed)
}

// server returns the server with its secrets; without one the error says what to do.
func (p *program) server(ctx context.Context) (dep.Server, error) {
	v, err := p.store.Server(ctx, p.key)
	if err != nil && mdm.CodeOf(err) == mdm.NotFound {
		return v, fmt.Errorf("there is no server %q yet: begin with the command key", p.key)
	}
	return v, err
}

func now() time.Time { return time.Now() }
