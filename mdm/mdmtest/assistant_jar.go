package mdmtest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
)

// jar keeps cookies as a browser does (RFC 6265bis): the standard library's knows neither SameSite nor the prefixes of names. It is for
// one request at a time.
type jar struct {
	http.CookieJar
	sameSite map[string]http.SameSite // by site and name
	from     string                   // the site whose page sends the request; empty: none, it is the first
	method   string                   // of the request
}

func newJar() (*jar, error) {
	kept, err := cookiejar.New(nil)
	return &jar{CookieJar: kept, sameSite: map[string]http.SameSite{}}, err
}

// siteOf returns what counts as one site.
func siteOf(u *url.URL) string { return lastLabels(hostOf(u)) }

// sends says which request comes next; page is where it comes from, nil if it is the first.
func (j *jar) sends(method string, page *url.URL) {
	j.method, j.from = method, ""
	if page != nil {
		j.from = siteOf(page)
	}
}

// SetCookies takes cookies, but for those whose prefix says that they must not be as they are.
func (j *jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		host := strings.HasPrefix(c.Name, "__Host-")
		if (host || strings.HasPrefix(c.Name, "__Secure-")) && !c.Secure || host && (c.Path != "/" || c.Domain != "") {
			continue
		}
		j.sameSite[siteOf(u)+" "+c.Name] = c.SameSite
		j.CookieJar.SetCookies(u, []*http.Cookie{c})
	}
}

// Cookies returns those that go to u with the request. One that does not say SameSite goes with each, as in WebKit.
func (j *jar) Cookies(u *url.URL) []*http.Cookie {
	site, cookies := siteOf(u), j.CookieJar.Cookies(u)
	if j.from == "" || j.from == site {
		return cookies
	}
	return slices.DeleteFunc(cookies, func(c *http.Cookie) bool {
		switch j.sameSite[site+" "+c.Name] {
		case http.SameSiteStrictMode:
			return true
		case http.SameSiteLaxMode:
			return j.method != http.MethodGet
		}
		return false
	})
}
