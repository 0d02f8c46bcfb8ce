package observe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
)

const patience = must.Patience

// TestSlowClients holds more connections open than there are places, in every way that keeps a server waiting.
func TestSlowClients(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0"}, NewRegistry("", ""), NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s.limits = limits{connections: 4, readHeader: 500 * time.Millisecond, read: 500 * time.Millisecond, write: time.Second, idle: 500 * time.Millisecond}
	s.Handle("/endless", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for page := make([]byte, 1<<20); ; {
			if _, err := w.Write(page); err != nil {
				return
			}
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	slow := map[string]string{
		"says nothing":             "",
		"half a header":            "GET /healthz HTTP/1.1\r\nHost: a\r\nX-",
		"half a body":              "POST /endless HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx",
		"reads no answer":          "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
		"stays when it was served": "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
	}
	var held []net.Conn
	for range 2 {
		for _, said := range slow {
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, said); err != nil {
				t.Fatal(err)
			}
			held = append(held, conn)
		}
	}
	good := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := good.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatal("a good client is kept out: ", err)
	}
	answer.Body.Close()
	for _, conn := range held {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a slow connection is still open")
		}
	}
}

func TestHugeHeaderIsRefused(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0"}, NewRegistry("", ""), NewReadiness(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	request, err := http.NewRequest(http.MethodGet, "http://"+s.Addr()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Large", strings.Repeat("x", 4*maxHeaderBytes))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %d", answer.StatusCode)
	}
}

// TestListenBeyondLoopback sees that it is possible, and said.
func TestListenBeyondLoopback(t *testing.T) {
	for listen, said := range map[string]int{"127.0.0.1:0": 0, "0.0.0.0:0": 1} {
		var log bytes.Buffer
		s, err := New(Config{Listen: listen}, NewRegistry("", ""), NewReadiness(), zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := strings.Count(log.String(), "is not on loopback"); got != said {
			t.Errorf("%s: said %d times, want %d: %s", listen, got, said, &log)
		}
	}
}
