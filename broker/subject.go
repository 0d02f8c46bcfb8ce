package broker

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// The subjects. A zone's labels are reversed, so that "pdns.zone.com.example.>" is everything below example.com, and
// nothing may follow a zone name. ROLE.NODE is who publishes, see [Sender]; where only one role may, the node alone.
const (
	touchPrefix  = "pdns.touch."  // ROLE.NODE.ZONE
	sweepPrefix  = "pdns.sweep."  // ROLE.NODE
	statePrefix  = "pdns.zone."   // ZONE
	blobPrefix   = "pdns.blob."   // SHA256
	statusPrefix = "pdns.status." // ROLE.NODE

	appliedPrefix    = "pdns.applied."    // of a secondary
	answerPrefix     = "pdns.checked."    // of a secondary
	settledPrefix    = "pdns.settled."    // of a primary
	comingPrefix     = "pdns.coming."     // of a primary
	publishedPrefix  = "pdns.published."  // of a primary
	checkpointPrefix = "pdns.checkpoint." // of a primary
	forgottenPrefix  = "pdns.forgotten."  // of a primary
	questionPrefix   = "pdns.check."      // HEALTH.SECONDARY: from one to the other

	askPrefix     = "pdns.ask."     // ROLE.NODE
	leaderPrefix  = "pdns.leader."  // ROLE.NODE: a request to the health role that acts
	confirmPrefix = "pdns.confirm." // ROLE.NODE: a request to a primary
	forgetPrefix  = "pdns.forget."  // ROLE.NODE: a request to a primary
)

// rootToken stands for the root zone, which has no labels.
const rootToken = "="

var nodeID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// CheckNodeID returns an error unless id can name a node: it is a subject token and the name of a consumer.
func CheckNodeID(id string) error {
	if !nodeID.MatchString(id) {
		return fmt.Errorf("%w: node id %q; use 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
			ErrSubject, id)
	}
	return nil
}

// zoneSubject is prefix and the zone's labels from the top-level domain down. Bytes other than a-z, 0-9, - and _ are
// written =hh. Two zones never share a subject.
func zoneSubject(prefix string, name zone.Name) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%w: empty zone name", ErrSubject)
	}
	if name == zone.Root {
		return prefix + rootToken, nil
	}
	labels := name.Labels()
	slices.Reverse(labels)
	for i, l := range labels {
		labels[i] = escape(l)
	}
	return prefix + strings.Join(labels, "."), nil
}

// subjectZone is the inverse of zoneSubject. It accepts nothing that zoneSubject doesn't make.
func subjectZone(prefix, subject string) (zone.Name, error) {
	tokens, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return "", fmt.Errorf("%w: %q doesn't begin with %q", ErrSubject, subject, prefix)
	}
	name, err := tokensToName(tokens)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	// One zone has one spelling; another one would escape compare-and-set and permissions.
	if canonical, err := zoneSubject(prefix, name); err != nil || canonical != subject {
		return "", fmt.Errorf("%w: %q should be %q", ErrSubject, subject, canonical)
	}
	return name, nil
}

func tokensToName(tokens string) (zone.Name, error) {
	if tokens == rootToken {
		return zone.Root, nil
	}
	labels := strings.Split(tokens, ".")
	slices.Reverse(labels)
	var wire []byte
	for _, token := range labels {
		label, err := unescape(token)
		if err != nil {
			return "", err
		}
		wire = append(append(wire, byte(len(label))), label...)
	}
	return zone.NameFromWire(append(wire, 0))
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func escape(label string) string {
	var b strings.Builder
	for i := range len(label) {
		if c := label[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

func unescape(token string) ([]byte, error) {
	if len(token) == 0 || len(token) > 3*63 {
		return nil, fmt.Errorf("label %q of %d bytes", token, len(token))
	}
	var label []byte
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			label = append(label, token[i])
			continue
		}
		if i+3 > len(token) {
			return nil, fmt.Errorf("label %q ends inside an escape", token)
		}
		b, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return nil, fmt.Errorf("label %q: %w", token, err)
		}
		label = append(label, b[0])
		i += 2
	}
	return label, nil
}

// subjectNode reads the node id at the end of a subject.
func subjectNode(prefix, subject string) (string, error) {
	id, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return "", fmt.Errorf("%w: %q doesn't begin with %q", ErrSubject, subject, prefix)
	}
	return id, CheckNodeID(id)
}
