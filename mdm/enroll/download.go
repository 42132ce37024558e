package enroll

import (
	"context"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/profile"
)

// Download is the way in by direct installation: a user logs in, gets an enrollment profile and installs it. Each GET makes a
// profile of its own with a challenge that is good once, so the same page may be loaded again. Serve it over TLS only, without
// asking for a client certificate, which nobody has yet.
//
// The same file can be handed out in any other way, by mail or with Apple Configurator: [Recipe.Bytes] makes it.
type Download struct {
	// Profile makes the file, as [Recipe.Bytes].
	Profile func(ctx context.Context, f For) ([]byte, error)
	// Login says who asks, before anything is made. It may answer itself, as with a redirect to a login page or a 403, and
	// then returns false. Required: who wants to let in everybody says so, with [Anybody].
	Login func(w http.ResponseWriter, r *http.Request) (f For, ok bool)

	Filename string       // empty: enroll.mobileconfig
	Logger   *slog.Logger // nil: none
}

// Anybody is a Login that lets in everybody.
func Anybody(http.ResponseWriter, *http.Request) (For, bool) { return For{}, true }

// ServeHTTP implements [http.Handler]. HEAD is answered without asking Login: it makes and uses up nothing, so that a program
// that looks at links does no harm.
func (d *Download) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodHead:
		d.header(w)
	case http.MethodGet:
		d.get(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	}
}

func (d *Download) get(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // also for what Login answers
	if d.Login == nil || d.Profile == nil {
		d.fail(w, r, mdm.Errorf(mdm.Internal, "enroll.Download", "Login and Profile are required"))
		return
	}
	f, ok := d.Login(w, r)
	if !ok {
		return
	}
	data, err := d.Profile(r.Context(), f)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.header(w)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// header says what a GET brings. The type is what makes a browser offer to install it.
func (d *Download) header(w http.ResponseWriter) {
	name := d.Filename
	if name == "" {
		name = "enroll.mobileconfig"
	}
	h := w.Header()
	h.Set("Content-Type", profile.ContentType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// fail answers an error. Its text stays here.
func (d *Download) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch mdm.CodeOf(err) {
	case mdm.Forbidden:
		status = http.StatusForbidden
	case mdm.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "30")
	}
	if d.Logger != nil {
		d.Logger.LogAttrs(r.Context(), slog.LevelError, "no enrollment profile", slog.Any("error", err))
	}
	http.Error(w, http.StatusText(status), status)
}
