package transfer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// signed has an SOA with a signature, which nobody checks here.
const signed = apex + `@ 3600 IN RRSIG SOA 13 1 3600 20300101000000 20200101000000 1 example. q83v
@ 3600 IN RRSIG NS 13 1 3600 20300101000000 20200101000000 1 example. q83v
`

func TestServerGivesWhatItWasGiven(t *testing.T) {
	long := strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 40<<10/256)
	largest := strings.Repeat(`"`+strings.Repeat("x", 255)+`" `, 255) + `"` + strings.Repeat("y", 200) + `"`
	for _, z := range []*zone.Zone{
		parse(t, "example", apex),
		parse(t, ".", apex+"a.b.c. 60 IN A 192.0.2.1\nb.c. 60 IN NS a.b.c.\n"),
		parse(t, "example", signed+"*.a 60 IN TXT x\n"+`\000\001.b 60 IN A 192.0.2.1`+"\n"),
		parse(t, "example", apex+"txt 60 IN TXT "+long+"\nzzz 60 IN A 192.0.2.1\n"),
		parse(t, "example", apex+"txt 60 IN TXT "+largest+"\ntxt 60 IN A 192.0.2.1\n"),
		parse(t, "example", apex+strings.Repeat("a.", 119)+"a 60 IN A 192.0.2.1\n"+strings.Repeat("a.", 120)+"b 60 IN A 192.0.2.1\n"),
		hosts(t, "example", 5000),
	} {
		server := serve(t, transfer.Config{}, newZones(z))
		if got := fetch(t, server.Addr().String(), z.Name()); got.Digest() != z.Digest() {
			removed, added := got.Diff(z)
			t.Errorf("zone %s of %d records changed: -%v +%v", z.Name(), z.Len(), removed, added)
		}
	}
}

func TestServerLargeZone(t *testing.T) {
	must.NotShort(t) // 500,000 records
	z := largeZone(t)
	server := serve(t, transfer.Config{}, newZones(z))
	if got := fetch(t, server.Addr().String(), z.Name()); got.Digest() != z.Digest() {
		t.Error("zone changed")
	}
}

// TestServerRefusesWhatDoesNotFit gives it a record that cannot be sent: the connection closes before the closing SOA.
func TestServerRefusesWhatDoesNotFit(t *testing.T) {
	z := parse(t, "example", apex)
	b := zone.NewBuilder(z.Name(), 0)
	for r := range z.Records() {
		b.Add(r)
	}
	owner := "\x01x" + string(z.Name())
	if err := b.Add(append([]byte(owner+"\xff\x00\x00\x01\x00\x00\x00\x00\xff\xff"), make([]byte, 65535)...)); err != nil {
		t.Fatal(err)
	}
	z, err := b.Zone()
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan transfer.Sent, 1)
	server := serve(t, transfer.Config{OnTransfer: func(s transfer.Sent) { sent <- s }}, newZones(z))
	_, err = transfer.Fetch(t.Context(), transfer.FetchOptions{Address: server.Addr().String()}, z.Name())
	if !errors.Is(err, transfer.ErrIncomplete) {
		t.Errorf("got error %v", err)
	}
	if s := <-sent; s.Err == nil {
		t.Error("the transfer was reported as complete")
	}
}

