package mdmtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// Whatever is asked, the ABM answers, and what is well answered is JSON.
func FuzzABMCall(f *testing.F) {
	abm := startABM(f, mdmtest.ABMConfig{})
	hq := abm.Server("HQ")
	abm.AddMany(hq, 50)
	c := newABMClient(f, abm, hq, nil)
	c.login()
	_, cursor := c.all(abmFetch, "", 20)
	const serials = `{"profile_uuid":"x","devices":["MT0"]}`
	for i, body := range []string{`{"cursor":"` + cursor + `","limit":3}`, `{"cursor":"AAAA"}`, serials, `{"profile_name":"P","url":"https://h/","anchor_certs":["AA=="]}`,
		`{"device":"x","escrow_key":"zz"}`, `{"mdm_service_discovery_url":"https://h"}`, `[`, ``} {
		f.Add(uint8(i), []byte(body), `OAuth realm="ADM", oauth_nonce="%zz", oauth_token="a"`, "x=1")
	}
	routes := []string{"POST " + abmSync, "POST " + abmFetch, "PUT /profile/devices", "POST /profile", "POST /device/activationlock",
		"POST /account-driven-enrollment/profile", "DELETE /profile/devices", "GET /session", "POST /devices", "GET /profile", "GET /device/replacementDetails"}
	f.Fuzz(func(t *testing.T, which uint8, body []byte, authorization, query string) {
		method, path, _ := strings.Cut(routes[int(which)%len(routes)], " ")
		for _, r := range query + authorization {
			if r < '!' && r != ' ' || r > '~' || r == '#' || r == utf8.RuneError {
				return // no request
			}
		}
		var data any
		if method != http.MethodGet {
			data = body
		}
		status, text, _, err := c.try(method, path+"?"+strings.ReplaceAll(query, " ", "+"), data, http.Header{"Authorization": {authorization}})
		if err != nil {
			t.Fatalf("%s %s %q: %v", method, path, body, err)
		}
		if status == http.StatusOK && !json.Valid([]byte(text)) {
			t.Fatalf("%s %s %q: no JSON: %s", method, path, body, text)
		}
	})
}
