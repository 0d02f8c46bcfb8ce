package broker_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pdns-distribute/broker"
)

// A broker that lies about sizes ends the connection to it, and no role.
func TestHostileBroker(t *testing.T) {
	dir := t.TempDir()
	ca, err := broker.NewCA("hostile", time.Now())
	must(t, err)
	own, err := ca.NewServerCertificate([]string{"127.0.0.1"}, time.Now())
	must(t, err)
	pair, err := tls.X509KeyPair(own.CertPEM, own.KeyPEM)
	must(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	must(t, err)
	defer listener.Close()
	key, err := broker.NewUserKey()
	must(t, err)
	cfg := broker.Config{
		URLs: []string{"tls://" + listener.Addr().String()}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"),
	}
	must(t, os.WriteFile(cfg.CAFile, ca.CertPEM, 0o600))
	must(t, os.WriteFile(cfg.NKeyFile, key.Seed, 0o600))
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
	c, err := broker.Connect(cfg, broker.Options{Node: "node1"})
	must(t, err)
	defer c.Close(context.Background())
	for range lies { // it comes again after each of them
		receive(t, told)
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
