package profile

import (
	"maps"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// Split makes a profile with several accounts into one for each account and one for the rest, so that an account can be
// changed without the others' passwords: Apple's best practices ask for one account in a profile. A profile with one
// account or none is returned as it is.
//
// The rest comes first and keeps the identifier of p; it is left out if there is none, and then the installed profile has
// to be removed by RemoveProfile. Install the accounts after it, in this order.
//
// The profile of an account is called "<identifier of p>.account.<name>". The name is the account's PayloadIdentifier
// without the identifier of p before it, so it lasts while the account does, whatever comes or goes around it. The
// account keeps its PayloadIdentifier and PayloadUUID. With it go the payloads that it names by UUID, and those that they
// name, as its client certificate: each under an identifier and a UUID that follow from those of the new profile and of
// the payload, so that accounts which shared a certificate have one each. An identity that is asked for with SCEP or ACME
// is then asked for once for each; where challenges serve once, give each its own. A payload that nothing but accounts
// name is not in the rest. A removal password locks every one of the profiles.
//
// Everything in the header but identifier and UUID is carried over: scope, consent, expiry, removal, keys in Extra; the
// name is that of the account payload if it has one. The same profile always gives the same result, which shares with p
// only the bytes of data. The error is a Malformed one: p is encrypted, an account has no PayloadIdentifier, two have one
// name, or their profiles would hold ten thousand payloads or a million values.
func Split(p *Profile) ([]*Profile, error) {
	const op = "profile.Split"
	items, err := p.items(op)
	if err != nil {
		return nil, err
	}
	s := newSplitting(p, items)
	if len(s.accounts) < 2 {
		return []*Profile{p}, nil
	}
	var out []*Profile
	if rest := s.rest(); rest != nil {
		out = append(out, rest)
	}
	names := map[string]bool{}
	for _, i := range s.accounts {
		if !items[i].named {
			return nil, mdm.Errorf(mdm.Malformed, op, "%s: an account needs a PayloadIdentifier, to name its profile by", joined(i, ""))
		}
		moved := s.moved(i)
		if !s.spend(i, moved) {
			return nil, mdm.Errorf(mdm.Malformed, op, "the accounts have %d payloads or %d values and more among them", maxParts, maxValues)
		}
		account := s.account(i, moved)
		if names[account.Identifier] {
			return nil, mdm.Errorf(mdm.Malformed, op, "two accounts would be in profiles of one name, %s", account.Identifier)
		}
		names[account.Identifier] = true
		out = append(out, account)
	}
	for _, part := range out {
		if _, err := part.content(); err != nil {
			return nil, mdm.Errorf(mdm.Malformed, op, "%s: %w", part.Identifier, err)
		}
	}
	return out, nil
}

// maxParts and maxValues bound the payloads of all accounts and what is in them: each gets copies of what it names, and hostile
// profiles name all they have. A profile that is read has 200,000 values itself.
const (
	maxParts  = 10_000
	maxValues = 1_000_000
)

type splitting struct {
	profile  *Profile
	items    []item
	named    [][]int // by place: what it names, accounts left out, which do not go with others
	accounts []int
	locks    []int // those that lock the profile that they are in

	parts, values int // of the accounts so far
}

func newSplitting(p *Profile, items []item) *splitting {
	s := &splitting{profile: p, items: items, named: make([][]int, len(items))}
	at := places(items)
	for i := range items {
		for _, to := range items[i].references(at) {
			if to != i && items[to].class != Account {
				s.named[i] = append(s.named[i], to)
			}
		}
		if items[i].class == Account {
			s.accounts = append(s.accounts, i)
		}
		if s.lock(i) {
			s.locks = append(s.locks, i)
		}
	}
	return s
}

// spend counts what the profile of an account will hold, and reports whether it is still allowed.
func (s *splitting) spend(account int, moved []int) bool {
	s.parts += 1 + len(moved)
	s.values += valuesIn(s.items[account].keys)
	for _, n := range moved {
		if s.values < maxValues {
			s.values += valuesIn(s.items[n].keys)
		}
	}
	return s.parts < maxParts && s.values < maxValues
}

// valuesIn counts a value and those in it.
func valuesIn(tree any) int {
	n := 1
	switch v := tree.(type) {
	case map[string]any:
		for _, value := range v {
			n += valuesIn(value)
		}
	case []any:
		for _, value := range v {
			n += valuesIn(value)
		}
	}
	return n
}

// moved returns the places of what goes with an account, besides itself, in order.
func (s *splitting) moved(account int) []int {
	out := slices.Concat(s.needs(account), s.locks)
	slices.Sort(out)
	return slices.Compact(out)
}

// needs returns the places of what payloads name, at any distance, in the order of the profile.
func (s *splitting) needs(from ...int) []int {
	seen := map[int]bool{}
	var out []int
	for open := slices.Clone(from); len(open) > 0; {
		i := open[len(open)-1]
		open = open[:len(open)-1]
		for _, to := range s.named[i] {
			if !seen[to] {
				seen[to] = true
				out, open = append(out, to), append(open, to)
			}
		}
	}
	slices.Sort(out)
	return out
}

// lock reports whether a payload locks the profile that it is in.
func (s *splitting) lock(i int) bool {
	return s.items[i].payload.PayloadType() == TypeProfileRemovalPassword
}

// rest returns the profile of what belongs to no account, nil if there is nothing but a lock.
func (s *splitting) rest() *Profile {
	taken := map[int]bool{}
	for _, i := range slices.Concat(s.accounts, s.needs(s.accounts...)) {
		taken[i] = true
	}
	var own []int
	for i := range s.items {
		if !taken[i] && !s.lock(i) {
			own = append(own, i)
		}
	}
	keep := map[int]bool{}
	for _, i := range slices.Concat(own, s.needs(own...)) {
		keep[i] = true
	}
	if len(keep) == 0 {
		return nil
	}
	out := s.header(s.profile.Identifier)
	out.UUID = s.profile.UUID
	for i, it := range s.items {
		if keep[i] || s.lock(i) {
			out.Payloads = append(out.Payloads, it.kept(nil))
		}
	}
	return out
}

// account returns the profile of one account, with what goes with it.
func (s *splitting) account(i int, moved []int) *Profile {
	account := s.items[i]
	out := s.header(s.profile.Identifier + ".account." + s.name(account))
	out.DisplayName = text(account.keys, "PayloadDisplayName")
	if out.DisplayName == "" {
		out.DisplayName = s.profile.DisplayName
	}
	names, renamed := map[int]string{}, map[string]string{}
	for _, n := range moved {
		it := s.items[n]
		names[n] = out.Identifier + "." + s.name(it)
		seed := names[n] + "." + it.uuid // a new UUID of the original makes a new one here
		if s.lock(n) {
			names[n] = out.Identifier + ".lock"
			seed = names[n] // nothing names it, so it need not follow the original
		}
		renamed[strings.ToUpper(it.uuid)] = UUID(seed)
	}
	for _, n := range moved {
		it := s.items[n]
		out.Payloads = append(out.Payloads, it.with(names[n], renamed[strings.ToUpper(it.uuid)], renamed))
	}
	out.Payloads = append(out.Payloads, account.kept(renamed))
	return out
}

// name is the identifier of a payload without that of the profile before it. One that is derived from the payload's place
// would not last.
func (s *splitting) name(it item) string {
	if !it.named {
		return it.payload.PayloadType() + "." + it.uuid
	}
	return strings.TrimPrefix(it.identifier, s.profile.Identifier+".")
}

// header returns a profile of another identifier with what is said about p as a whole.
func (s *splitting) header(identifier string) *Profile {
	out := *s.profile
	out.Identifier, out.UUID, out.Payloads = identifier, "", nil
	out.ConsentText, out.Extra = maps.Clone(out.ConsentText), maps.Clone(out.Extra)
	return &out
}
