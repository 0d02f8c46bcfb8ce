package broker_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

// Who is refused again and again, with names as long as the server takes them, does not fill the disk with its log.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var log logBuffer
	logger := zerolog.New(&log)
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}, Secondaries: []string{"sec1"}, Log: &logger})
	before := len(log.all())
	const strangers = 300
	for n := range strangers {
		refusedLogin(t, b, fmt.Sprintf("Violation %d %s", n, strings.Repeat("x%20dñ", 500)))
	}
	nc := b.Connect("sec1").NATS()
	for range strangers {
		must.OK(t, nc.Publish("pdns.zone.com", nil))
	}
	must.OK(t, nc.Flush())
	b.AddSecondary("sec2")
	b.Stop()
	text := log.all()[before:]
	if len(text) > 64<<10 {
		t.Errorf("the log has grown by %d KB", len(text)>>10)
	}
	for _, want := range []string{
		"authentication error", "Publish Violation", "Reloaded: accounts",
		fmt.Sprintf(`"about":"cid before login","left_out":%d,"shown":30`, strangers-30), `"about":"cid after login","left_out":`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no %q:\n%s", want, text)
		}
	}
	if lines := strings.Count(text, "authentication error"); lines != 30 {
		t.Errorf("%d of %d refusals are logged", lines, strangers)
	}
}

// refusedLogin returns once the broker has refused the user, and has said so.
func refusedLogin(t *testing.T, b *brokertest.Broker, user string) {
	t.Helper()
	pem, err := os.ReadFile(b.Config("sec1").CAFile)
	must.OK(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(b.URL(), "tls://"), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	must.OK(t, err)
	defer conn.Close()
	must.OK(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "CONNECT {\"user\":%q,\"pass\":\"x\",\"name\":\"n\",\"lang\":\"go\"}\r\nPING\r\n", user)
	must.OK(t, err)
	answer := bufio.NewScanner(conn)
	answer.Buffer(nil, 1<<20)
	for answer.Scan() {
		if strings.HasPrefix(answer.Text(), "-ERR") {
			return
		}
	}
	t.Fatal("the broker did not refuse: ", answer.Err())
}
