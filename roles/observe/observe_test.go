package observe_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"pdns-distribute/roles/observe"
)

// start runs a server on a free port until the test ends.
func start(t *testing.T, ready *observe.Readiness, mount func(*observe.Server)) (url string) {
	t.Helper()
	s, err := observe.New(observe.Config{Listen: "127.0.0.1:0"}, observe.NewRegistry("primary", "1.2.3"), ready, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	mount(s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return "http://" + s.Addr()
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func TestEndpoints(t *testing.T) {
	ready := observe.NewReadiness("broker")
	url := start(t, ready, func(s *observe.Server) {
		s.Handle("/api/*", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	})

	// Alive, whatever is not ready.
	if status, body := get(t, url+"/healthz"); status != 200 || body != "{\"alive\":true}\n" {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if status, body := get(t, url+"/readyz"); status != 503 || !strings.HasPrefix(body, `{"ready":false,"reasons":[{"what":"broker","why":"starting","since":"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	ready.Clear("broker")
	if status, body := get(t, url+"/readyz"); status != 200 || body != "{\"ready\":true}\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, body := get(t, url+"/api/nodes"); status != 200 || body != "/api/nodes" {
		t.Errorf("/api/nodes: %d %s", status, body)
	}
	if status, _ := get(t, url+"/nonsense"); status != 404 {
		t.Errorf("/nonsense: %d", status)
	}
	status, body := get(t, url+"/metrics")
	for _, want := range []string{`pdns_distribute_build_info{role="primary",version="1.2.3"} 1`, "go_goroutines ", "process_open_fds "} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d, without %s", status, want)
		}
	}
}

func TestHeadAndOtherMethods(t *testing.T) {
	url := start(t, observe.NewReadiness(), func(*observe.Server) {})
	for method, want := range map[string]int{http.MethodHead: 200, http.MethodPost: 405} {
		request, err := http.NewRequest(method, url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: got %d, want %d", method, answer.StatusCode, want)
		}
	}
}

func TestRequestInHandEndsBeforeRunDoes(t *testing.T) {
	s, err := observe.New(observe.Config{Listen: "127.0.0.1:0"}, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		fmt.Fprint(w, "finished")
	}))
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	if _, body := get(t, "http://"+s.Addr()+"/"); body != "finished" {
		t.Errorf("got %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if connection, err := net.Dial("tcp", s.Addr()); err == nil {
		connection.Close()
		t.Error("still listening")
	}
}

func TestPortTaken(t *testing.T) {
	first, err := observe.New(observe.Config{Listen: "127.0.0.1:0"}, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = observe.New(observe.Config{Listen: first.Addr()}, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	if err == nil || !strings.HasPrefix(err.Error(), "observe.listen: listen tcp 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
}

func TestSwitchedOff(t *testing.T) {
	s, err := observe.New(observe.Config{}, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); err != nil || s.Addr() != "" {
		t.Errorf("Run: %v, Addr: %q", err, s.Addr())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRunFailsWithItsListener(t *testing.T) {
	s, err := observe.New(observe.Config{Listen: "127.0.0.1:0"}, observe.NewRegistry("", ""), observe.NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := s.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "observe: serve 127.0.0.1:") {
		t.Errorf("got %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	for listen, want := range map[string]string{
		"":                 "<nil>",
		":9500":            "<nil>",
		"[::1]:0":          "<nil>",
		"localhost":        `observe.listen: "localhost" is not host:port (for example "127.0.0.1:9500")`,
		"127.0.0.1:metric": `observe.listen: "metric" is not a port between 0 and 65535`,
		"127.0.0.1:65536":  `observe.listen: "65536" is not a port between 0 and 65535`,
	} {
		if got := fmt.Sprint(observe.Config{Listen: listen}.Validate()); got != want {
			t.Errorf("%q: got %s, want %s", listen, got, want)
		}
	}
}
