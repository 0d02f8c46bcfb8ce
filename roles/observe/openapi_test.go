package observe

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// docs/openapi.json has all that each role answers.
func TestRoutesAreDescribed(t *testing.T) {
	text, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var description struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{}, prometheus.NewRegistry(), NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	routes := 0
	err = chi.Walk(s.router, func(_, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routes++
		if description.Paths[route]["get"] == nil {
			t.Errorf("docs/openapi.json lacks %s", route)
		}
		return nil
	})
	if err != nil || routes < 3 {
		t.Errorf("%d routes, %v", routes, err)
	}
}
