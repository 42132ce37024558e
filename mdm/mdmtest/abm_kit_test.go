package mdmtest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// abmNow is a clock that tests set.
type abmNow struct {
	mu sync.Mutex
	at time.Time
}

func newABMNow() *abmNow { return &abmNow{at: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)} }

func (n *abmNow) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

func (n *abmNow) add(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = n.at.Add(d)
}

func startABM(t testing.TB, c mdmtest.ABMConfig) *mdmtest.ABM {
	abm := c.Start()
	t.Cleanup(abm.Close)
	return abm
}

// abmClient is a small client of one server; it is no model for a real one.
type abmClient struct {
	t       testing.TB
	url     string
	http    *http.Client
	token   mdmtest.ABMToken
	clock   func() time.Time
	session string
	header  http.Header
}

func newABMClient(t testing.TB, abm *mdmtest.ABM, s *mdmtest.ABMServer, clock func() time.Time) *abmClient {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: abm.RootCAs()}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	if clock == nil {
		clock = time.Now
	}
	c := &abmClient{t: t, url: abm.URL(), http: &http.Client{Transport: transport}, token: abm.Credentials(s), clock: clock,
		header: http.Header{"User-Agent": {"mdmtest/1.0"}, "X-Server-Protocol-Version": {"10"}, "Content-Type": {"application/json;charset=UTF8"}}}
	return c
}

// oauth returns the parameters of a request for a session, but for the signature.
func (c *abmClient) oauth() map[string]string {
	return map[string]string{"oauth_consumer_key": c.token.ConsumerKey, "oauth_token": c.token.AccessToken, "oauth_signature_method": "HMAC-SHA1",
		"oauth_timestamp": strconv.FormatInt(c.clock().Unix(), 10), "oauth_nonce": rand.Text(), "oauth_version": "1.0"}
}

// sign makes the Authorization header, as RFC 5849 has it.
func (c *abmClient) sign(params map[string]string, method, target string) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var pairs, head []string
	for k, v := range params {
		pairs = append(pairs, escape(k)+"="+escape(v))
		head = append(head, k+`="`+escape(v)+`"`)
	}
	sort.Strings(pairs)
	mac := hmac.New(sha1.New, []byte(escape(c.token.ConsumerSecret)+"&"+escape(c.token.AccessSecret)))
	fmt.Fprintf(mac, "%s&%s&%s", method, escape(target), escape(strings.Join(pairs, "&")))
	head = append(head, `oauth_signature="`+escape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))+`"`)
	return `OAuth realm="ADM", ` + strings.Join(head, ", ")
}

// ask makes one request.
func (c *abmClient) ask(method, path string, body any, header http.Header) (int, string, http.Header) {
	status, text, h, err := c.try(method, path, body, header)
	require.NoError(c.t, err)
	return status, text, h
}

func (c *abmClient) try(method, path string, body any, header http.Header) (int, string, http.Header, error) {
	var reader io.Reader
	if body != nil {
		data, ok := body.([]byte)
		if !ok {
			var err error
			if data, err = json.Marshal(body); err != nil {
				return 0, "", nil, err
			}
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequest(method, c.url+path, reader)
	if err != nil {
		return 0, "", nil, err
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if c.session != "" && r.Header["X-Adm-Auth-Session"] == nil {
		r.Header.Set("X-ADM-Auth-Session", c.session)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if s := resp.Header.Get("X-ADM-Auth-Session"); s != "" {
		c.session = s
	}
	return resp.StatusCode, string(data), resp.Header, err
}

// login begins a session.
func (c *abmClient) login() (int, string) {
	c.session = ""
	status, text, _ := c.ask("GET", "/session", nil, http.Header{"Authorization": {c.sign(c.oauth(), "GET", c.url+"/session")}})
	var answer struct {
		Token string `json:"auth_session_token"`
	}
	if status == http.StatusOK {
		require.NoError(c.t, json.Unmarshal([]byte(text), &answer))
		require.NotEmpty(c.t, answer.Token)
		c.session = answer.Token
	}
	return status, text
}

// call makes a call that has to succeed, in a session that is begun at need.
func (c *abmClient) call(method, path string, body, into any) {
	c.t.Helper()
	if c.session == "" {
		status, text := c.login()
		require.Equal(c.t, 200, status, text)
	}
	status, text, _ := c.ask(method, path, body, nil)
	require.Equal(c.t, 200, status, text)
	if into != nil {
		require.NoError(c.t, json.Unmarshal([]byte(text), into), text)
	}
}

// refused makes a call that has to be refused.
func (c *abmClient) refused(status int, code, method, path string, body any) {
	c.t.Helper()
	got, text, _ := c.ask(method, path, body, nil)
	require.Equal(c.t, code, text)
	require.Equal(c.t, status, got)
}

type abmPage struct {
	Cursor  string       `json:"cursor"`
	Devices []dep.Device `json:"devices"`
	Until   time.Time    `json:"fetched_until"`
	More    any          `json:"more_to_follow"`
}

func (p abmPage) more() bool { return p.More == true || p.More == "true" }

// ops tells of a page in words: serial numbers and operations.
func (p abmPage) ops() string {
	var words []string
	for _, d := range p.Devices {
		words = append(words, strings.Trim(d.SerialNumber+" "+d.OpType, " "))
	}
	return strings.Join(words, ", ")
}

type object map[string]any

// page asks for a page.
func (c *abmClient) page(path, cursor string, limit int) abmPage {
	c.t.Helper()
	body := object{}
	if cursor != "" {
		body["cursor"] = cursor
	}
	if limit > 0 {
		body["limit"] = limit
	}
	var p abmPage
	c.call("POST", path, body, &p)
	return p
}

// all asks for pages until no more follow.
func (c *abmClient) all(path, cursor string, limit int) (devices []dep.Device, last string) {
	c.t.Helper()
	for {
		p := c.page(path, cursor, limit)
		devices, cursor = append(devices, p.Devices...), p.Cursor
		if !p.more() {
			return devices, cursor
		}
	}
}

const (
	abmFetch = "/server/devices"
	abmSync  = "/devices/sync"
)
