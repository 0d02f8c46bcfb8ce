//go:build !race

package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"pdns-distribute/powerdns/must"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// memoryOf is the environment of a child process that runs a proxy by itself, in front of this URL.
const memoryOf = "PDNS_DISTRIBUTE_TEST_PROXY_FOR"

// TestProxyForMemory is the child process of TestMemoryOfStrangers, and by itself nothing.
func TestProxyForMemory(t *testing.T) {
	upstream := os.Getenv(memoryOf)
	if upstream == "" {
		return
	}
	limited := acme()
	limited.Rate = 1000
	key, secret := newKey(limited)
	own := func() (string, error) { return "own", nil }
	p := startKeyed(t, upstream, own, func(cfg *Config) { cfg.MaxConnectionsPerSource = 1024 }, key)
	fmt.Printf("LISTENS %s %s\n", p.Addr(), secret)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent is done
}

// child is a proxy in a process of its own. key is one of an ACME client.
type child struct {
	pid          int
	address, key string
}

func startChild(t *testing.T, upstream string) child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxyForMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryOf+"="+upstream)
	in, err := cmd.StdinPipe()
	must.OK(t, err)
	out, err := cmd.StdoutPipe()
	must.OK(t, err)
	must.OK(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, what, is := strings.Cut(lines.Text(), "LISTENS "); is {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			address, key, _ := strings.Cut(what, " ")
			return child{cmd.Process.Pid, address, key}
		}
	}
	t.Fatal("the proxy did not start")
	return child{}
}

// peak is the most memory that the process had, in MB.
func (c child) peak(t *testing.T) (mb int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	must.OK(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	_, err = fmt.Sscan(rest, &mb)
	must.OK(t, err)
	return mb >> 10
}

func (c child) dial(protocol string) (net.Conn, error) {
	conn, err := net.Dial("tcp", c.address)
	if err != nil || protocol == "" {
		return conn, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}), nil
}

// each holds n connections and sends a text over each.
func (c child) each(t *testing.T, n int, protocol string, send func(io.Writer)) {
	var all sync.WaitGroup
	limit := make(chan struct{}, 50)
	for range n {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			conn, err := c.dial(protocol)
			if err != nil {
				return // it was replaced already
			}
			t.Cleanup(func() { conn.Close() })
			if secured, is := conn.(*tls.Conn); is && secured.Handshake() != nil {
				return
			}
			send(conn)
		})
	}
	all.Wait()
}

// manyHeaders are as many as go into this many bytes.
func manyHeaders(size int) string {
	var text strings.Builder
	text.WriteString("GET / HTTP/1.1\n")
	for n := 0; text.Len() < size; n++ {
		fmt.Fprintf(&text, "%x:\n", n)
	}
	return text.String()
}

// What strangers can make the proxy hold is a fixed sum, whatever they send. The race detector would take a multiple of
// it, so this runs without.
func TestMemoryOfStrangers(t *testing.T) {
	upstream := fakeServer(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for what, test := range map[string]struct {
		conns    int
		protocol string
		send     func(io.Writer)
	}{
		"idle":       {2000, "", func(io.Writer) {}},
		"handshakes": {1000, "http/1.1", func(io.Writer) {}},
		"unfinished headers of 1 MB": {112, "http/1.1", func(w io.Writer) {
			_, _ = io.WriteString(w, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 1<<20))
		}},
		"many small headers": {500, "http/1.1", func(w io.Writer) { _, _ = io.WriteString(w, manyHeaders(maxHeader)) }},
		"a name without end": {20, "http/1.1", func(w io.Writer) {
			head := "POST " + zonesPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + `{"name":"`
			_, _ = io.Copy(w, io.MultiReader(strings.NewReader(head), zeros(50<<20)))
		}},
		"HTTP/2, streams that take no answer": {150, "h2", func(w io.Writer) { _, _ = w.Write(deafStreams(98)) }},
	} {
		t.Run(what, func(t *testing.T) {
			c := startChild(t, upstream)
			before := c.peak(t)
			c.each(t, test.conns, test.protocol, test.send)
			grown := c.peak(t) - before
			t.Logf("%d MB, and %d more", before, grown)
			if grown > 300 {
				t.Errorf("%d MB more are held than before", grown)
			}
		})
	}
}

// What the holder of a scoped key can make the proxy hold is a fixed sum as well: here by as many of the longest bodies
// as the key may have in hand, of many small values.
func TestMemoryOfAScopedKey(t *testing.T) {
	for what, value := range map[string]string{"objects": `{"ttl":1}`, "lists": "[]", "RRsets": txt("www.example.org.")} {
		t.Run(what, func(t *testing.T) {
			c := startChild(t, nowhere)
			before := c.peak(t)
			body := rrsets(strings.Repeat(value+",", maxChecked/(len(value)+1)-20) + value)
			c.each(t, maxInHand, "http/1.1", func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "PATCH %s/example.org. HTTP/1.1\r\nHost: x\r\n", zonesPath)
				_, _ = fmt.Fprintf(w, "X-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s", c.key, len(body), body)
				res, err := http.ReadResponse(bufio.NewReader(w.(io.Reader)), nil)
				if err != nil || res.StatusCode != http.StatusForbidden {
					t.Errorf("%v %v", res, err)
				}
			})
			grown := c.peak(t) - before
			t.Logf("%d MB, and %d more", before, grown)
			if grown > 400 {
				t.Errorf("%d MB more are held than before", grown)
			}
		})
	}
}

// deafStreams are questions over HTTP/2 whose answers have no room.
func deafStreams(n uint32) []byte {
	var text, head bytes.Buffer
	text.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame := func(kind, flags byte, stream uint32, payload []byte) {
		text.Write([]byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags, 0, 0, byte(stream >> 8), byte(stream)})
		text.Write(payload)
	}
	frame(4, 0, 0, []byte{0, 4, 0, 0, 0, 0}) // SETTINGS_INITIAL_WINDOW_SIZE 0
	enc := hpack.NewEncoder(&head)
	for i := range n {
		head.Reset()
		for _, f := range []hpack.HeaderField{
			{Name: ":method", Value: "PATCH"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"},
			{Name: ":path", Value: zonesPath + "/example.org."}, {Name: "x-long", Value: strings.Repeat("x", 8000)},
		} {
			_ = enc.WriteField(f)
		}
		frame(1, 4, 2*i+1, head.Bytes())
	}
	return text.Bytes()
}
