package proxy

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// docs/openapi.json has all that the proxy answers itself, and nothing that it does not.
func TestRoutesAreDescribed(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var description struct {
		Paths map[string]struct {
			Servers []struct{ Description string }
			Get     map[string]any
		}
	}
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	var described, routed []string
	for path, at := range description.Paths {
		if strings.HasPrefix(path, apiPath) && at.Servers[0].Description == "the proxy" && at.Get != nil {
			described = append(described, "GET "+path)
		}
	}
	err = chi.Walk((&Proxy{}).handler().(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasPrefix(route, apiPath) {
			routed = append(routed, method+" "+route)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(described)
	slices.Sort(routed)
	if !slices.Equal(described, routed) || len(routed) == 0 {
		t.Errorf("docs/openapi.json has %q\nthe proxy has        %q", described, routed)
	}
}