func TestServerAnswers(t *testing.T) {
	z := parse(t, "example", signed)
	alone := parse(t, "alone", "@ 3600 IN SOA a. b. 1 1 1 1 1\n")
	server := serve(t, transfer.Config{}, newZones(z, alone))
	broken := newZones()
	broken.err = errors.New("disk on fire")
	failing := serve(t, transfer.Config{}, broken)
	question := func(name string, typ uint16, changes ...func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg).SetQuestion(name, typ)
		for _, change := range changes {
			change(m)
		}
		return m
	}
	edns := func(m *dns.Msg) { m.SetEdns0(4096, false) }
	do := func(m *dns.Msg) { m.SetEdns0(4096, true) }
	for _, c := range []struct {
		name     string
		question *dns.Msg
		udp, tcp int // records in the answer or, negative, the error code
	}{
		{"SOA", question("example.", dns.TypeSOA), 1, 1},
		{"SOA in capitals", question("EXAMPLE.", dns.TypeSOA), 1, 1},
		{"SOA with EDNS", question("example.", dns.TypeSOA, edns), 1, 1},
		{"SOA with DO", question("example.", dns.TypeSOA, do), 2, 2},
		{"AXFR", question("example.", dns.TypeAXFR), -dns.RcodeRefused, 6},
		{"IXFR", question("example.", dns.TypeIXFR, func(m *dns.Msg) { m.SetIxfr("example.", 6, "a.", "b.") }), 1, 6},
		{"other type", question("example.", dns.TypeA), -dns.RcodeRefused, -dns.RcodeRefused},
		{"ANY", question("example.", dns.TypeANY), -dns.RcodeRefused, -dns.RcodeRefused},
		{"SOA of a zone not held", question("example.net.", dns.TypeSOA), -dns.RcodeRefused, -dns.RcodeRefused},
		{"AXFR of a zone not held", question("example.net.", dns.TypeAXFR), -dns.RcodeRefused, -dns.RcodeRefused},
		{"AXFR of a zone that is its SOA alone", question("alone.", dns.TypeAXFR), -dns.RcodeRefused, 2},
		{"SOA below a zone", question("www.example.", dns.TypeSOA), -dns.RcodeRefused, -dns.RcodeRefused},
		{"other class", question("example.", dns.TypeSOA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), -dns.RcodeRefused, -dns.RcodeRefused},
		{"NOTIFY", question("example.", dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), -dns.RcodeNotImplemented, -dns.RcodeNotImplemented},
		{"UPDATE", new(dns.Msg).SetUpdate("example."), -dns.RcodeNotImplemented, -dns.RcodeNotImplemented},
		{"two questions", question("example.", dns.TypeSOA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), -dns.RcodeFormatError, -dns.RcodeFormatError},
		{"no question", new(dns.Msg), -dns.RcodeFormatError, -dns.RcodeFormatError},
	} {
		for network, want := range map[string]int{"udp": c.udp, "tcp": c.tcp} {
			answer, err := exchange(network, server, c.question)
			if err != nil {
				t.Errorf("%s by %s: %v", c.name, network, err)
				continue
			}
			check(t, c.name+" by "+network, c.question, answer, want)
			if want > 0 {
				answer, err := exchange(network, failing, c.question)
				if err != nil || answer.Rcode != dns.RcodeServerFailure {
					t.Errorf("%s by %s from a failing source: %v, %v", c.name, network, answer, err)
				}
			}
		}
	}
}

func check(t *testing.T, what string, question, answer *dns.Msg, want int) {
	t.Helper()
	if want < 0 && (answer.Rcode != -want || len(answer.Answer) > 0 || answer.Authoritative) {
		t.Errorf("%s: want code %d, got %s", what, -want, answer)
	}
	if want >= 0 && (answer.Rcode != 0 || len(answer.Answer) != want || !answer.Authoritative) {
		t.Errorf("%s: want %d records, got %s", what, want, answer)
	}
	if len(answer.Question) > 0 && answer.Question[0] != question.Question[0] {
		t.Errorf("%s: question came back as %v", what, answer.Question)
	}
	if asked, got := question.IsEdns0(), answer.IsEdns0(); (asked == nil) != (got == nil) && want < 5 {
		t.Errorf("%s: EDNS %v was answered by %v", what, asked, got)
	}
}

// exchange asks by UDP again after a second: a packet can get lost.
func exchange(network string, server *transfer.Server, question *dns.Msg) (*dns.Msg, error) {
	client := dns.Client{Net: network, Timeout: must.Patience}
	if network == "udp" {
		client.Timeout = time.Second
	}
	for late := time.Now().Add(must.Patience); ; {
		answer, _, err := client.Exchange(question, server.Addr().String())
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(late) {
			return answer, err
		}
	}
}

