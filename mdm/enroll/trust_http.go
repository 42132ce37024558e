package enroll

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/profile"
)

// contentTypeJSON is the media type of the service configuration, in Apple's spelling.
const contentTypeJSON = "application/json; charset=UTF8"

// Handler serves [ServiceConfigPath], the anchors and the trust profile, each at the path of its URL if that is on this host,
// a name without a port; with an empty host all of them. It answers GET and HEAD, to everybody, and 404 for any other path.
// What it serves is fixed when it is made. The error is a Malformed one: that of Validate, or that two of them
// would be at the same path.
func (c ServiceConfig) Handler(host string) (http.Handler, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := mounted{ServiceConfigPath: c.ConfigHandler()}
	for _, at := range []struct {
		url string
		h   http.Handler
	}{{c.AnchorCertsURL, c.AnchorsHandler()}, {c.TrustProfileURL, c.TrustProfileHandler()}} {
		u, err := url.Parse(at.url)
		if err != nil || at.url == "" || host != "" && !strings.EqualFold(u.Hostname(), host) {
			continue
		}
		if m[pathOf(u)] != nil {
			return nil, wrong("AnchorCertsURL and TrustProfileURL have the same path, and would both be served here")
		}
		m[pathOf(u)] = at.h
	}
	return m, nil
}

// ConfigHandler serves the service configuration, whatever the path. Call Validate first.
func (c ServiceConfig) ConfigHandler() http.Handler {
	body, err := c.document()
	return &fixed{contentType: contentTypeJSON, body: body, found: true, err: err}
}

// AnchorsHandler serves the list of anchors, whatever the path: exactly what goes into anchor_certs.
func (c ServiceConfig) AnchorsHandler() http.Handler {
	body, err := c.anchors()
	return &fixed{contentType: contentTypeJSON, body: body, found: true, err: err}
}

// TrustProfileHandler serves the trust profile, whatever the path, and 404 if none is needed. The profile is not signed: before
// it is installed nothing would be there to verify it by.
func (c ServiceConfig) TrustProfileHandler() http.Handler {
	if len(c.Anchors) == 0 {
		return &fixed{}
	}
	p, err := c.TrustProfile()
	h := &fixed{contentType: profile.ContentType, name: "trust.mobileconfig", found: true, err: err}
	if err == nil {
		h.body, h.err = p.Encode()
	}
	return h
}

// mounted are handlers by their exact path.
type mounted map[string]http.Handler

func (m mounted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := m[pathOf(r.URL)]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// fixed serves a body that does not change.
type fixed struct {
	contentType, name string
	body              []byte
	found             bool
	err               error
}

func (f *fixed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	case !f.found:
		http.NotFound(w, r)
		return
	case f.err != nil:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(f.body)))
	if f.name != "" {
		w.Header().Set("Content-Disposition", `attachment; filename="`+f.name+`"`)
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(f.body)
	}
}
