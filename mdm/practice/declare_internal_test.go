package practice

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/ddm"
)

// TestReportsAreSmallInARun: a run keeps what it hears until its step is taken, 64 times if need be.
func TestReportsAreSmallInARun(t *testing.T) {
	stands := func(identifier func(i int) string) ddm.StatusReport {
		var list []any
		for i := range 1000 {
			list = append(list, map[string]any{"identifier": identifier(i), "server-token": strings.Repeat("<", 1000), "active": true, "valid": "invalid",
				"reasons": []any{map[string]any{"code": strings.Repeat("x", 1000)}}})
		}
		return ddm.StatusReport{StatusItems: map[string]any{"management": map[string]any{"declarations": map[string]any{"configurations": list}}}}
	}
	word := declaredWordOf(stands(func(i int) string { return fmt.Sprintf("%s%03d%s", strings.Repeat("<", 50), i, passcodeSuffix) }))
	require.False(t, word.empty())
	data, err := json.Marshal(word)
	require.NoError(t, err)
	assert.Less(t, len(data), 12<<10)
	word = declaredWordOf(stands(func(i int) string { return fmt.Sprint("other", i) }))
	assert.True(t, word.empty(), "it is about nothing that a practice declares")
}
