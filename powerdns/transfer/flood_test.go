package transfer_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// TestServerUnderSlowClients has all places taken in every way there is. PowerDNS comes to its turn, and the slow ones
// end.
func TestServerUnderSlowClients(t *testing.T) {
	large := hosts(t, "example", 300_000)
	soa, axfr := frame(t, new(dns.Msg).SetQuestion("example.", dns.TypeSOA)), frame(t, new(dns.Msg).SetAxfr("example."))
	for what, behave := range map[string]func(net.Conn){
		"says nothing":    func(net.Conn) {},
		"half a question": func(conn net.Conn) { conn.Write(soa[:5]) },
		"reads nothing":   func(conn net.Conn) { conn.Write(axfr) },
		"asks again and again": func(conn net.Conn) {
			for conn := (&dns.Conn{Conn: conn}); ; {
				if _, err := conn.Write(soa[2:]); err != nil {
					return
				}
				if _, err := conn.ReadMsg(); err != nil {
					return
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			// Long enough for a good client on a machine that does much else.
			server := serve(t, transfer.Config{Idle: 2 * time.Second, Write: 6 * time.Second, Connections: 4}, newZones(large))
			ended := make(chan struct{}, 8)
			for range 8 {
				conn := dial(t, server)
				conn.(*net.TCPConn).SetReadBuffer(4096)
				go func() {
					behave(conn)
					if what != "reads nothing" {
						io.Copy(io.Discard, conn) // until the server closes it
					}
					ended <- struct{}{}
				}()
			}
			if z := fetch(t, server.Addr().String(), large.Name()); z.Len() != large.Len() {
				t.Errorf("a good client got %d records", z.Len())
			}
			if what == "asks again and again" { // the last of them may: there is room
				return
			}
			for range 8 {
				<-ended
			}
		})
	}
}

// flood sends packets of all sizes, most of them garbage, and waits for no answer.
func flood(t *testing.T, to netip.AddrPort) {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	question, err := new(dns.Msg).SetQuestion("example.", dns.TypeSOA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		packet := make([]byte, random.IntN(2000))
		for i := 0; i+8 <= len(packet); i += 8 {
			binary.NativeEndian.PutUint64(packet[i:], random.Uint64())
		}
		copy(packet, question[:random.IntN(len(question))])
		conn.Write(packet)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestServerUnderGarbage(t *testing.T) {
	server := serve(t, transfer.Config{}, newZones(parse(t, "example", apex)))
	before := heap()
	flood(t, server.Addr())
	if answer, err := exchange("udp", server, new(dns.Msg).SetQuestion("example.", dns.TypeSOA)); err != nil || len(answer.Answer) != 1 {
		t.Errorf("answered by %v, %s", err, answer)
	}
	if _, err := exchange("tcp", server, new(dns.Msg).SetQuestion("example.", dns.TypeSOA)); err != nil {
		t.Error(err)
	}
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

func TestNotifyUnderGarbage(t *testing.T) {
	heard := make(chan zone.Name, 1)
	listener := listen(t, nil, heard)
	before := heap()
	flood(t, listener.Addr())
	if answer := tell(t, listener, new(dns.Msg).SetNotify("example.")); answer.Rcode != dns.RcodeSuccess || <-heard != "\x07example\x00" {
		t.Errorf("answered by %s", answer)
	}
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// TestFetchWithoutEnd meets a server that sends records for ever, other ones each time or the same again and again.
func TestFetchWithoutEnd(t *testing.T) {
	const limit = 4 << 20
	for what, owner := range map[string]func(i int) string{
		"others":   func(i int) string { return fmt.Sprintf("h%d.example.", i) },
		"the same": func(int) string { return "www.example." },
	} {
		t.Run(what, func(t *testing.T) {
			address := serveTCP(t, func(conn net.Conn) {
				asked, err := (&dns.Conn{Conn: conn}).ReadMsg()
				if err != nil {
					return
				}
				conn.Write(frame(t, say(soa)(asked)))
				for i := 0; ; {
					m := new(dns.Msg).SetReply(asked)
					for range 200 {
						m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: owner(i), Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 200)}})
						i++
					}
					if _, err := conn.Write(frame(t, m)); err != nil {
						return
					}
				}
			})
			before := heap()
			_, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: address, Limit: limit}, zone.MustParseName("example"))
			var after runtime.MemStats
			runtime.ReadMemStats(&after)
			if !errors.Is(err, transfer.ErrTooLarge) {
				t.Errorf("error is %v", err)
			}
			if after.HeapAlloc > before+8*limit {
				t.Errorf("the heap grew from %d to %d bytes, the limit is %d", before, after.HeapAlloc, limit)
			}
		})
	}
}
