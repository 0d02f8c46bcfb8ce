package index

import (
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/roletest"
)

func TestSignatures(t *testing.T) {
	x := New()
	for i, test := range []struct {
		name    string
		kind    string
		expires time.Duration
	}{
		{"plain", broker.KindZone, 0}, {"late", broker.KindZone, 20 * 24 * time.Hour}, {"soon", broker.KindZone, 24 * time.Hour},
		{"next", broker.KindZone, 48 * time.Hour}, {"gone", broker.KindGone, time.Hour},
	} {
		h := broker.StateHeader{Kind: test.kind}
		if test.expires > 0 {
			h.Expires = uint32(roletest.Noon.Add(test.expires).Unix())
		}
		x.Set(roletest.Named(test.name), uint64(i+1), h)
	}
	s := x.Signatures(roletest.Noon, 7*24*time.Hour)
	if s.Zones != 3 || s.Due != 2 || s.Renewed() != 1 || s.First != roletest.Named("soon") || !s.At.Equal(roletest.Noon.Add(24*time.Hour)) {
		t.Errorf("%+v", s)
	}
}
