package broker

import (
	"errors"
	"strings"
	"testing"
)

const conversation = "INFO {\"server_id\":\"x\"}\r\n+OK\r\nPING\r\nPONG\r\nMSG a.b 1 5\r\nhe\r\nl\r\nMSG a.b 1 _INBOX.x 0\r\n\r\n" +
	"HMSG a.b 2 12 14\r\nNATS/1.0\r\n\r\nok\r\n-ERR 'Unknown'\r\nPING\r\n"

func TestFrames(t *testing.T) {
	for size := 1; size <= len(conversation); size++ { // whatever arrives at a time
		var f frames
		for rest := conversation; rest != ""; {
			n := min(size, len(rest))
			if err := f.check([]byte(rest[:n])); err != nil {
				t.Fatalf("pieces of %d: %v before %q", size, err, rest)
			}
			rest = rest[n:]
		}
		if len(f.line) > 0 || f.payload > 0 || f.ends {
			t.Fatalf("pieces of %d: %+v is left", size, f)
		}
	}
	for _, said := range []string{
		"MSG foo 1 4611686018427387904\r\n", "MSG foo 1 8388609\r\n", "HMSG foo 1 12 99999999999999999999\r\n", "MSG foo 1 -1\r\n", "MSG foo 1 x\r\n", "MSG foo 1\r\n",
		"MSG foo 1 2\r\nlonger\r\n", "PING\n", "P\rING\r\n", "msg foo 1 2\r\n", "MSG\tfoo 1 2\r\n", "HTTP/1.1 400\r\n", "\r\n",
		"INFO " + strings.Repeat("x", maxLine), "INFO " + strings.Repeat("x", maxLine) + "\r\n",
	} {
		var f frames
		if err := f.check([]byte(said)); !errors.Is(err, errFrame) || len(err.Error()) > 1000 {
			t.Errorf("%.50q: %v", said, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(conversation), 3)
	f.Add([]byte("MSG foo 1 4611686018427387904\r\n"), 1)
	f.Fuzz(func(t *testing.T, said []byte, at int) {
		at = min(max(at, 0), len(said))
		var whole, parts frames
		err := whole.check(said)
		if first := parts.check(said[:at]); first == nil {
			if second := parts.check(said[at:]); (second == nil) != (err == nil) {
				t.Errorf("in one piece %v, in two %v", err, second)
			}
		} else if err == nil {
			t.Errorf("a beginning is refused: %v", first)
		}
	})
}
