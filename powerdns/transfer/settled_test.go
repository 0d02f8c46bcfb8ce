package transfer_test

import (
	"errors"
	"net"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

const dnskey = "example. 3600 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ=="

// inTurn is a server that gives each connection the next of these transfers.
func inTurn(t *testing.T, transfers ...step) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, s := range transfers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write(frame(t, s(readQuestion(t, conn))))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

// A transfer that met the deletion of the zone has nothing but SOA and keys, and is not believed.
func TestFetchSettled(t *testing.T) {
	emptied, whole := say(soa, dnskey, soa), say(soa, ns, www, dnskey, soa)
	gone := but(say(), func(m *dns.Msg) { m.Rcode = dns.RcodeNotAuth })
	for _, test := range []struct {
		what      string
		transfers []step
		want      error
		records   int
	}{
		{"whole", []step{whole}, nil, 4},
		{"deleted meanwhile", []step{emptied, gone}, transfer.ErrRefused, 0},
		{"deleted and made again", []step{emptied, whole}, nil, 4},
		{"really empty", []step{emptied, emptied}, nil, 2},
		{"deleted and made again and again", []step{
			emptied, say(otherSOA, dnskey, otherSOA), emptied, say(otherSOA, dnskey, otherSOA),
		}, transfer.ErrIncomplete, 0},
	} {
		t.Run(test.what, func(t *testing.T) {
			o := transfer.FetchOptions{Address: inTurn(t, test.transfers...)}
			z, err := transfer.FetchSettled(t.Context(), o, zone.MustParseName("example"))
			if !errors.Is(err, test.want) || err == nil && z.Len() != test.records {
				t.Errorf("%v, %v", z, err)
			}
		})
	}
}
