package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/rs/zerolog"
)

func TestServerLogBudget(t *testing.T) {
	var out bytes.Buffer
	log := newServerLog(zerolog.New(&out), make(chan error, 1))
	name := strings.Repeat("%99999s\x1b[2J", 10_000)
	for n := range 20_000 {
		log.Errorf(fmt.Sprintf("192.0.2.1:%d - cid:%d - authentication error - User ", n, n) + name)
		log.Warnf("%s - %s%s", fmt.Sprintf("[2001:db8::1]:%d - cid:%d", n, n), "TLS handshake error", name)
	}
	log.Errorf(`192.0.2.1:4 - cid:5 - "v1:go:ns1" - "SECONDARY/ns1" - Publish Violation - Subject %q`, "pdns.zone.a")
	log.Errorf("192.0.2.2:6222 - rid:8 - Router disconnected")
	log.Errorf("JetStream failed to store a msg on stream '%s > %s': %v", "CORE", "PDNS_ZONE", "no space left on device")
	log.begin()
	text := out.String()
	for _, want := range []string{
		"Publish Violation", "Router disconnected", "no space left on device", `"about":"cid before login","left_out":39970,"shown":30`,
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(text, want))
		}
	}
	if lines := strings.Count(text, "\n"); lines != logsOfOne+4 || len(text) > 32<<10 {
		t.Errorf("%d lines, %d bytes", lines, len(text))
	}
	out.Reset()
	log.Errorf("192.0.2.1:1 - cid:1 - authentication error")
	if !strings.Contains(out.String(), "authentication error") {
		t.Error("the next period has no budget of its own")
	}
	for range 2 * logsOfServer {
		log.Errorf("the server itself")
	}
	if lines := strings.Count(out.String(), "the server itself"); lines != logsOfServer {
		t.Errorf("%d lines of the server", lines)
	}
}

func FuzzServerLog(f *testing.F) {
	f.Add("192.0.2.1:1 - cid:1 - authentication error - User %s", "joe")
	f.Add("%s - %d", "\xff\x00\x1b")
	f.Fuzz(func(t *testing.T, format, name string) {
		var out bytes.Buffer
		log := newServerLog(zerolog.New(&out), make(chan error, 1))
		log.Errorf(format, name)
		log.Errorf(format)
		if line := shown(format+name, logLength); len(line) > 2*logLength || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", line)
		}
		if lines := strings.Count(out.String(), "\n"); lines != 2 {
			t.Errorf("%d lines: %s", lines, out.String())
		}
	})
}
