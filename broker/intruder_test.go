package broker_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// socket speaks the protocol of NATS without a client library, which would refuse most of what is tried here.
type socket struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	info struct {
		Nonce string `json:"nonce"`
	}
}

// open shakes hands and reads the server's greeting.
func open(t *testing.T, b *brokertest.Broker) *socket {
	t.Helper()
	conn, err := tls.Dial("tcp", address(b), trusting(t, b))
	must.OK(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
	s := &socket{t: t, conn: conn, in: bufio.NewReader(conn)}
	line, err := s.in.ReadString('\n')
	must.OK(t, err)
	must.OK(t, json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &s.info))
	return s
}

func address(b *brokertest.Broker) string { return strings.TrimPrefix(b.URL(), "tls://") }

func trusting(t *testing.T, b *brokertest.Broker) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(b.Config("sec1").CAFile)
	must.OK(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots}
}

// say sends lines and a PING, and returns what the server says before its PONG, or before it hangs up.
func (s *socket) say(lines ...string) (answer string, hungUp bool) {
	s.t.Helper()
	_, _ = io.WriteString(s.conn, strings.Join(append(lines, "PING", ""), "\r\n")) // it may have hung up
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return answer, true
		}
		if line == "PONG\r\n" {
			return answer, false
		}
		answer += line
	}
}

func connectLine(t *testing.T, options map[string]any) string {
	t.Helper()
	return "CONNECT " + text(t, options)
}

// stolenKey reads a node's nkey.
func stolenKey(t *testing.T, b *brokertest.Broker, id string) nkeys.KeyPair {
	t.Helper()
	seed, err := os.ReadFile(b.Config(id).NKeyFile)
	must.OK(t, err)
	pair, err := nkeys.ParseDecoratedUserNKey(seed)
	must.OK(t, err)
	return pair
}

func sign(t *testing.T, pair nkeys.KeyPair, nonce string) string {
	t.Helper()
	signature, err := pair.Sign([]byte(nonce))
	must.OK(t, err)
	return base64.RawURLEncoding.EncodeToString(signature)
}

func TestNobodyGetsInWithoutAKey(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	key, stranger, account := stolenKey(t, b, "sec1"), key(t, nkeys.CreateUser), key(t, nkeys.CreateAccount)
	id := public(t, key)
	token, err := jwt.NewUserClaims(id).Encode(account)
	must.OK(t, err)
	earlier := open(t, b).info.Nonce
	for name, options := range map[string]func(nonce string) map[string]any{
		"nothing":                          func(string) map[string]any { return map[string]any{} },
		"a public key without a signature": func(string) map[string]any { return map[string]any{"nkey": id} },
		"an empty signature":               func(string) map[string]any { return map[string]any{"nkey": id, "sig": ""} },
		"another key's signature":          func(n string) map[string]any { return map[string]any{"nkey": id, "sig": sign(t, stranger, n)} },
		"a signature from an earlier time": func(string) map[string]any { return map[string]any{"nkey": id, "sig": sign(t, key, earlier)} },
		"a key that nobody knows": func(n string) map[string]any {
			return map[string]any{"nkey": public(t, stranger), "sig": sign(t, stranger, n)}
		},
		"another node's public key": func(n string) map[string]any {
			return map[string]any{"nkey": public(t, stolenKey(t, b, "primary1")), "sig": sign(t, key, n)}
		},
		"a name and a password":            func(string) map[string]any { return map[string]any{"user": "sec1", "pass": id} },
		"the key as name and password":     func(string) map[string]any { return map[string]any{"user": id, "pass": id} },
		"a token":                          func(string) map[string]any { return map[string]any{"auth_token": id} },
		"a JWT of an account of one's own": func(n string) map[string]any { return map[string]any{"jwt": token, "sig": sign(t, key, n)} },
		"the name of another account": func(n string) map[string]any {
			return map[string]any{"nkey": id, "sig": sign(t, key, n), "account": "CORE", "new_account": true}
		},
		"the name of an account": func(string) map[string]any { return map[string]any{"account": "CORE", "user": "CORE"} },
	} {
		s := open(t, b)
		if answer, hungUp := s.say(connectLine(t, options(s.info.Nonce))); answer != "-ERR 'Authorization Violation'\r\n" || !hungUp {
			t.Errorf("%s: %q, hung up: %v", name, answer, hungUp)
		}
	}
	s := open(t, b)
	if answer, hungUp := s.say("SUB pdns.> 1", "PUB pdns.status.secondary.sec1 2", "{}"); !strings.Contains(answer, "-ERR 'Authorization Violation'") || !hungUp {
		t.Errorf("no CONNECT at all: %q, hung up: %v", answer, hungUp)
	}
	s = open(t, b) // the stolen key itself does
	if answer, hungUp := s.say(connectLine(t, map[string]any{"nkey": id, "sig": sign(t, key, s.info.Nonce)})); answer != "+OK\r\n" || hungUp {
		t.Errorf("the right key: %q, hung up: %v", answer, hungUp)
	}
}

