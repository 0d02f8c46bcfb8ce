package health

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"pdns-distribute/roles/status"
)

var (
	//go:embed templates/health.html
	pageTemplate string

	page = template.Must(template.New("health").Funcs(template.FuncMap{
		"ago": status.Ago, "behind": status.Behind, "dash": status.Dash,
	}).Parse(pageTemplate))
)

// pageDocument is what the page shows.
type pageDocument struct {
	status.Document
	Title, Here string
	InOrder     bool
}

// servePage shows the state of the installation to a person. It needs no script, and shows nothing that
// /distribute/v1/status does not.
func (h *Health) servePage(w http.ResponseWriter, _ *http.Request) {
	document := h.document()
	d := pageDocument{Document: document, Here: h.ID, InOrder: document.InOrder() == nil}
	d.Title = "in order: pdns-distribute"
	if !d.InOrder {
		d.Title = "NOT in order: pdns-distribute"
	}
	var text bytes.Buffer
	if err := page.Execute(&text, d); err != nil {
		h.Log.Error().Err(err).Msg("failed to render the page")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(text.Bytes())
}
