package powerdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// rings reads what a server remembers of what has happened lately, some 10,000 entries of each kind, with how often
// each came.
func (c *Client) rings(ctx context.Context, what string) (map[string][]nameValue, error) {
	var list []struct {
		Name  string          `json:"name"`
		Type  string          `json:"type"`
		Value json.RawMessage `json:"value"`
	}
	q := call{what: what, method: http.MethodGet, path: "/statistics?includerings=true", most: maxHearing}
	if err := c.do(ctx, q, into(&list)); err != nil {
		return nil, err
	}
	rings := map[string][]nameValue{}
	for _, ring := range list {
		if ring.Type != "RingStatisticItem" {
			continue
		}
		var entries []nameValue
		if err := json.Unmarshal(ring.Value, &entries); err != nil {
			return nil, fmt.Errorf("%s at %s: %w: %w", what, c.server, ErrProtocol, err)
		}
		rings[ring.Name] = entries
	}
	return rings, nil
}

// ringOfLog is the ring that has what the server has logged, as far as loglevel lets it (4.7 to 5.1).
const ringOfLog = "logmessages"

// Log is what a server has logged lately: its messages, and how often each came. When they came it does not say.
type Log map[string]int

// Log reads what the server has logged lately.
func (c *Client) Log(ctx context.Context) (Log, error) {
	rings, err := c.rings(ctx, "read the log")
	if err != nil {
		return nil, err
	}
	l := Log{}
	for _, e := range rings[ringOfLog] {
		l[e.Name], _ = strconv.Atoi(e.Value)
	}
	return l, nil
}

// Since returns what was logged after an earlier reading.
func (l Log) Since(before Log) Log {
	since := Log{}
	for message, times := range l {
		if times > before[message] {
			since[message] = times - before[message]
		}
	}
	return since
}

// trouble are words of messages that tell of trouble.
var trouble = regexp.MustCompile(`(?i)unable|failed|refused|denied|abort|error|exception|died|oversized|cannot`)

// Trouble returns the messages that tell of trouble with the zone, without what stands in each of its kind.
func (l Log) Trouble(n zone.Name) (messages []string) {
	name := strings.TrimSuffix(n.String(), ".")
	for message := range l {
		text := trim(message)
		if about(message, name) && trouble.MatchString(strings.ReplaceAll(text, name, "")) {
			messages = append(messages, text)
		}
	}
	slices.Sort(messages)
	return messages
}

// about reports whether the message names the zone, between quotes or as a path of the API.
func about(message, name string) bool {
	return strings.Contains(message, "'"+name+"'") || strings.Contains(message, `"`+name+`"`) ||
		strings.Contains(message, "/zones/"+name+".")
}

// Broken returns the messages about connections that the server broke off: no zone is named in them. From release 4.9
// on the client is, as host:port; before, any of them may be about that client.
func (l Log) Broken(client string) (messages []string) {
	for message := range l {
		_, named, is := strings.Cut(message, " client ")
		if strings.HasPrefix(message, "TCP ") && trouble.MatchString(message) && (!is || strings.HasPrefix(named, client+" ")) {
			messages = append(messages, trim(message))
		}
	}
	slices.Sort(messages)
	return messages
}

// What each message about transfers has: which zone, from or to where, and when it is tried again.
var (
	heading = regexp.MustCompile(`^A?XFR-(?:in|out) zone:? '[^']*', (?:primary|client):? '[^']*',? |^\[webserver\] \S+ |` +
		`^TCP .*, cycling backend: `)
	ending = regexp.MustCompile(` \(This was attempt number .*\)$`)
)

func trim(message string) string {
	return ending.ReplaceAllString(heading.ReplaceAllString(message, ""), "")
}
