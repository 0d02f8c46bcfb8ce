package roles

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
)

var (
	//go:embed templates/health.html
	pageTemplate string

	page = template.Must(template.New("health").Funcs(template.FuncMap{"ago": ago, "behind": behind, "dash": dash}).Parse(pageTemplate))
)

// pageDocument is what the page shows.
type pageDocument struct {
	statusDocument
	Title, Here string
	InOrder     bool
}

// servePage shows how things are to a person. It needs no script, and says nothing that /distribute/v1/status does not.
func (h *Health) servePage(w http.ResponseWriter, _ *http.Request) {
	status := statusOf(h.board(), h.leaseHolder(), h.present())
	d := pageDocument{statusDocument: status, Here: h.id, InOrder: status.inOrder() == nil, Title: "in order: pdns-distribute"}
	if !d.InOrder {
		d.Title = "NOT in order: pdns-distribute"
	}
	var text bytes.Buffer
	if err := page.Execute(&text, d); err != nil {
		h.log.Error().Err(err).Msg("the page cannot be made")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(text.Bytes())
}
