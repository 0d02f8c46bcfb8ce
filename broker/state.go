package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	intern "unique"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// The kinds of states.
const (
	KindZone = "zone" // the zone's content
	KindGone = "gone" // a tombstone: the zone was deleted
)

// StateHeader is what can be known of a state without reading its content. It travels as headers of the message.
type StateHeader struct {
	Kind       string        // KindZone or KindGone
	Serial     uint32        // of the SOA that is served
	Stored     uint32        // serial in the primary's database, which the signer may have raised in the other
	Digest     string        // hex
	Stable     string        // stable digest, hex
	Published  time.Time     // when the primary published it
	Expires    uint32        // first end of a signature, as in RFC 4034 §3.1.5; 0 when unsigned
	NSEC       bool          // it denies with NSEC, and could with NSEC3
	Computed   zone.Computed // ALIAS and LUA records
	Chunks     int           // blobs that the content is in; 0 when it is in the state itself
	Again      string        // the secondary that is to take it though it has it, see Touch
	Signer     string        // public key that the state says it is signed by, "" for none; a claim, see zone.Verify
	Background bool          // nobody waits for it: it stands behind all that somebody does wait for
	Origin     Origin        // for people: nothing is decided by it
	TTL        time.Duration // after which the broker forgets it, for tombstones; whole seconds, 0 is never
}

// Origin is what led to a state.
type Origin struct {
	Cause string // why the primary looked at the zone, in one word
	By    string // who reported that it has changed, as "role id"; "" where nobody did
}

// Unanswered reports whether secondaries answer NODATA at some names: PowerDNS computes no answers in a signed zone.
func (h StateHeader) Unanswered() bool {
	return h.Kind == KindZone && h.Expires != 0 && h.Computed.Any()
}

const (
	kindHeader       = "Pdns-Kind"
	serialHeader     = "Pdns-Serial"
	storedHeader     = "Pdns-Stored"
	digestHeader     = "Pdns-Digest"
	stableHeader     = "Pdns-Stable"
	publishedHeader  = "Pdns-Published"
	chunksHeader     = "Pdns-Chunks"
	expiresHeader    = "Pdns-Expires"
	nsecHeader       = "Pdns-Nsec"
	computedHeader   = "Pdns-Computed"
	backgroundHeader = "Pdns-Background"
	signerHeader     = "Pdns-Signer"
	whyHeader        = "Pdns-Why"
	byHeader         = "Pdns-By"

	yes = "1" // the value of headers that are there or not
)

// StateMsg is a published state.
type StateMsg struct {
	Zone   zone.Name
	Seq    uint64 // place in the stream: higher is newer, until the broker is wiped
	Header StateHeader
	Data   []byte
}

// PublishState stores a zone's state if the newest one has the given sequence, 0 for none. When it returns nil the
// state is stored under seq. ErrConflict: another one was stored in the meantime, read it and decide anew. After any
// other error it may be stored or not; LastState shows it. Data may have 512 KB.
func (c *Conn) PublishState(ctx context.Context, name zone.Name, data []byte, hdr StateHeader, lastSeq uint64) (seq uint64, err error) {
	subject, err := zoneSubject(statePrefix, name)
	if err != nil {
		return 0, err
	}
	options := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(lastSeq)}
	if hdr.TTL > 0 {
		options = append(options, jetstream.WithMsgTTL(hdr.TTL))
	}
	seq, err = c.publish(ctx, stateStream, &nats.Msg{Subject: subject, Header: hdr.encode(), Data: data}, options...)
	if err != nil {
		return 0, fmt.Errorf("publish state of zone %s: %w", name, err)
	}
	return seq, nil
}

func (h StateHeader) encode() nats.Header {
	encoded := nats.Header{
		kindHeader:      {h.Kind},
		serialHeader:    {strconv.FormatUint(uint64(h.Serial), 10)},
		storedHeader:    {strconv.FormatUint(uint64(h.Stored), 10)},
		digestHeader:    {h.Digest},
		stableHeader:    {h.Stable},
		publishedHeader: {formatTime(h.Published)},
		chunksHeader:    {strconv.Itoa(h.Chunks)},
		expiresHeader:   {strconv.FormatUint(uint64(h.Expires), 10)},
	}
	if h.Again != "" {
		encoded.Set(againHeader, h.Again)
	}
	if h.Signer != "" {
		encoded.Set(signerHeader, h.Signer)
	}
	if h.Origin.Cause != "" {
		encoded.Set(whyHeader, h.Origin.Cause)
	}
	if h.Origin.By != "" {
		encoded.Set(byHeader, h.Origin.By)
	}
	if h.NSEC {
		encoded.Set(nsecHeader, yes)
	}
	if h.Computed != (zone.Computed{}) {
		text, _ := h.Computed.MarshalText() // never fails
		encoded.Set(computedHeader, string(text))
	}
	if h.Background {
		encoded.Set(backgroundHeader, yes)
	}
	return encoded
}

