package transfer_test

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

func TestNotifyListener(t *testing.T) {
	heard := make(chan zone.Name, 10)
	listener := listen(t, nil, heard)
	notify := func(name string, typ uint16) *dns.Msg {
		m := new(dns.Msg).SetNotify(name)
		m.Question[0].Qtype = typ
		return m
	}
	for _, c := range []struct {
		question *dns.Msg
		rcode    int
		heard    zone.Name
	}{
		{notify("EXAMPLE.", dns.TypeSOA), dns.RcodeSuccess, zone.MustParseName("example")},
		{notify(".", dns.TypeSOA), dns.RcodeSuccess, zone.Root},
		{notify("example.", dns.TypeA), dns.RcodeRefused, ""},
		{new(dns.Msg).SetQuestion("example.", dns.TypeSOA), dns.RcodeNotImplemented, ""},
		{new(dns.Msg).SetUpdate("example."), dns.RcodeNotImplemented, ""},
		{&dns.Msg{MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeNotify}}, dns.RcodeFormatError, ""},
	} {
		answer := tell(t, listener, c.question)
		if answer.Rcode != c.rcode || answer.Opcode != c.question.Opcode {
			t.Errorf("%s: answered by %s", c.question, answer)
		}
		var name zone.Name
		if len(heard) > 0 {
			name = <-heard
		}
		if name != c.heard {
			t.Errorf("%s: heard %q", c.question, name)
		}
	}
}

func TestNotifyFromStrangers(t *testing.T) {
	heard := make(chan zone.Name, 1)
	listener := listen(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, heard)
	if answer := tell(t, listener, new(dns.Msg).SetNotify("example.")); answer.Rcode != dns.RcodeRefused || len(heard) > 0 {
		t.Errorf("answered by %s, heard %d", answer, len(heard))
	}
}

func TestNotifyFromPowerDNS(t *testing.T) {
	primary := start(t, local.SQLite, true)
	load(t, primary, "notify.example", apex)
	heard := make(chan zone.Name, 10)
	listener := listen(t, nil, heard)
	control(t, primary, "notify-host", "notify.example", listener.Addr().String())
	select {
	case name := <-heard:
		if name != zone.MustParseName("notify.example") {
			t.Errorf("heard %s", name)
		}
	case <-time.After(must.Patience):
		t.Error("heard nothing")
	}
}

func listen(t *testing.T, from []netip.Prefix, heard chan<- zone.Name) *transfer.NotifyListener {
	t.Helper()
	listener, err := transfer.NewNotifyListener("127.0.0.1:0", from, func(name zone.Name) { heard <- name })
	if err != nil {
		t.Fatal(err)
	}
	run(t, listener.Run)
	return listener
}

func tell(t *testing.T, listener *transfer.NotifyListener, m *dns.Msg) *dns.Msg {
	t.Helper()
	conn, err := net.Dial("udp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := dns.Client{Timeout: time.Second}
	for attempt := 1; ; attempt++ { // a packet can get lost
		answer, _, err := client.ExchangeWithConn(m, &dns.Conn{Conn: conn})
		if err == nil {
			return answer
		}
		if attempt == 10 {
			t.Fatal(err)
		}
	}
}

// control runs pdns_control.
func control(t *testing.T, s *local.Server, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "pdns_control", append([]string{"--config-dir=" + s.Dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("pdns_control %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
