package practice_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/server"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
	"github.com/gomdm/applemdm/storage/sqlite"
)

const (
	bp04Work = "com.example.accounts.account.work"
	bp04Team = "com.example.accounts.account.team"
	bp04New  = "correct horse & <battery>"
)

// bp04 is a lab whose devices have two accounts.
type bp04 struct {
	*lab
	accounts *practice.Accounts
	vault    *bp04Vault
	gone     bool // the account is not for this device any more
}

// bp04Vault counts what is in a vault.
type bp04Vault struct {
	practice.Vault
	names map[string]bool
}

func (v *bp04Vault) PutSecret(ctx context.Context, name string, s mdm.Secret) error {
	if v.names[name] = true; s.IsZero() {
		delete(v.names, name)
	}
	return v.Vault.PutSecret(ctx, name, s)
}

func bp04Accounts(password string) *profile.Profile {
	common := func(id string) profile.Common {
		return profile.Common{PayloadIdentifier: "com.example.accounts." + id, PayloadUUID: profile.UUID(id)}
	}
	return &profile.Profile{Identifier: "com.example.accounts", Payloads: []profile.Payload{
		&profile.CalDAV{Common: common("work"), CalDAVHostName: "cal.example.com", CalDAVPassword: mdm.SecretString(password)},
		&profile.ExchangeActiveSync{Common: common("team"), Host: new("eas.example.com"), Password: mdm.SecretString(password)},
	}}
}

func newBP04(l *lab) *bp04 {
	b := &bp04{lab: l, vault: &bp04Vault{Vault: l.stores.Vault, names: map[string]bool{}}}
	b.accounts = &practice.Accounts{Vault: b.vault, Roster: l.stores.Roster, Runs: l.stores.Runs,
		Profile: func(context.Context, *mdm.Enrollment, string) (*profile.Profile, error) {
			if b.gone {
				return nil, mdm.Errorf(mdm.NotFound, "test", "gone")
			}
			return bp04Accounts(""), nil
		}}
	l.serve(func(c *server.Config) { c.Cooks = b.accounts.Cooks() }, b.accounts.Workflows()...)
	return b
}

// withAccounts returns a device that has both accounts.
func (b *bp04) withAccounts(cfg mdmtest.Config) *mdmtest.Device {
	b.Helper()
	d := b.enrolled(cfg)
	parts, err := profile.Split(bp04Accounts("old"))
	require.NoError(b, err)
	for _, part := range parts {
		data, err := part.Encode()
		require.NoError(b, err)
		_, err = b.stores.Command.Enqueue(b.Context(), command.Order{Command: command.InstallProfile{Payload: data}, To: mdm.IDs(id(d))})
		require.NoError(b, err)
	}
	b.settle(d)
	require.ElementsMatch(b, []string{bp04Work, bp04Team}, d.Profiles())
	return d
}

func (b *bp04) replace(d *mdmtest.Device, c profile.Credential) workflow.Run {
	b.Helper()
	run, err := b.accounts.Replace(b.Context(), b.server.Workflows(), id(d), bp04Work, c)
	require.NoError(b, err)
	return run
}

// last returns the profile that the device was given last.
func (b *bp04) last(d *mdmtest.Device) *profile.Profile {
	b.Helper()
	history := d.History()
	parsed, err := profile.Parse(history[len(history)-1].Order.Command["Payload"].([]byte))
	require.NoError(b, err)
	return parsed.Profile
}

// TestBP04_OneAccountIsReplacedAlone changes the password of one of two accounts.
func TestBP04_OneAccountIsReplacedAlone(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP04(l)
		d := b.withAccounts(mdmtest.Config{})
		before := len(d.History())
		b.replace(d, profile.Credential{Password: mdm.SecretString(bp04New)})
		require.Len(t, b.vault.names, 1)
		b.settle(d)
		require.Len(t, d.History(), before+1, "one InstallProfile, and nothing for the other account")
		p := b.last(d)
		assert.Equal(t, bp04Work, p.Identifier)
		account := p.Payloads[0].(*profile.CalDAV)
		assert.Equal(t, profile.UUID("work"), account.PayloadUUID)
		assert.Equal(t, bp04New, string(account.CalDAVPassword.Reveal()))
		assert.Equal(t, workflow.Done, b.runs("account")[0].Status)
		assert.Empty(t, b.vault.names)
	})
}

// TestBP04_Identity is the same for a certificate, whose UUID stays however often the profile is made.
func TestBP04_Identity(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP04(l)
		var seen []string
		d := b.withAccounts(mdmtest.Config{})
		identity := &profile.PKCS12{PayloadContent: []byte("p12"), Password: mdm.SecretString("p12 password")}
		_, err := b.accounts.Replace(t.Context(), l.server.Workflows(), id(d), bp04Team, profile.Credential{Identity: identity})
		require.NoError(t, err)
		require.Empty(t, identity.PayloadUUID, "the caller's is left as it is")
		b.flush()
		body, err := d.Report(t.Context(), map[string]any{"Status": "Idle"}) // and its answer is lost
		require.NoError(t, err)
		require.Contains(t, string(body), "InstallProfile")
		b.settle(d)
		p := b.last(d)
		require.Len(t, p.Payloads, 2)
		account := p.Payloads[1].(*profile.ExchangeActiveSync)
		seen = append(seen, *account.PayloadCertificateUUID)
		assert.Equal(t, p.Payloads[0].(*profile.PKCS12).PayloadUUID, seen[0])
		assert.Equal(t, "p12 password", string(p.Payloads[0].(*profile.PKCS12).Password.Reveal()))
		assert.Equal(t, profile.UUID("team"), account.PayloadUUID)
		assert.Empty(t, b.vault.names)
	})
}

