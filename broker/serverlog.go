package broker

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

// The log's budget. Lines that connections cause have one for each kind of connection, before and after its login, so
// that a stranger who is refused again and again hides nothing of the server's own, nor what a known node is refused.
const (
	logPeriod    = time.Minute
	logsOfOne    = 30  // lines in a period about connections of one kind
	logsOfServer = 600 // lines in a period about the server itself

	logLength       = 512 // bytes of a line about a connection: names in it are chosen by strangers
	logServerLength = 4096
)

// serverLog passes nats-server's log on, as far as its budget goes. It is safe for concurrent use.
type serverLog struct {
	log   zerolog.Logger
	fatal chan<- error

	mu   sync.Mutex
	seen map[string]int // lines in this period, by whom they are about
}

func newServerLog(log zerolog.Logger, fatal chan<- error) *serverLog {
	return &serverLog{log: log, fatal: fatal, seen: map[string]int{}}
}

func (l *serverLog) Noticef(format string, v ...any) { l.pass(zerolog.InfoLevel, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.pass(zerolog.WarnLevel, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.pass(zerolog.ErrorLevel, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(zerolog.DebugLevel, render(format, v)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(zerolog.TraceLevel, render(format, v)) }

// Fatalf is where nats-server expects the process to end. Here Server.Run ends, with the first of these errors.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf("broker: "+format, v...):
	default:
	}
}

func (l *serverLog) pass(level zerolog.Level, format string, v []any) {
	about := format
	if strings.HasPrefix(format, "%s - ") && len(v) > 0 { // the connection is an argument
		about = fmt.Sprint(v[0]) + " - "
	}
	if l.affords(subjectOf(about)) { // else the line is not even made: it may be long
		l.write(level, render(format, v))
	}
}

func (l *serverLog) write(level zerolog.Level, line string) {
	length := logLength
	if subjectOf(line) == aboutServer {
		length = logServerLength
	}
	l.log.WithLevel(level).Msg(shown(line, length))
}

// affords reports whether there is budget left for one more line, and counts those for which there is none.
func (l *serverLog) affords(about string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[about]++
	return l.seen[about] <= budgetOf(about)
}

func budgetOf(about string) int {
	if about == aboutServer {
		return logsOfServer
	}
	return logsOfOne
}

// run begins a period again and again until ctx ends, and says of each how many lines were left out.
func (l *serverLog) run(ctx context.Context) {
	ticker := time.NewTicker(logPeriod)
	defer ticker.Stop()
	defer l.begin()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.begin()
		}
	}
}

// begin begins a period.
func (l *serverLog) begin() {
	l.mu.Lock()
	seen := l.seen
	l.seen = map[string]int{}
	l.mu.Unlock()
	for _, about := range slices.Sorted(maps.Keys(seen)) {
		if left := seen[about] - budgetOf(about); left > 0 {
			l.log.Warn().Str("about", about).Int("left_out", left).Int("shown", budgetOf(about)).
				Msg("nats-server log lines of the last minute were left out")
		}
	}
}

const aboutServer = "server"

// connection matches how nats-server begins a line about a connection: "192.0.2.1:40000 - cid:7 - …" (server/client.go
// in 2.15), and what follows where it has logged in: its name, quoted. rid is a route to another broker, lid a leaf
// node, gid a gateway, wid a websocket, mid MQTT.
var connection = regexp.MustCompile(`^\S* - ([a-z]{3})(?:_ws)?:\d+( - ")?`)

// subjectOf says whom a line is about: the server, or connections of a kind.
func subjectOf(line string) string {
	found := connection.FindStringSubmatch(line)
	switch {
	case found == nil:
		return aboutServer
	case found[2] == "":
		return found[1] + " before login"
	}
	return found[1] + " after login"
}

// render is fmt.Sprintf, but for lines without arguments, which may quote a stranger's percent signs.
func render(format string, v []any) string {
	if len(v) == 0 {
		return format
	}
	return fmt.Sprintf(format, v...)
}

// shown is a line with an end, in characters that can be shown.
func shown(line string, length int) string {
	whole := len(line)
	if whole > length {
		line = fmt.Sprintf("%s... (%d bytes)", line[:length], whole)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(line, "?"))
}