func TestNothingBeforeTLS(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	for name, words := range map[string]string{"silence": "", "a client that does without": "CONNECT {\"tls_required\":false}\r\nPING\r\n", "HTTP": "GET / HTTP/1.1\r\n\r\n"} {
		conn, err := net.Dial("tcp", address(b))
		must.OK(t, err)
		_, err = io.WriteString(conn, words)
		must.OK(t, err)
		must.OK(t, conn.SetReadDeadline(time.Now().Add(300*time.Millisecond))) // a greeting would take a few
		answer, _ := io.ReadAll(conn)
		if strings.Contains(string(answer), "INFO") || strings.Contains(string(answer), "PONG") || strings.Contains(string(answer), "ERR") {
			t.Errorf("%s is answered %q", name, answer)
		}
		must.OK(t, conn.Close())
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		cfg := trusting(t, b)
		cfg.MinVersion, cfg.MaxVersion = version, version
		conn, err := tls.Dial("tcp", address(b), cfg)
		if (err == nil) != (version == tls.VersionTLS13) {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			must.OK(t, conn.Close())
		}
	}
}

func TestExpiredBrokerIsRefused(t *testing.T) {
	key, err := broker.NewUserKey()
	must.OK(t, err)
	e := startExisting(t, "", func(e *existing) string {
		cert, err := e.ca.NewServerCertificate([]string{"127.0.0.1"}, time.Now().AddDate(-3, 0, 0))
		must.OK(t, err)
		e.write("server.crt", cert.CertPEM)
		e.write("server.key", cert.KeyPEM)
		return fmt.Sprintf("accounts { PDNS { jetstream: enabled, users: [ { nkey: %s } ] } }", key.PublicKey)
	})
	cfg := e.config()
	cfg.NKeyFile = e.write("node.nkey", key.Seed)
	e.refusedHere("expired", cfg, "expired")
}

