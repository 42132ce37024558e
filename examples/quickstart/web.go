package main

import (
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
)

//go:embed static
var static embed.FS

var pages = template.Must(template.ParseFS(static, "static/*.html"))

// staticFiles serves style and script; the pages themselves are made from templates.
func staticFiles() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return http.StripPrefix("/static/", http.FileServerFS(files))
}

// page writes an HTML page that may load nothing from elsewhere.
func (a *app) page(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		a.log.LogAttrs(r.Context(), slog.LevelError, "page", slog.String("name", name), slog.Any("error", err))
	}
}

func (a *app) enrollPage(w http.ResponseWriter, r *http.Request) {
	a.page(w, r, http.StatusOK, "enroll.html", map[string]any{"Base": a.base, "OwnTrust": a.options.tlsCert == ""})
}

func (a *app) internal(w http.ResponseWriter, r *http.Request, err error) {
	a.log.LogAttrs(r.Context(), slog.LevelError, r.Method+" "+r.URL.Path, slog.Any("error", err))
	http.Error(w, "internal error; see the server's log", http.StatusInternalServerError)
}
