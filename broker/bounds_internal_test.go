package broker

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"pdns-distribute/powerdns/zone"
)

// TestHeadersAreBounded has each header of a state, and one that is none of ours, hold more than it can. The error,
// which is logged, holds none of it.
func TestHeadersAreBounded(t *testing.T) {
	good := StateHeader{Kind: KindZone, Serial: 1, Digest: strings.Repeat("a", 96), Stable: strings.Repeat("b", 64), Again: "ns1", NSEC: true, Computed: zone.Computed{Alias: true, Expanded: 1}, Background: true, Published: time.Now()}.encode()
	if _, err := decodeHeader(good); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 900<<10)
	for key := range good {
		checkRefused(t, key, long, good)
	}
	checkRefused(t, "Nats-TTL", long, good)
	checkRefused(t, "Other", long, good)
	checkRefused(t, long, "", good)
}

func checkRefused(t *testing.T, key, value string, good nats.Header) {
	t.Helper()
	h := nats.Header{}
	for k, v := range good {
		h[k] = v
	}
	h[key] = []string{value}
	_, err := decodeHeader(h)
	if err == nil || len(err.Error()) > 500 {
		t.Errorf("%.40s: %.600v", key, err)
	}
}

// FuzzStateHeader demands that what is taken for the headers of a state is short, and survives being sent again.
func FuzzStateHeader(f *testing.F) {
	f.Add("zone", "1", "2", "aa", "bb", "2026-01-01T00:00:00Z", "3", "4", "1", "ns1", "5s", "ALIAS and LUA, 3, 1")
	f.Fuzz(func(t *testing.T, kind, serial, stored, digest, stable, published, chunks, expires, nsec, again, ttl, computed string) {
		h, err := decodeHeader(nats.Header{
			kindHeader: {kind}, serialHeader: {serial}, storedHeader: {stored}, digestHeader: {digest}, stableHeader: {stable},
			publishedHeader: {published}, chunksHeader: {chunks}, expiresHeader: {expires}, nsecHeader: {nsec}, againHeader: {again}, "Nats-TTL": {ttl}, computedHeader: {computed},
		})
		if err != nil {
			if len(err.Error()) > 20*maxHeader {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		for _, text := range []string{h.Kind, h.Digest, h.Stable, h.Again} {
			if len(text) > maxHeader {
				t.Fatalf("%d bytes are kept", len(text))
			}
		}
		sent, ttlOfMessage := h.encode(), h.TTL
		h.Published = h.Published.UTC()
		back, err := decodeHeader(sent)
		back.TTL, back.Published = ttlOfMessage, back.Published.UTC()
		if err != nil || back != h {
			t.Fatalf("%+v came back as %+v: %v", h, back, err)
		}
	})
}
