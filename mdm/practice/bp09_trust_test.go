package practice_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/mdmtest"
	"github.com/gomdm/applemdm/mdm/practice"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// TestBP09_TrustFirstThenSwitch changes the TLS chain of the server below two devices of which one is away for a month.
func TestBP09_TrustFirstThenSwitch(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		l.https.Config.SetKeepAlivesEnabled(false) // each request sees the chain of the time
		here, away := b.arrived(mdmtest.Config{}), b.arrived(mdmtest.Config{})
		root, served := bp09Root(t, "next", l.start.Add(-bp09Day), l.start.Add(3650*bp09Day))
		old := []*x509.Certificate{l.https.Certificate()}
		change := enroll.Overlap(enroll.ServerChain{Host: "127.0.0.1", Served: old, Carried: old, Now: l.now()},
			enroll.ServerChain{Host: "127.0.0.1", Served: []*x509.Certificate{served.Leaf}, Carried: []*x509.Certificate{root}, Now: l.now()})
		require.True(t, change.ReplaceFirst)
		b.trust.Carry = change.Carry
		_, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
		require.Equal(t, mdm.Malformed, mdm.CodeOf(err), "the recipe does not bring them yet")
		b.recipe.Enrollment.Roots = change.Carry
		standing := b.standing()
		assert.Equal(t, 2, standing.Lack)

		for _, want := range []int{2, 0} { // it may be called again
			begun, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
			require.NoError(t, err)
			assert.Equal(t, want, begun)
		}
		b.settle(here)
		assert.Equal(t, 1, b.count(here, mdm.EventRenewed))
		standing = b.standing()
		assert.Equal(t, practice.TrustStanding{Have: 1, Lack: 1, Lacking: []mdm.EnrollmentID{id(away)}}, standing)
		assert.False(t, standing.Ready())
		assert.Contains(t, standing.String(), "do not switch")
		counts, err := l.stores.Runs.CountRuns(t.Context(), "", "trust-change")
		require.NoError(t, err)
		assert.ElementsMatch(t, []workflow.Count{{Workflow: "trust-change", Status: workflow.Done, Step: "await", Runs: 1},
			{Workflow: "trust-change", Status: workflow.Open, Step: "await", Runs: 1}}, counts)

		b.days(30, here)
		assert.False(t, b.standing().Ready())
		b.settle(away)
		assert.True(t, b.standing().Ready(), b.standing().String())
		late := b.arrived(mdmtest.Config{}) // it came with the new profile
		assert.Equal(t, 1, b.standing().Lack)
		b.trust.Since = l.now().Add(-bp09Day)
		assert.True(t, b.standing().Ready())

		l.https.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{served}, ClientAuth: tls.RequestClientCert}, nil
		}
		b.settle(here, away, late)
		stranger := b.device(mdmtest.Config{})
		require.Error(t, stranger.Enroll(t.Context(), l.https.URL+"/enroll"), "or the switch would prove nothing")
	})
}

// TestBP09_TrustIsNotTakenFromAnotherProfile has a device that gets a profile without the new certificates while the change waits.
func TestBP09_TrustIsNotTakenFromAnotherProfile(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		d := b.arrived(mdmtest.Config{})
		without, err := b.recipe.Bytes(t.Context(), enroll.For{Purpose: mdm.PurposeRenew, Device: d.ID()})
		require.NoError(t, err)
		root, _ := bp09Root(t, "next", l.start, l.start.Add(3650*bp09Day))
		b.trust.Carry = append(b.recipe.Enrollment.Roots[:1:1], root)
		b.recipe.Enrollment.Roots = b.trust.Carry
		_, err = b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
		require.NoError(t, err)
		b.flush()
		require.NoError(t, d.InstallEnrollment(t.Context(), without))
		b.flush()
		assert.False(t, b.standing().Ready())
		b.days(2, d)
		assert.True(t, b.standing().Ready())
		assert.Equal(t, 2, b.count(d, mdm.EventRenewed))
	})
}

// TestBP09_TrustChangeIsOneAtATime has a renewal on its way when the change begins.
func TestBP09_TrustChangeIsOneAtATime(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 60*bp09Day)
		d := b.arrived(mdmtest.Config{})
		b.days(31)
		require.Equal(t, "await", b.run("renewal").Step)
		root, _ := bp09Root(t, "next", l.start, l.start.Add(3650*bp09Day))
		b.trust.Carry = append(b.recipe.Enrollment.Roots[:1:1], root)
		b.recipe.Enrollment.Roots = b.trust.Carry
		_, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
		require.NoError(t, err)
		b.flush()
		require.Len(t, b.replacements(d), 1)
		b.days(2, d)
		assert.True(t, b.standing().Ready())
		assert.Equal(t, 2, b.count(d, mdm.EventRenewed))
		assert.Equal(t, "watch", b.run("renewal").Step)
	})
}

// TestBP09_TrustChangeBegunAgain leaves alone who has it, and sends it to who failed, is new, or has an earlier profile again.
func TestBP09_TrustChangeBegunAgain(t *testing.T) {
	onEveryStore(t, func(t *testing.T, l *lab) {
		b := newBP09(l, 365*bp09Day)
		var mood moody
		has, failed, back := b.arrived(mdmtest.Config{}), b.arrived(mdmtest.Config{Respond: mood.respond}), b.arrived(mdmtest.Config{})
		backup := back.Backup()
		b.days(1)
		b.trust.Carry = b.recipe.Enrollment.Roots
		begin := func() int {
			n, err := b.trust.Begin(t.Context(), l.server.Workflows(), mdm.Filter{})
			require.NoError(t, err)
			return n
		}
		mood.say(mdmtest.Fail("MCInstallationErrorDomain", 4001, "no"))
		assert.Equal(t, 3, begin())
		b.settle(has, failed, back)
		assert.Equal(t, 1, b.standing().Lack)
		assert.Zero(t, begin(), "two have it, and one is under way")
		b.settle(has, failed, back)
		assert.Equal(t, []int{1, 1}, []int{bp09Installs(has), bp09Installs(back)})

		for _, run := range b.runs("trust-change") {
			if !run.Status.Over() {
				_, err := l.server.Workflows().Cancel(t.Context(), "", run.ID, "as if it had been given up")
				require.NoError(t, err)
			}
		}
		mood.obey()
		fresh := b.arrived(mdmtest.Config{})
		assert.Equal(t, 2, begin(), "who failed, and who is new")
		b.settle(has, failed, back, fresh)
		assert.True(t, b.standing().Ready(), b.standing().String())
		assert.Equal(t, 1, b.count(failed, mdm.EventRenewed))
		assert.Equal(t, 1, b.count(fresh, mdm.EventRenewed))
		assert.Equal(t, 1, b.count(has, mdm.EventRenewed))
		assert.Zero(t, begin())

		require.NoError(t, back.Restore(t.Context(), backup))
		assert.Equal(t, 1, begin(), "its profile is the earlier one again")
		b.settle(back)
		assert.True(t, b.standing().Ready())
		b.trust.ID = "two"
		b.trust.Since = l.start.Add(bp09Day / 2)
		assert.Equal(t, 3, begin(), "another change; one came with it")
	})
}

func (b *bp09) standing() practice.TrustStanding {
	b.Helper()
	s, err := b.trust.Ready(b.Context(), b.stores.Runs, "")
	require.NoError(b, err)
	return s
}