// Whatever a stolen secondary says of itself when it connects, and whatever words it knows, it may do no more.
func TestStolenSecondarySpeaksTheProtocol(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	key := stolenKey(t, g.broker, "sec1")
	core := public(t, stolenKey(t, g.broker, "primary1"))
	login := func(more map[string]any) *socket {
		t.Helper()
		s := open(t, g.broker)
		options := map[string]any{"nkey": public(t, key), "sig": sign(t, key, s.info.Nonce), "headers": true}
		maps.Copy(options, more)
		if answer, hungUp := s.say(connectLine(t, options)); strings.Contains(answer, "ERR") || hungUp {
			t.Fatalf("%v: %s", more, answer)
		}
		return s
	}
	before := g.picture("sec1")
	for _, more := range []map[string]any{
		{"verbose": true}, {"pedantic": true}, {"echo": false}, {"no_responders": true}, {"tenant": "CORE"},
		{"name": "primary1", "lang": "go"}, {"protocol": 1}, {"user": "primary1", "pass": core}, {"auth_token": core}, {"import": map[string]any{"allow": []string{">"}}},
	} {
		s := login(more)
		for _, words := range [][]string{
			{"PUB pdns.zone.example.a 6", "forged"}, {"PUB pdns.zone.> 6", "forged"}, {"PUB $JS.API.STREAM.DELETE.PDNS_ZONE 0", ""},
			{"HPUB pdns.zone.example.a 12 18", "NATS/1.0\r\n\r\nforged"}, {"PUB $JS.API.STREAM.PURGE.PDNS_ZONE pdns.status.secondary.sec1 0", ""},
			{"SUB > 1"}, {"SUB $SYS.> 2"}, {"SUB pdns.zone.> workers 3"}, {"SUB _INBOX_sec2.> 4"},
			{"PUB pdns.status.secondary.sec1 _R_.abc.def 2", "{}"}, {"PUB pdns.status.secondary.sec1 " + g.inHand["PDNS_ZONE"] + " 2", "{}"},
		} {
			if answer, hungUp := s.say(words...); !strings.Contains(answer, "-ERR 'Permissions Violation for ") && !strings.Contains(answer, "Invalid ") {
				t.Errorf("%v: %q is answered %q, hung up: %v", more, words, answer, hungUp)
			}
		}
	}
	// What hangs up.
	for _, words := range [][]string{
		{"PUB pdns.status.secondary.sec1 9999999", strings.Repeat("x", 2<<20)}, {"RS+ CORE pdns.zone.>"}, {"LS+ pdns.zone.>"}, {"A+ CORE"}, {"RMSG CORE pdns.zone.example.a 6", "forged"},
		{"LMSG pdns.zone.example.a 6", "forged"}, {"HMSG CORE pdns.zone.example.a 12 18", "NATS/1.0\r\n\r\nforged"}, {"PUB pdns.status.secondary.sec1 -1"}, {"PUB"}, {"SUB"},
		{"HPUB pdns.status.secondary.sec1 99 2", "{}"}, {"EVIL"}, {strings.Repeat("A", 5000)},
	} {
		s := login(nil)
		if answer, hungUp := s.say(words...); !hungUp {
			t.Errorf("%.40q: %q, and goes on", words[0], answer)
		}
	}
	s := login(nil)
	answer, _ := s.say(connectLine(t, map[string]any{"nkey": core, "sig": sign(t, key, s.info.Nonce)}), "PUB pdns.zone.example.a 6", "forged")
	if !strings.Contains(answer, "-ERR 'Permissions Violation for ") && !strings.Contains(answer, "Authorization Violation") {
		t.Errorf("another CONNECT: %q", answer)
	}
	nc, _ := g.intrude("sec1")
	g.settle(nc, g.legalOf("sec1"))
	for _, c := range changes(before, g.picture("sec1")) {
		t.Error(c)
	}
	for _, h := range g.heard("sec1") {
		t.Error(h)
	}
}

// Who stole a key connects as often as the server takes, and far oftener than a node does: what is too much is ended,
// the node's own connection stays, and others get in.
func TestConnectionsOfAStolenKey(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	own, _ := g.intrude("sec1")
	const many = 120
	ended := make(chan struct{}, many)
	cfg := g.broker.Config("sec1")
	user, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
	must.OK(t, err)
	for range many {
		nc, err := nats.Connect(g.broker.URL(), user, nats.RootCAs(cfg.CAFile), nats.TLSHandshakeFirst(), nats.NoReconnect(),
			nats.ClosedHandler(func(*nats.Conn) { ended <- struct{}{} }))
		must.OK(t, err)
		defer nc.Close()
	}
	for range many + 1 - 100 {
		receive(t, ended)
	}
	if !own.IsConnected() {
		t.Error("the first connection of the key was ended")
	}
	must.OK(t, own.Flush())
	must.OK(t, g.broker.Connect("sec2").Wait(t.Context()))
	if n := len(ended); n > 2 { // the key has one or two others
		t.Errorf("%d more connections were ended than are too many", n)
	}
}