// maxHeader is how many bytes a header of ours has at most. Longer ones are not ours: they must fill neither the memory
// of those who keep headers of all zones, nor logs.
const maxHeader = 256

// maxDigest is how many bytes a digest of ours has in hex (SHA-384), and none of the other headers that are kept is
// longer.
const maxDigest = 96

func checkHeader(h nats.Header) error {
	for key, values := range h {
		for _, v := range values {
			if len(key) > maxHeader || len(v) > maxHeader {
				return fmt.Errorf("header %.40q of %d bytes", key, len(v))
			}
		}
	}
	return nil
}

func decodeHeader(h nats.Header) (StateHeader, error) {
	if err := checkHeader(h); err != nil {
		return StateHeader{}, err
	}
	serial, err1 := strconv.ParseUint(h.Get(serialHeader), 10, 32)
	stored, err2 := strconv.ParseUint(h.Get(storedHeader), 10, 32)
	published, err3 := parseTime(h.Get(publishedHeader))
	ttl, err4 := parseTTL(h.Get(jetstream.MsgTTLHeader))
	chunks, err5 := strconv.ParseUint(h.Get(chunksHeader), 10, 31)
	expires, err6 := strconv.ParseUint(h.Get(expiresHeader), 10, 32)
	computed, err7 := parseComputed(h.Get(computedHeader))
	kind, digest, stable, again := h.Get(kindHeader), h.Get(digestHeader), h.Get(stableHeader), h.Get(againHeader)
	cause, by := h.Get(whyHeader), h.Get(byHeader)
	if longest := max(len(kind), len(digest), len(stable), len(again), len(cause), len(by)); longest > maxDigest {
		return StateHeader{}, fmt.Errorf("a header of %d bytes", longest)
	}
	return StateHeader{
		Kind: kind, Serial: uint32(serial), Stored: uint32(stored),
		Digest: digest, Stable: stable, Published: published, Chunks: int(chunks), Expires: uint32(expires), TTL: ttl, Again: again,
		NSEC: h.Get(nsecHeader) == yes, Computed: computed, Background: h.Get(backgroundHeader) == yes,
		// Kept for each zone, and the same for many.
		Signer: intern.Make(h.Get(signerHeader)).Value(),
		Origin: Origin{intern.Make(cause).Value(), intern.Make(by).Value()},
	}, errors.Join(err1, err2, err3, err4, err5, err6, err7)
}

func parseComputed(s string) (c zone.Computed, err error) {
	if s != "" {
		err = c.UnmarshalText([]byte(s))
	}
	return c, err
}

func parseTTL(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return time.ParseDuration(s)
}

func newState(subject string, seq uint64, h nats.Header, data []byte) (StateMsg, error) {
	name, err := subjectZone(statePrefix, subject)
	if err != nil {
		return StateMsg{}, err
	}
	hdr, err := decodeHeader(h)
	if err != nil {
		return StateMsg{Zone: name, Seq: seq, Data: data}, fmt.Errorf("%w of the state of zone %s: %w",
			errHeader, name, err)
	}
	return StateMsg{Zone: name, Seq: seq, Header: hdr, Data: data}, nil
}

var errHeader = errors.New("unreadable headers")

// replaceable is newState for those who publish: what cannot be read is the state of a zone that nobody has, so that it
// is replaced. An error would keep the zone from ever being published again.
func (c *Conn) replaceable(subject string, seq uint64, h nats.Header, data []byte) (StateMsg, error) {
	state, err := newState(subject, seq, h, data)
	if errors.Is(err, errHeader) {
		c.strange.Warn().Err(err).Msg("another writer stored a state that cannot be read, replacing it")
		state.Header = StateHeader{Kind: KindZone}
		return state, nil
	}
	return state, err
}

// LastState reads a zone's newest state from the stream's leader, so it sees every state that was stored before.
// ErrNotFound: there is none. CORE account only.
func (c *Conn) LastState(ctx context.Context, name zone.Name) (StateMsg, error) {
	subject, err := zoneSubject(statePrefix, name)
	if err != nil {
		return StateMsg{}, err
	}
	state, err := c.lastState(ctx, subject)
	if err != nil {
		return StateMsg{}, fmt.Errorf("read state of zone %s: %w", name, err)
	}
	return state, nil
}

// lastState asks by STREAM.MSG.GET: nats.go would take the direct way, which may be answered by a replica behind.
func (c *Conn) lastState(ctx context.Context, subject string) (StateMsg, error) {
	var answer struct {
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Headers []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	question := map[string]string{"last_by_subj": subject}
	if err := c.call(ctx, "STREAM.MSG.GET."+stateStream, question, &answer); err != nil {
		return StateMsg{}, err
	}
	header, _ := nats.DecodeHeadersMsg(answer.Message.Headers) // what cannot be read is as good as none
	return c.replaceable(answer.Message.Subject, answer.Message.Seq, header, answer.Message.Data)
}
