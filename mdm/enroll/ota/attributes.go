package ota

import (
	"crypto/sha256"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
)

// maxAttribute is the longest value, in bytes, of what a device says of itself. A name may have 63 emoji.
const maxAttribute = 1024

// challengeKey is the key of the challenge, which is no attribute.
const challengeKey = "CHALLENGE"

// readAttributes reads what a device says of itself: of the names that it was asked for, those that are texts. The other
// result is the hash of its challenge, which is a text or data, as ours was; of step 3 it means nothing. The error is Malformed.
func readAttributes(content []byte, names []string) (map[string]string, [sha256.Size]byte, error) {
	const op = "ota.Continue"
	var none [sha256.Size]byte
	var top map[string]any
	if err := plistx.UnmarshalLimits(content, &top, plistx.Limits{Bytes: enroll.MaxMessage, Depth: 8, Elements: 500}); err != nil {
		return nil, none, mdm.Errorf(mdm.Malformed, op, "attributes: %w", err)
	}
	out := map[string]string{}
	for _, name := range names {
		value, ok := top[name].(string)
		if !ok || value == "" || name == challengeKey {
			continue // newer systems leave some out
		}
		if !plain(value) {
			return nil, none, mdm.Errorf(mdm.Malformed, op, "the attribute %s is too long or no plain text", name)
		}
		out[name] = value
	}
	for _, name := range []string{"UDID", "SERIAL"} { // these become identifiers
		if len(out[name]) > mdm.MaxIdentifier {
			return nil, none, mdm.Errorf(mdm.Malformed, op, "the attribute %s is too long", name)
		}
	}
	switch challenge := top[challengeKey].(type) {
	case string:
		return out, sha256.Sum256([]byte(challenge)), nil
	case []byte:
		return out, sha256.Sum256(challenge), nil
	}
	return out, none, nil
}

// plain reports whether a value is text that can be stored and shown.
func plain(value string) bool {
	return len(value) <= maxAttribute && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
}
