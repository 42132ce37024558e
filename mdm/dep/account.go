package dep

import "encoding/json"

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

	Extra map[string]json.RawMessage
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
