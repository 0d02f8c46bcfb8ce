package transfer_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"testing"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

const benchRecords = 100_000

func BenchmarkFetch(b *testing.B) {
	z := hosts(b, "example", benchRecords)
	addr := serve(b, transfer.Config{}, newZones(z)).Addr().String()
	b.Run("Fetch", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fetch(b, addr, z.Name())
		}
	})
	b.Run("reference miekg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			envelopes, err := new(dns.Transfer).In(new(dns.Msg).SetAxfr("example."), addr)
			if err != nil {
				b.Fatal(err)
			}
			for e := range envelopes {
				if e.Error != nil {
					b.Fatal(e.Error)
				}
			}
		}
	})
	b.Run("reference dig", func(b *testing.B) { dig(b, addr) })
}

func BenchmarkServe(b *testing.B) {
	z := hosts(b, "example", benchRecords)
	addr := serve(b, transfer.Config{}, newZones(z)).Addr().String()
	primary := start(b, local.SQLite, true)
	load(b, primary, "example", text(z))
	b.Run("Server", func(b *testing.B) { drain(b, addr) })
	b.Run("reference PowerDNS", func(b *testing.B) { drain(b, primary.DNSAddr) })
}

// drain transfers without looking at the records.
func drain(b *testing.B, addr string) {
	b.ReportAllocs()
	question, _ := new(dns.Msg).SetAxfr("example.").Pack()
	for b.Loop() {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...))
		r := bufio.NewReaderSize(conn, 64<<10)
		for records := 0; records < benchRecords+4; {
			head, err := r.Peek(10)
			if err != nil {
				b.Fatal(err)
			}
			records += int(binary.BigEndian.Uint16(head[8:]))
			if _, err := io.CopyN(io.Discard, r, 2+int64(binary.BigEndian.Uint16(head))); err != nil {
				b.Fatal(err)
			}
		}
		conn.Close()
	}
}

func dig(b *testing.B, addr string) {
	host, port, _ := net.SplitHostPort(addr)
	for b.Loop() {
		if err := exec.Command("dig", "@"+host, "-p", port, "AXFR", "example").Run(); err != nil {
			b.Skip(err)
		}
	}
}

func BenchmarkFetchSmall(b *testing.B) {
	z := parse(b, "example", apex)
	addr := serve(b, transfer.Config{}, newZones(z)).Addr().String()
	b.ReportAllocs()
	for b.Loop() {
		fetch(b, addr, z.Name())
	}
}

func BenchmarkAsk(b *testing.B) {
	z := parse(b, "example", apex)
	addr := serve(b, transfer.Config{}, newZones(z)).Addr().String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transfer.Ask(b.Context(), addr, z.Name(), dns.TypeSOA, transfer.AskOptions{Unique: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func text(z *zone.Zone) string {
	var b []byte
	for r := range z.Records() {
		b = append(append(b, r.String()...), '\n')
	}
	return string(b)
}
