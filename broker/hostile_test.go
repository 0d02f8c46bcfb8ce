package broker_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

// A broker that lies about sizes ends the connection to it, and no role.
func TestHostileBroker(t *testing.T) {
	listener, cfg, _ := hostile(t)
	lies := []string{"MSG foo 1 4611686018427387904\r\n", "HMSG foo 1 10 4611686018427387904\r\n", "MSG foo 1 999999999\r\n"}
	told := make(chan string, len(lies))
	go func() {
		for n := 0; n < len(lies); n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			lie(conn, lies[n])
			told <- lies[n]
		}
	}()
	c, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RolePrimary})
	must.OK(t, err)
	defer c.Close(context.Background())
	for range lies { // it comes again after each of them
		receive(t, told)
	}
}

// hostile is a broker that does what a test says, with the certificate that the node trusts.
func hostile(t *testing.T) (listener net.Listener, cfg broker.Config, publicKey string) {
	t.Helper()
	dir := t.TempDir()
	ca, err := broker.NewCA("hostile", time.Now())
	must.OK(t, err)
	own, err := ca.NewServerCertificate([]string{"127.0.0.1"}, time.Now())
	must.OK(t, err)
	pair, err := tls.X509KeyPair(own.CertPEM, own.KeyPEM)
	must.OK(t, err)
	listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	must.OK(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	key, err := broker.NewUserKey()
	must.OK(t, err)
	cfg = broker.Config{
		URLs: []string{"tls://" + listener.Addr().String()}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"),
	}
	must.OK(t, os.WriteFile(cfg.CAFile, ca.CertPEM, 0o600))
	must.OK(t, os.WriteFile(cfg.NKeyFile, key.Seed, 0o600))
	return listener, cfg, key.PublicKey
}

// A broker that has been broken into may ask a node to sign what it likes as if that were a nonce: a confirmation, say.
// It gets no signature but of nonces.
func TestHostileBrokerGetsNonceSignedAlone(t *testing.T) {
	listener, cfg, publicKey := hostile(t)
	order := fmt.Sprintf("pdns-distribute confirm deletions\x00primary1\x00%d\x00%d", 1000, time.Now().UnixMilli())
	const genuine = "6jPDpHVbAaUkQ2w"
	signed := make(chan map[string]any, 10)
	go func() {
		for _, nonce := range []string{order, "two words", strings.Repeat("a", 65), genuine} { // one connection each
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go challenge(conn, nonce, signed)
		}
	}()
	c, err := broker.Connect(cfg, broker.Options{Node: "node1", Role: broker.RoleHealth})
	must.OK(t, err)
	defer c.Close(context.Background())
	key, err := nkeys.FromPublicKey(publicKey)
	must.OK(t, err)
	said := receive(t, signed) // the first that is signed at all
	signature, err := base64.RawURLEncoding.DecodeString(fmt.Sprint(said["sig"]))
	must.OK(t, err)
	must.OK(t, key.Verify([]byte(genuine), signature))
}

// challenge greets with a nonce, and passes on what the client then says of itself.
func challenge(conn net.Conn, nonce string, signed chan<- map[string]any) {
	defer conn.Close()
	info, err := json.Marshal(map[string]any{
		"server_id": "X", "version": "2.15.2", "proto": 1, "headers": true, "max_payload": 1 << 20, "tls_required": true, "nonce": nonce,
	})
	if err != nil {
		return
	}
	fmt.Fprintf(conn, "INFO %s\r\n", info)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return // it hung up, as it should
	}
	var said map[string]any
	if json.Unmarshal([]byte(strings.TrimPrefix(line, "CONNECT ")), &said) == nil {
		signed <- said
	}
}

// lie answers as a broker does until the client has connected, and then says something else.
func lie(conn net.Conn, what string) {
	defer conn.Close()
	fmt.Fprintf(conn, "INFO {\"server_id\":\"X\",\"version\":\"2.15.2\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"tls_required\":true,\"nonce\":\"abcdefghijkl\"}\r\n")
	in := bufio.NewReader(conn)
	for line := ""; line != "PING\r\n"; {
		var err error
		if line, err = in.ReadString('\n'); err != nil {
			return
		}
	}
	fmt.Fprintf(conn, "PONG\r\n%s", what)
	_, _ = io.Copy(io.Discard, in) // until the client hangs up
}
