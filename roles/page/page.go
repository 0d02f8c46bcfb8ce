package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/status"
)

//go:embed assets templates
var files embed.FS

// Page answers what browsers ask for. It is safe for concurrent use.
type Page struct {
	here      string // the health role that answers
	source    Source
	history   *History
	log       zerolog.Logger
	templates *template.Template
	searches  *rate.Limiter
	prepare   sync.Once

	mu       sync.Mutex // guards all below
	overview overview   // as of At, for all who ask within a moment
}

// How many searches there may be a second, and at once: each reads all names.
const (
	searchesEach = 20
	searchesOnce = 40
)

// New returns the page of a health role.
func New(here string, source Source, history *History, log zerolog.Logger) *Page {
	p := &Page{
		here: here, source: source, history: history, log: log,
		searches: rate.NewLimiter(searchesEach, searchesOnce),
	}
	p.templates = template.Must(template.New("").Funcs(template.FuncMap{
		"ago": ago, "moment": moment, "expires": expires, "dash": status.Dash, "digest": status.Short,
		"serial": serial, "short": short, "number": number, "label": label, "asset": assetPath,
		"content": p.content,
		"load":    func(load float64) string { return fmt.Sprintf("%.1f", load) },
	}).ParseFS(files, "templates/*.html"))
	return p
}

// policy lets in what comes from this listener, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Paths are the patterns that Handler answers.
var Paths = []string{"/", "/zones", "/zone", "/node", "/alarm", assetsPath + "*"}

// compression is what browsers get at what cost: a fleet of 300 is 300 KB of text that is much the same.
const compression = 4

// Handler answers at Paths.
func (p *Page) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(middleware.Compress(compression), guard)
	r.Get("/", p.serveOverview)
	r.Get("/zones", p.serveZones)
	r.Get("/zone", p.serveZone)
	r.Get("/node", p.serveNode)
	r.Get("/alarm", p.serveAlarm)
	r.Get(assetsPath+"{name}", serveAsset)
	return r
}

func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sheet is what each answer has beside its content.
type sheet struct {
	Here    string
	Title   string
	InOrder bool
	At      time.Time
	Query   string
	Name    string // of the template of the content
	Poll    int    // milliseconds after which the script fetches the content again; 0: never
	Polls   int    // how often it does; 0: without end
	Refresh bool   // without a script the browser does
	Content any
}

// part is the query parameter by which the script asks for the content alone.
const part = "part"

// render writes a page, or its content alone where the script asks for it.
func (p *Page) render(w http.ResponseWriter, r *http.Request, code int, s sheet) {
	s.Here = p.here
	name := "sheet"
	if r.URL.Query().Has(part) {
		name = "live"
	}
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, s); err != nil {
		p.log.Error().Err(err).Str("page", s.Name).Msg("failed to render a page")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(text.Bytes())
}

// content renders one of the templates by name, which a template itself cannot.
func (p *Page) content(s sheet) (template.HTML, error) {
	var text bytes.Buffer
	err := p.templates.ExecuteTemplate(&text, s.Name, s)
	return template.HTML(text.String()), err //nolint:gosec // a template has escaped it
}

const livePoll = 2000

func (p *Page) serveOverview(w http.ResponseWriter, r *http.Request) {
	p.prepare.Do(p.source.Prepare)
	o := p.seen()
	p.render(w, r, http.StatusOK, sheet{
		Title: o.Title(), InOrder: o.InOrder, At: o.At, Name: "overview", Poll: livePoll, Refresh: true, Content: o,
	})
}

func (p *Page) serveNode(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	o := p.seen()
	row, is := o.node(id)
	s := sheet{Title: id, InOrder: o.InOrder, At: o.At, Name: "node", Poll: livePoll, Refresh: true, Content: row}
	if !is {
		s.Name, s.Poll, s.Refresh, s.Content = "nothing", 0, false, "No node is called "+status.Printable(id)+"."
		p.render(w, r, http.StatusNotFound, s)
		return
	}
	p.render(w, r, http.StatusOK, s)
}

func (p *Page) serveZones(w http.ResponseWriter, r *http.Request) {
	query := strings.TrimSpace(r.URL.Query().Get("q"))
	o := p.seen()
	s := sheet{Title: "zones", InOrder: o.InOrder, At: o.At, Query: query, Name: "zones"}
	if !p.searches.Allow() {
		s.Name, s.Content = "nothing", "Too many searches at once; try again in a moment."
		p.render(w, r, http.StatusTooManyRequests, s)
		return
	}
	s.Content = p.find(query)
	p.render(w, r, http.StatusOK, s)
}

// zonePoll is how often a zone is asked for again while somebody looks at it, and zonePolls for how long.
const (
	zonePoll  = 5000
	zonePolls = 60
)

func (p *Page) serveZone(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("name")
	o := p.seen()
	s := sheet{Title: text, InOrder: o.InOrder, At: o.At, Name: "nothing"}
	name, err := zone.ParseName(text)
	if err != nil {
		s.Content = "This is no name of a zone: " + status.Printable(text)
		p.render(w, r, http.StatusBadRequest, s)
		return
	}
	z, err := p.source.Look(r.Context(), name)
	switch {
	case errors.Is(err, ErrBusy):
		s.Content = err.Error()
		p.render(w, r, http.StatusTooManyRequests, s)
		return
	case err != nil:
		s.Content = "The zone cannot be looked at: " + err.Error()
		p.render(w, r, http.StatusServiceUnavailable, s)
		return
	}
	code := http.StatusOK
	if z.Published.Unheard() {
		code = http.StatusNotFound
	}
	s.Title, s.At, s.Query, s.Name = z.label(), z.At, z.label(), "zone"
	s.Poll, s.Polls, s.Content = zonePoll, zonePolls, newZoneView(z, p.history.ChangesOf(name))
	p.render(w, r, code, s)
}

const assetsPath = "/page/"

// asset is one file of the page; the sum of its content is in its address, so that browsers may keep it.
type asset struct {
	content     []byte
	contentType string
	path        string
}

var assets = map[string]asset{
	"page.css": newAsset("page.css", "text/css; charset=utf-8"),
	"page.js":  newAsset("page.js", "text/javascript; charset=utf-8"),
	"good.svg": newAsset("good.svg", "image/svg+xml"),
	"bad.svg":  newAsset("bad.svg", "image/svg+xml"),
}

func newAsset(name, contentType string) asset {
	content, err := files.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(content)
	return asset{content, contentType, assetsPath + name + "?" + hex.EncodeToString(sum[:6])}
}

func assetPath(name string) string { return assets[name].path }

func serveAsset(w http.ResponseWriter, r *http.Request) {
	a, is := assets[chi.URLParam(r, "name")]
	if !is {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	if r.URL.RawQuery != "" {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.content)
}
