package setup_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/schema"
	"github.com/gomdm/applemdm/mdm/setup"
)

func TestPanes(t *testing.T) {
	t.Parallel()
	panes := setup.Panes()
	require.Greater(t, len(panes), 30)
	assert.Contains(t, panes, setup.AppleID)
	seen := map[setup.Pane]bool{}
	for _, p := range panes {
		assert.False(t, seen[p], p)
		seen[p] = true
		require.NoError(t, p.Check(schema.Target{}).Err(), "nothing is known of the device")
	}
}

func TestPaneCheck(t *testing.T) {
	t.Parallel()
	phone := schema.Target{Platform: schema.IOS, OSVersion: "16.0"}
	require.NoError(t, setup.AppleID.Check(phone).Err())
	assert.Equal(t, schema.RuleVersion, setup.ActionButton.Check(phone).Rules(), "since iOS 17")
	assert.Equal(t, schema.RulePlatform, setup.Accessibility.Check(phone).Rules(), "of macOS")
	unknown := setup.Pane("NextYear").Check(phone)
	require.NoError(t, unknown.Err())
	assert.Len(t, unknown.Of(schema.RuleUnknown), 1)
}

func TestAlwaysSkippable(t *testing.T) {
	t.Parallel()
	assert.True(t, setup.AppleID.AlwaysSkippable(schema.IOS))
	assert.False(t, setup.Accessibility.AlwaysSkippable(schema.MacOS), "for further users only")
	assert.False(t, setup.Accessibility.AlwaysSkippable(schema.IOS), "not there")
	assert.False(t, setup.AppleID.AlwaysSkippable(schema.WatchOS))
	assert.False(t, setup.Pane("NextYear").AlwaysSkippable(schema.IOS))
}

// Which panes of a list a device knows.
func ExamplePane_Check() {
	phone := schema.Target{Platform: schema.IOS, OSVersion: "16.0"}
	for _, p := range []setup.Pane{setup.AppleID, setup.ActionButton, setup.Accessibility} {
		fmt.Println(p, p.Check(phone).Err() == nil)
	}
	// Output:
	// AppleID true
	// ActionButton false
	// Accessibility false
}
