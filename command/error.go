package command

import (
	"fmt"
	"strings"
)

// Error is what [Result.Err] returns for a command that a device could not do. Find it with errors.As.
type Error struct {
	Status Status      // StatusError or StatusCommandFormatError
	Chain  []ErrorItem // the first is the error itself, the others its causes; may be empty
}

const (
	maxChain  = 8  // items of a chain that Error lists
	maxDomain = 64 // bytes of a domain that Error shows
)

// Error lists domains and codes, as "command: the device answered Error: MCMDMErrorDomain 12075". It leaves the texts of
// the device out, because errors go to logs: they may quote what a profile held. They are in Chain; show them to people
// with [ErrorItem.Description].
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("command: the device answered " + string(e.Status))
	for i, item := range e.Chain {
		if i == maxChain {
			fmt.Fprintf(&b, ": and %d more", len(e.Chain)-i)
			break
		}
		fmt.Fprintf(&b, ": %s %d", domain(item.ErrorDomain), item.ErrorCode)
	}
	return b.String()
}

// domain returns s if it looks like an error domain. A device could write anything there, as a line of a log.
func domain(s string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	if s == "" || len(s) > maxDomain || strings.ContainsFunc(s, odd) {
		return "(unknown domain)"
	}
	return s
}

// Description returns the text of an error for people: the English one if there is one, else the localized one. Like
// everything from a device it may be long, and hold markup.
func (i ErrorItem) Description() string {
	if i.USEnglishDescription != "" {
		return i.USEnglishDescription
	}
	return i.LocalizedDescription
}

// Err returns an [*Error] if the device answered Error or CommandFormatError, else nil. An Acknowledged result may still
// hold failures of single items, as that of Settings.
func (r *Result) Err() error {
	if r.Status != StatusError && r.Status != StatusCommandFormatError {
		return nil
	}
	return &Error{Status: r.Status, Chain: r.ErrorChain}
}
