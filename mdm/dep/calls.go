package dep

import (
	"context"
	"time"
)

// DevicePage is a part of the devices, or of what changed.
type DevicePage struct {
	Devices      []Device
	Unreadable   int       // entries that were left out because they have no serial number
	Cursor       string    // to go on with
	FetchedUntil time.Time // up to when Apple has told everything; zero if it does not say
	More         bool      // whether there is more to fetch at once
}

// Assigned is the answer to AssignProfile.
type Assigned struct {
	Devices    map[string]string // the status of each serial number, as StatusSuccess
	RetryAfter time.Duration     // when Apple wants to be asked again about those that are StatusThrottled; 0 if it does not say
}

// What Apple says of a device in a call that is for several. Other words may come.
const (
	StatusSuccess            = "SUCCESS"
	StatusNotFound           = "NOT_FOUND"      // of details
	StatusNotAccessible      = "NOT_ACCESSIBLE" // the device is not on this server
	StatusFailed             = "FAILED"         // Apple's fault; to be tried again
	StatusThrottled          = "THROTTLED"      // to be tried again later (protocol 9)
	StatusOrgNotSupported    = "ORG_NOT_SUPPORTED"
	StatusDeviceNotSupported = "DEVICE_NOT_SUPPORTED"
	StatusAlreadyLocked      = "DEVICE_ALREADY_LOCKED"
)

// AccountDriven is where devices of account-driven enrollment find the server.
type AccountDriven struct {
	URL     string
	Updated time.Time
}

// Replacement says which device another one replaces.
type Replacement struct {
	Serial   string
	Original string // the serial number of the device that was replaced
	Date     time.Time
}

// BetaToken lets devices enroll in a beta program of Apple's.
type BetaToken struct {
	OS    string `json:"os"`
	Title string `json:"title"`
	Token string `json:"token"`
}

// Account returns what Apple knows of the organization and the server.
func (c *Client) Account(ctx context.Context) (Account, error) { return Account{}, errTodo }

// FetchDevices returns a page of all devices of the server.
func (c *Client) FetchDevices(ctx context.Context, cursor string, limit int) (DevicePage, error) {
	return DevicePage{}, errTodo
}

// SyncDevices returns a page of what changed.
func (c *Client) SyncDevices(ctx context.Context, cursor string, limit int) (DevicePage, error) {
	return DevicePage{}, errTodo
}

// DeviceDetails returns devices by their serial numbers.
func (c *Client) DeviceDetails(ctx context.Context, serials []string) (map[string]Device, error) {
	return nil, errTodo
}

// DefineProfile stores a profile with Apple.
func (c *Client) DefineProfile(ctx context.Context, p Profile) (uuid string, devices map[string]string, err error) {
	return "", nil, errTodo
}

// Profile returns a profile.
func (c *Client) Profile(ctx context.Context, uuid string) (Profile, error) {
	return Profile{}, errTodo
}

// AssignProfile gives devices a profile.
func (c *Client) AssignProfile(ctx context.Context, uuid string, serials []string) (Assigned, error) {
	return Assigned{}, errTodo
}

// UnassignProfile takes the profile away.
func (c *Client) UnassignProfile(ctx context.Context, uuid string, serials []string) (map[string]string, error) {
	return nil, errTodo
}

// Disown gives devices up for ever.
func (c *Client) Disown(ctx context.Context, serials []string) (map[string]string, error) {
	return nil, errTodo
}

// LockActivation locks a device.
func (c *Client) LockActivation(ctx context.Context, serial, escrowKey, message string) (status string, err error) {
	return "", errTodo
}

// BetaTokens returns the beta programs.
func (c *Client) BetaTokens(ctx context.Context) ([]BetaToken, error) { return nil, errTodo }

// SetAccountDrivenProfile sets the URL.
func (c *Client) SetAccountDrivenProfile(ctx context.Context, url string) error { return errTodo }

// AccountDrivenProfile returns it.
func (c *Client) AccountDrivenProfile(ctx context.Context) (AccountDriven, error) {
	return AccountDriven{}, errTodo
}

// RemoveAccountDrivenProfile removes it.
func (c *Client) RemoveAccountDrivenProfile(ctx context.Context) error { return errTodo }

// Replacement says which device this one replaces.
func (c *Client) Replacement(ctx context.Context, serial string) (Replacement, error) {
	return Replacement{}, errTodo
}
