// Package storagetest proves that a database keeps the contracts of [storage.Stores]. A store's test is a few lines:
//
//	func TestConformance(t *testing.T) {
//		dir := t.TempDir()
//		storagetest.Run(t, storagetest.Config{Open: func(t testing.TB, name string) storage.Stores {
//			db, err := mystore.Open(filepath.Join(dir, name+".db"))
//			require.NoError(t, err)
//			t.Cleanup(func() { _ = db.Close() })
//			return db.Stores()
//		}})
//	}
//
// A case that fails says why the rule is there and where it comes from. A nil field of Stores is a feature that is off,
// and the cases that need it are skipped: a store with Checkin and Command alone is a complete one.
//
// [Benchmark] measures what a server does most.
package storagetest

import (
	"strings"
	"testing"
	"unicode"

	"github.com/gomdm/applemdm/storage"
)

// Opener opens a database by name, and creates it if there is none of that name. Opening a name twice gives two handles
// on the same data, as two replicas of a server have them. The handle is closed in a Cleanup of t, which may end before
// the test that [Run] was given: what a closed handle acknowledged is there for the next one of its name. So the data
// must not be in a t.TempDir of this t. A name consists of letters, digits and dashes.
// Several goroutines may open at once.
type Opener func(t testing.TB, name string) storage.Stores

// Config says how a store is tested.
type Config struct {
	Open Opener // required
	// Volatile is set for a store that keeps nothing beyond its last handle. The tests that close and open again are
	// skipped then.
	Volatile bool
}

// Run tests a store. Every case has a database of its own.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	if cfg.Open == nil {
		t.Fatal("storagetest: Config.Open is required")
	}
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) { cfg.run(t, g, c) })
			}
		})
	}
}

// group is a concern of the contracts.
type group struct {
	name  string
	needs feature // of every case
	cases []testCase
}

// testCase is one rule. Its why is printed if it is broken: the rule and where it comes from.
type testCase struct {
	name  string
	why   string
	needs feature
	run   func(w *world)
}

func groups() []group {
	return []group{
		{"checkin", 0, checkinCases()},
		{"rows", 0, rowCases()},
		{"generations", 0, generationCases()},
		{"queue", 0, queueCases()},
		{"notnow", 0, notNowCases()},
		{"odd-reports", 0, oddReportCases()},
		{"recipes", 0, recipeCases()},
		{"deadlines", 0, deadlineCases()},
		{"model", 0, modelCases()},
		{"enqueue", 0, enqueueCases()},
		{"fan-out", 0, fanOutCases()},
		{"fit", 0, fitCases()},
		{"collapse", 0, collapseCases()},
		{"cancel", 0, cancelCases()},
		{"inspect", 0, inspectCases()},
		{"push", needsPush, pushCases()},
		{"feedback", needsPush, feedbackCases()},
		{"session-push", needsPush, sessionPushCases()},
		{"presence", needsPresence | needsPush | needsEvents, presenceCases()},
		{"waves", needsWaves | needsPush, waveCases()},
		{"push-certificates", needsPushCertificates, pushCertificateCases()},
		{"events", needsEvents, eventCases()},
		{"event-leases", needsEvents, leaseCases()},
		{"retention", needsSweep, retentionCases()},
		{"work-leases", needsLeases, workLeaseCases()},
		{"reminders", needsExpiry | needsEvents, reminderCases()},
		{"runs", needsRuns | needsRoster | needsEvents, runCases()},
		{"audit", needsAudit, auditCases()},
		{"declarations", needsDeclarations, declarationCases()},
		{"sessions", needsSessions, enrollmentSessionCases()},
		{"dep-servers", needsDEP, depServerCases()},
		{"dep-devices", needsDEP, depDeviceCases()},
		{"secrets", needsEscrow, secretCases()},
		{"vault", needsVault, vaultCases()},
		{"identity", 0, identityCases()},
		{"inventory", needsInventory, inventoryCases()},
		{"scep", needsSCEP, scepCases()},
		{"roster", needsRoster, rosterCases()},
		{"tenants", 0, tenantCases()},
		{"concurrency", 0, concurrencyCases()},
		{"replicas", 0, replicaCases()},
		{"restart", needsDurable, restartCases()},
		{"faults", 0, faultCases()},
	}
}

func (cfg Config) run(t *testing.T, g group, c testCase) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("why: %s", c.why)
		}
	})
	w := &world{TB: t, cfg: cfg, name: name(g.name + " " + c.name)}
	need := g.needs | c.needs
	switch {
	case need&needsDurable == 0:
		w.Stores = cfg.Open(t, w.name)
		w.require(need)
	case cfg.Volatile:
		t.Skip("the store is volatile: nothing outlives its last handle")
	}
	c.run(w)
}

// name turns the name of a test into one for an Opener.
func name(s string) string {
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, s)
}

// feature is a set of optional parts of a store.
type feature uint32

const (
	needsEscrow feature = 1 << iota
	needsRoster
	needsIdentity
	needsDeny
	needsInventory
	needsSCEP
	needsPush
	needsPushCertificates
	needsEvents
	needsVault
	needsWatch
	needsSweep
	needsLeases
	needsPresence
	needsExpiry
	needsWaves
	needsRuns
	needsSessions
	needsAudit
	needsDEP
	needsDeclarations
	needsDurable
)

// missing names the first part of need that s does not have.
func missing(s storage.Stores, need feature) string {
	for _, f := range []struct {
		feature
		name string
		has  bool
	}{
		{needsEscrow, "Escrow", s.Escrow != nil},
		{needsRoster, "Roster", s.Roster != nil},
		{needsIdentity, "Identity", s.Identity != nil},
		{needsDeny, "Deny", s.Deny != nil},
		{needsInventory, "Inventory", s.Inventory != nil},
		{needsSCEP, "SCEP", s.SCEP != nil},
		{needsPush, "Push", s.Push != nil},
		{needsPushCertificates, "PushCertificates", s.PushCertificates != nil},
		{needsEvents, "Events", s.Events != nil},
		{needsVault, "Vault", s.Vault != nil},
		{needsWatch, "Watch", s.Watch != nil},
		{needsSweep, "Sweep", s.Sweep != nil},
		{needsLeases, "Leases", s.Leases != nil},
		{needsPresence, "Presence", s.Presence != nil},
		{needsExpiry, "Expiry", s.Expiry != nil},
		{needsWaves, "Waves", s.Waves != nil},
		{needsRuns, "Runs", s.Runs != nil},
		{needsSessions, "Sessions", s.Sessions != nil},
		{needsAudit, "Audit", s.Audit != nil},
		{needsDEP, "DEP", s.DEP != nil},
		{needsDeclarations, "Declarations", s.Declarations != nil},
	} {
		if need&f.feature != 0 && !f.has {
			return f.name
		}
	}
	return ""
}