func TestServerTruncates(t *testing.T) {
	text := apex
	for _, tag := range []string{"1", "2", "3", "4", "5", "6"} {
		text += "@ 3600 IN RRSIG SOA 13 1 3600 20300101000000 20200101000000 " + tag + " example. " + strings.Repeat("q83v", 100) + "\n"
	}
	server := serve(t, transfer.Config{}, newZones(parse(t, "example", text)))
	question := new(dns.Msg).SetQuestion("example.", dns.TypeSOA).SetEdns0(4096, true)
	answer, err := exchange("udp", server, question)
	if err != nil || !answer.Truncated || len(answer.Answer) > 0 {
		t.Errorf("by UDP: %v, %v", answer, err)
	}
	if answer, err = exchange("tcp", server, question); err != nil || answer.Truncated || len(answer.Answer) != 7 {
		t.Errorf("by TCP: %v, %v", answer, err)
	}
	asked, err := transfer.Ask(t.Context(), server.Addr().String(), zone.MustParseName("example"), dns.TypeSOA, transfer.AskOptions{DNSSEC: true})
	if err != nil || len(asked.Answer) != 7 {
		t.Errorf("Ask got %v, %v", asked, err)
	}
}

func TestServerDropsGarbage(t *testing.T) {
	server := serve(t, transfer.Config{}, newZones(parse(t, "example", apex)))
	conn, err := net.Dial("udp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	response := new(dns.Msg).SetQuestion("example.", dns.TypeSOA)
	response.Response = true
	packed, _ := response.Pack()
	question, _ := new(dns.Msg).SetQuestion("example.", dns.TypeSOA).Pack()
	for _, packet := range [][]byte{{}, {1}, packed, packed[:12], question} {
		conn.Write(packet)
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf) // packets are answered in their order: the first answer is that to the question
	if err != nil || n < 2 || buf[0] != question[0] || buf[1] != question[1] {
		t.Errorf("got % x, %v", buf[:n], err)
	}

	tcp := dial(t, server)
	tcp.Write([]byte{0, 3, 1, 2, 3})
	if n, err := tcp.Read(buf); err != io.EOF {
		t.Errorf("garbage by TCP: got % x, %v", buf[:n], err)
	}
}

func TestServerRefusesStrangers(t *testing.T) {
	c := transfer.Config{AllowFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	server := serve(t, c, newZones(parse(t, "example", apex)))
	for _, network := range []string{"udp", "tcp"} {
		answer, err := exchange(network, server, new(dns.Msg).SetQuestion("example.", dns.TypeSOA))
		if err != nil || answer.Rcode != dns.RcodeRefused || len(answer.Answer) > 0 {
			t.Errorf("by %s: %v, %v", network, answer, err)
		}
	}
	conn := dial(t, server)
	conn.Write(frame(t, new(dns.Msg).SetAxfr("example.")))
	if rest, err := io.ReadAll(conn); err != nil || len(rest) != 2+12+13 {
		t.Errorf("want REFUSED and a closed connection, got % x, %v", rest, err)
	}
}

// PowerDNS asks from an address of the host where query-local-address says so.
func TestServerLetsTheHostIn(t *testing.T) {
	server := serve(t, transfer.Config{}, newZones(parse(t, "example", apex)))
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, a := range addresses {
		own, is := a.(*net.IPNet)
		if !is || own.IP.IsLoopback() || own.IP.To4() == nil {
			continue
		}
		tried++
		for network, local := range map[string]net.Addr{"udp": &net.UDPAddr{IP: own.IP}, "tcp": &net.TCPAddr{IP: own.IP}} {
			client := dns.Client{Net: network, Dialer: &net.Dialer{LocalAddr: local}}
			answer, _, err := client.Exchange(new(dns.Msg).SetQuestion("example.", dns.TypeSOA), server.Addr().String())
			if err != nil || len(answer.Answer) != 1 {
				t.Errorf("%s from %s: %v, %v", network, own.IP, answer, err)
			}
		}
	}
	if tried == 0 {
		t.Skip("this host has no address but loopback")
	}
}

// A question that is signed is refused: the role has no key to answer with. The key is reported.
func TestServerRefusesTSIG(t *testing.T) {
	queries := make(chan transfer.Query, 2)
	server := serve(t, transfer.Config{OnQuery: func(q transfer.Query) { queries <- q }}, newZones(parse(t, "example", apex)))
	for network, typ := range map[string]uint16{"udp": dns.TypeSOA, "tcp": dns.TypeAXFR} {
		question := new(dns.Msg).SetQuestion("example.", typ)
		question.SetTsig("mig.", dns.HmacSHA256, 300, time.Now().Unix())
		client := dns.Client{Net: network, TsigSecret: map[string]string{"mig.": "c2VjcmV0"}}
		if answer, _, _ := client.Exchange(question, server.Addr().String()); answer == nil || answer.Rcode != dns.RcodeNotAuth {
			t.Errorf("by %s: %v", network, answer)
		}
		if q := <-queries; q.Zone != zone.MustParseName("example") || !strings.Contains(q.Refused, "TSIG key mig.") {
			t.Errorf("by %s: %+v", network, q)
		}
	}
	if _, err := exchange("udp", server, new(dns.Msg).SetQuestion("example.", dns.TypeSOA)); err != nil {
		t.Error(err)
	}
	if q := <-queries; q.Refused != "" {
		t.Errorf("%+v", q)
	}
}

func TestServerPipelining(t *testing.T) {
	var order []string
	var mu sync.Mutex
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	c := transfer.Config{OnTransfer: func(s transfer.Sent) {
		if s.Err != nil {
			t.Error(s.Err)
		}
		note("transfer")
	}, OnQuery: func(transfer.Query) { note("query") }}
	server := serve(t, c, newZones(parse(t, "example", apex)))
	conn := dial(t, server)
	questions := frame(t, new(dns.Msg).SetQuestion("example.", dns.TypeSOA))
	questions = append(questions, frame(t, new(dns.Msg).SetAxfr("example."))...)
	questions = append(questions, frame(t, new(dns.Msg).SetQuestion("example.", dns.TypeSOA))...)
	conn.Write(questions)
	messages := dns.Conn{Conn: conn}
	for _, want := range []int{1, 4, 1} {
		m, err := messages.ReadMsg()
		if err != nil || len(m.Answer) != want {
			t.Fatalf("want %d records, got %v, %v", want, m, err)
		}
	}
	if got := strings.Join(order, " "); got != "query transfer query" {
		t.Errorf("events: %s", got)
	}
}

// TestServerWritesSmallZoneAtOnce reads what comes with the first segment.
func TestServerWritesSmallZoneAtOnce(t *testing.T) {
	z := hosts(t, "example", 1000) // three messages
	server := serve(t, transfer.Config{}, newZones(z))
	conn := dial(t, server)
	conn.Write(frame(t, new(dns.Msg).SetAxfr("example.")))
	buf := make([]byte, 1<<20)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if n < z.Size()/2 {
		t.Errorf("first read gave %d of about %d bytes", n, z.Size())
	}
}

func TestServerReports(t *testing.T) {
	sent := make(chan transfer.Sent, 1)
	large := largeZone(t)
	c := transfer.Config{OnTransfer: func(s transfer.Sent) { sent <- s }}
	server := serve(t, c, newZones(large))
	c.Idle, c.Write = 500*time.Millisecond, 500*time.Millisecond
	impatient := serve(t, c, newZones(large, parse(t, "small", apex)))

	fetch(t, server.Addr().String(), large.Name())
	if s := <-sent; s.Err != nil || s.Version != large || s.Zone != large.Name() || s.Took <= 0 {
		t.Errorf("a whole transfer: %+v", s)
	}

	stuck := dial(t, impatient)
	stuck.Write(frame(t, new(dns.Msg).SetAxfr("example.")))
	if s := <-sent; !errors.Is(s.Err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that doesn't read: %v", s.Err)
	}

	broken := dial(t, server)
	broken.Write(frame(t, new(dns.Msg).SetAxfr("example.")))
	broken.Read(make([]byte, 100))
	broken.Close()
	if s := <-sent; s.Err == nil {
		t.Error("a client that breaks off was taken for content")
	}

	silent := dial(t, impatient)
	silent.Write(frame(t, new(dns.Msg).SetAxfr("small.")))
	if s := <-sent; !errors.Is(s.Err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that neither closes nor asks: %v", s.Err)
	}
}

func TestServerClosesSlowConnections(t *testing.T) {
	server := serve(t, transfer.Config{Idle: 500 * time.Millisecond, Connections: 1}, newZones(parse(t, "example", apex)))
	slow := dial(t, server)
	question := frame(t, new(dns.Msg).SetQuestion("example.", dns.TypeSOA))
	slow.Write(question[:5])
	waiting := dial(t, server) // for the only place
	waiting.Write(question)
	if _, err := slow.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the slow one: %v", err)
	}
	if m, err := (&dns.Conn{Conn: waiting}).ReadMsg(); err != nil || len(m.Answer) != 1 {
		t.Errorf("the waiting one: %v, %v", m, err)
	}
}

func TestServerEndsInOrder(t *testing.T) {
	large := largeZone(t)
	sent := make(chan transfer.Sent, 1)
	server, err := transfer.NewServer(transfer.Config{Listen: "127.0.0.1:0", OnTransfer: func(s transfer.Sent) { sent <- s }}, newZones(large))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	conn := dial(t, server)
	conn.Write(frame(t, new(dns.Msg).SetAxfr("example.")))
	conn.Read(make([]byte, 100))
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	select {
	case s := <-sent:
		if s.Err == nil {
			t.Error("the interrupted transfer was reported as complete")
		}
	default:
		t.Error("Run did not wait for the transfer")
	}
	again, err := transfer.NewServer(transfer.Config{Listen: server.Addr().String()}, newZones())
	if err != nil {
		t.Fatalf("the ports are not free again: %v", err)
	}
	if _, err := transfer.NewServer(transfer.Config{Listen: server.Addr().String()}, newZones()); err == nil {
		t.Error("two servers have one port")
	}
	again.Close()
}

func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("dig is not installed: apt-get install bind9-dnsutils")
	}
	server := serve(t, transfer.Config{}, newZones(hosts(t, "example", 3000), parse(t, "signed", strings.ReplaceAll(signed, "example. q83v", "signed. q83v"))))
	for _, c := range []struct {
		args string
		want []string
	}{
		{"AXFR example", []string{"host-0002999.example.	60	IN	A	10.0.11.183", "XFR size: 3004 records (messages 6,"}},
		{"IXFR=6 example +tcp", []string{"XFR size: 3004 records"}},
		{"SOA example", []string{"status: NOERROR", "flags: qr aa", "ANSWER: 1", "EDNS: version: 0"}},
		{"SOA signed +dnssec", []string{"flags: do", "ANSWER: 2"}},
		{"SOA signed +dnssec +tcp", []string{"flags: do", "ANSWER: 2"}},
		{"SOA example +noedns", []string{"ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 0"}},
		{"A www.example", []string{"status: REFUSED"}},
		{"AXFR example.net", []string{"; Transfer failed."}},
	} {
		args := append([]string{"@127.0.0.1", "-p", portOf(server), "+norec"}, strings.Fields(c.args)...)
		out, err := exec.CommandContext(t.Context(), dig, args...).CombinedOutput()
		if err != nil {
			t.Errorf("dig %s: %v", c.args, err)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("dig %s: no %q in\n%s", c.args, want, out[max(0, len(out)-1000):])
			}
		}
	}
}

func portOf(server *transfer.Server) string {
	_, port, _ := net.SplitHostPort(server.Addr().String())
	return port
}

func dial(t *testing.T, server *transfer.Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(must.Patience))
	return conn
}
