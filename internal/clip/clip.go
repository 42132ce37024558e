// Package clip shortens texts of strangers.
package clip

import "strings"

// Text returns s if it has at most most bytes. Else it returns its first keep bytes, as far as they are whole characters, with an
// ellipsis of three bytes behind them.
func Text(s string, most, keep int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:min(keep, len(s))], "") + "…"
}
