package ddm

import (
	"encoding/json"
	"time"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
)

// SyncCollapse is the collapse key of the commands of [SyncOrder].
const SyncCollapse = "ddm.sync"

// Tokens returns the answer to the endpoint "tokens". Its timestamp is in UTC and has no fraction, as Apple's documentation
// of TokensResponse asks.
func (s *Set) Tokens(at time.Time) TokensResponse {
	return TokensResponse{SyncTokens: TokensResponseSynchronizationTokens{DeclarationsToken: s.token, Timestamp: at.UTC().Format("2006-01-02T15:04:05Z")}}
}

// SyncCommand returns the command that tells an enrollment to synchronize. It brings the tokens of s, so that the device need not
// ask for them; if s is nil, none, and the device asks. The first one switches declarative management on, for good: an empty set
// is what there is of "off".
func SyncCommand(s *Set, at time.Time) command.DeclarativeManagement {
	if s == nil {
		return command.DeclarativeManagement{}
	}
	data, _ := json.Marshal(s.Tokens(at)) // of texts: cannot fail
	return command.DeclarativeManagement{Data: data}
}

// SyncOrder returns an order of [SyncCommand]. It takes the place of such commands that were not sent yet, so that one is on the
// queue however often the set changes. Where several may change a set at once, s is nil: else the last to order may bring the
// token that the device has already, in place of a newer one.
func SyncOrder(s *Set, at time.Time, to ...mdm.EnrollmentID) command.Order {
	return command.Order{Command: SyncCommand(s, at), To: mdm.IDs(to...), Priority: command.Profiles, Collapse: SyncCollapse, Supersede: true}
}

// SyncDue reports whether an enrollment has to be told to synchronize: it was told of another token last, or never (told is empty)
// and there is something for it. Who keeps what was told keeps it per channel and generation: a device that enrolled anew knows
// nothing. [ToldBy] reads it from a command.
func SyncDue(told string, s *Set) bool {
	if told == "" {
		return s.Len() > 0
	}
	return told != s.Token()
}

// ToldBy returns the token that a command of [SyncCommand] brings, empty if it brings none.
func ToldBy(c command.DeclarativeManagement) string {
	var tokens TokensResponse
	if err := json.Unmarshal(c.Data, &tokens); err != nil {
		return ""
	}
	return tokens.SyncTokens.DeclarationsToken
}