// TestBP04_PasswordIsNowhere looks for the password in the bytes of the database: while it is needed, and afterwards.
func TestBP04_PasswordIsNowhere(t *testing.T) {
	dir := t.TempDir()
	l := &lab{T: t, start: time.Now().Truncate(time.Second)}
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "mdm.db"), &sqlite.Config{Sealer: sealer(t), Clock: l.now})
	require.NoError(t, err)
	l.stores = db.Stores()
	b := newBP04(l)
	d := b.withAccounts(mdmtest.Config{Name: "this name is there"})
	b.replace(d, profile.Credential{Password: mdm.SecretString(bp04New)})
	search := func(text string) (found bool) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, name := range files {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			found = found || bytes.Contains(data, []byte(text)) || bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString([]byte(text))))
		}
		return found
	}
	assert.True(t, search("this name is there"), "or the search would prove nothing")
	for range 3 {
		assert.False(t, search(bp04New))
		assert.False(t, search("correct horse &amp; &lt;battery"))
		b.settle(d)
	}
	require.Equal(t, workflow.Done, l.runs("account")[0].Status)
	require.NoError(t, db.Close())
	assert.False(t, search(bp04New))
	for _, e := range d.History()[2:] {
		assert.Equal(t, "InstallProfile", e.Order.RequestType)
	}
}

// TestBP04_NewerCredentialCounts replaces a password twice before the device connects.
func TestBP04_NewerCredentialCounts(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP04(l)
		d := b.withAccounts(mdmtest.Config{})
		before := len(d.History())
		b.replace(d, profile.Credential{Password: mdm.SecretString("typo")})
		b.flush()
		b.replace(d, profile.Credential{Password: mdm.SecretString(bp04New)})
		require.Len(t, b.vault.names, 1, "the former one is gone")
		b.settle(d)
		require.Len(t, d.History(), before+1)
		assert.Equal(t, bp04New, string(b.last(d).Payloads[0].(*profile.CalDAV).CalDAVPassword.Reveal()))
		assert.Empty(t, b.vault.names)
	})
}

// TestBP04_SecretIsDeletedWhateverHappens has every other end of a run.
func TestBP04_SecretIsDeletedWhateverHappens(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP04(l)
		var mood moody
		d := b.withAccounts(mdmtest.Config{Respond: mood.respond})
		credential := profile.Credential{Password: mdm.SecretString(bp04New)}
		status := func(run workflow.Run) workflow.Status {
			run, err := l.stores.Runs.Run(t.Context(), "", run.ID)
			require.NoError(t, err)
			return run.Status
		}

		run := b.replace(d, credential) // refused by the device
		mood.say(mdmtest.Fail("MCProfileErrorDomain", 1000, bp04New))
		b.settle(d)
		assert.Equal(t, workflow.Failed, status(run))
		assert.Empty(t, b.vault.names)
		for _, e := range b.events(d) {
			assert.NotContains(t, e.Reason, bp04New)
		}

		run = b.replace(d, credential) // a failure that passes
		mood.say(mdmtest.Fail("MCPasscodeErrorDomain", 5010, "later"))
		b.settle(d)
		assert.Equal(t, workflow.Open, status(run))
		mood.obey()
		b.advance(2*time.Hour, d)
		assert.Equal(t, workflow.Done, status(run))
		assert.Empty(t, b.vault.names)

		run = b.replace(d, credential) // never taken
		b.flush()
		b.ahead.Add(int64(practice.DefaultAccountDeadline - time.Hour))
		b.flush()
		require.Len(t, b.vault.names, 1)
		b.ahead.Add(int64(time.Hour))
		b.flush()
		assert.Equal(t, workflow.Failed, status(run))
		assert.Empty(t, b.vault.names)
		before := len(d.History())
		b.settle(d)
		assert.Len(t, d.History(), before, "it is not delivered later")

		run = b.replace(d, credential) // ended by an operator
		b.flush()
		_, err := l.server.Workflows().Cancel(t.Context(), "", run.ID, "no")
		require.NoError(t, err)
		b.settle(d)
		assert.Empty(t, b.vault.names)
		assert.Len(t, d.History(), before)

		run = b.replace(d, credential) // not for this device any more
		b.flush()
		b.gone = true
		b.settle(d)
		b.gone = false
		assert.Equal(t, workflow.Failed, status(run))
		assert.Empty(t, b.vault.names)
		assert.Len(t, d.History(), before)

		run = b.replace(d, credential) // the device goes
		b.flush()
		require.NoError(t, d.CheckOut(t.Context()))
		b.flush()
		assert.Equal(t, workflow.Canceled, status(run))
		assert.Empty(t, b.vault.names)

		_, err = b.accounts.Replace(t.Context(), l.server.Workflows(), id(d), bp04Work, credential)
		assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
		assert.Empty(t, b.vault.names)
	})
}

// TestBP04_WrongCredentials are refused before anything is kept.
func TestBP04_WrongCredentials(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP04(l)
		d := b.withAccounts(mdmtest.Config{})
		for account, c := range map[string]profile.Credential{
			"":                                {Password: mdm.SecretString("x")},
			bp04Work:                          {},
			bp04Team:                          {Identity: &profile.WiFi{}},
			"com.example.accounts":            {Password: mdm.SecretString("x")},
			"com.example.accounts.account.no": {Password: mdm.SecretString("x")},
		} {
			_, err := b.accounts.Replace(t.Context(), l.server.Workflows(), id(d), account, c)
			require.Error(t, err, account)
			assert.Contains(t, []mdm.Code{mdm.Malformed, mdm.NotFound}, mdm.CodeOf(err), account)
		}
		assert.Empty(t, b.vault.names)
		assert.Empty(t, b.runs("account"))
	})
}
