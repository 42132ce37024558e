package dep

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/gomdm/applemdm/internal/clip"
)

// Account is the organization and the server that a token is for. (Apple: AccountDetail.)
type Account struct {
	ServerName string
	ServerUUID string
	AdminID    string // the email address of who fetched the token
	OrgName    string
	OrgEmail   string
	OrgPhone   string
	OrgAddress string
	OrgID      string // this and the next are of protocol 3
	OrgIDHash  string
	OrgType    string // "org", "edu", "tvprovider"
	OrgVersion string // "v1", "v2"
	URLs       []URLLimit

	Extra map[string]json.RawMessage // keys that are not above, or whose values do not fit
}

// URLLimit is how much one call may ask for.
type URLLimit struct {
	URI     string   `json:"uri"`
	Methods []string `json:"http_method"`
	Limit   struct {
		Default int `json:"default"`
		Maximum int `json:"maximum"`
	} `json:"limit"`
}

var accountKeys = []string{
	"server_name", "server_uuid", "admin_id", "org_name", "org_email", "org_phone", "org_address", "org_id", "org_id_hash",
	"org_type", "org_version",
}

func (a *Account) field(key string) any {
	switch key {
	case "server_name":
		return &a.ServerName
	case "server_uuid":
		return &a.ServerUUID
	case "admin_id":
		return &a.AdminID
	case "org_name":
		return &a.OrgName
	case "org_email":
		return &a.OrgEmail
	case "org_phone":
		return &a.OrgPhone
	case "org_address":
		return &a.OrgAddress
	case "org_id":
		return &a.OrgID
	case "org_id_hash":
		return &a.OrgIDHash
	case "org_type":
		return &a.OrgType
	case "org_version":
		return &a.OrgVersion
	}
	return nil
}

// UnmarshalJSON reads an account in Apple's form. A value of an odd type is no error: it goes into Extra. What was called
// facilitator_id is read as AdminID, too.
func (a *Account) UnmarshalJSON(data []byte) (err error) {
	*a = Account{}
	if a.Extra, err = decodeObject(data, a); err != nil {
		return err
	}
	var urls []URLLimit
	if json.Unmarshal(a.Extra["urls"], &urls) == nil {
		a.URLs = urls
		delete(a.Extra, "urls")
	}
	if a.AdminID == "" && decodeValue(a.Extra["facilitator_id"], &a.AdminID) {
		delete(a.Extra, "facilitator_id")
	}
	if len(a.Extra) == 0 {
		a.Extra = nil
	}
	return nil
}

// MarshalJSON writes the account in Apple's form, with Extra.
func (a Account) MarshalJSON() ([]byte, error) {
	extra := a.Extra
	if len(a.URLs) > 0 {
		urls, err := json.Marshal(a.URLs)
		if err != nil {
			return nil, err
		}
		extra = maps.Clone(a.Extra)
		if extra == nil {
			extra = map[string]json.RawMessage{}
		}
		extra["urls"] = urls
	}
	return encodeObject(&a, accountKeys, extra)
}

// bounded returns the account without what would be too much to keep.
func (a Account) bounded() Account {
	a.Extra = bound(&a, accountKeys, a.Extra)
	a.URLs = slices.Clone(a.URLs[:min(len(a.URLs), maxURLs)])
	for i := range a.URLs {
		u := &a.URLs[i]
		u.URI = clip.Text(u.URI, maxName, maxName-len("…"))
		u.Methods = slices.Clone(u.Methods[:min(len(u.Methods), maxList)])
		for n := range u.Methods {
			u.Methods[n] = clip.Text(u.Methods[n], maxSerial, maxSerial-len("…"))
		}
	}
	return a
}

const maxURLs = 64 // of an account; Apple tells of a few

// Limits is how much a call may ask for, by what Account told: Limits(account.URLs).
type Limits []URLLimit

// Max returns the most that one call may ask for: what Apple says for the method and the path, as "/server/devices"; at most
// [MaxBatch], which it also is if Apple says nothing.
func (l Limits) Max(method, path string) int {
	most := MaxBatch
	for _, u := range l {
		if uriPath(u.URI) != path || u.Limit.Maximum <= 0 {
			continue
		}
		if len(u.Methods) == 0 || slices.ContainsFunc(u.Methods, func(m string) bool { return strings.EqualFold(m, method) }) {
			return min(u.Limit.Maximum, MaxBatch)
		}
		most = min(most, u.Limit.Maximum) // of another method: better than nothing
	}
	return most
}

// uriPath returns the path of what Apple calls a URI, which is one already or has a host.
func uriPath(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	return "/" + strings.Trim(u.Path, "/")
}
