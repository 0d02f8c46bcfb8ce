package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// Touch says that a zone may have changed, and by what cause. Touches of a zone by one sender collapse into the newest.
type Touch struct {
	Cause  Cause
	At     time.Time // when it was noticed; the zero value means now
	Serial *uint32   // with Changed: the SOA serial that PowerDNS showed after the write, nil if that is not known
	Again  string    // with Ordered: the secondary that is to take the zone again; ToAll: all of them
	Term   Term      // with Ordered: of the leader who ordered it, if one did
	Beside string    // by a proxy whose database is one of several: which PowerDNS it is beside, as CheckNodeID allows; "" if it is not
	Yields bool      // it is not to replace a touch of this sender that waits or is in hand: that is ErrConflict
}

// ToAll stands for every secondary.
const ToAll = "*"

// TouchMsg is a touch taken from the queue, or a request to sweep.
type TouchMsg struct {
	Message
	Seq   uint64 // in the queue: higher is later
	From  Sender
	Zone  zone.Name // none if Sweep
	Sweep bool      // all zones are to be compared
	Touch
}

const (
	causeHeader       = "Pdns-Cause"
	atHeader          = "Pdns-At"
	againHeader       = "Pdns-Again"
	termHeader        = "Pdns-Term"
	touchSerialHeader = "Pdns-Shown-Serial"
	besideHeader      = "Pdns-Beside"

	// handBack is how late a message is delivered again that came as its consumer was ending: late enough that the
	// broker has received the end, or it would be sent to no one, and waited for AckWait.
	handBack = 500 * time.Millisecond
)

// PublishTouch queues a touch. When it returns nil the touch is stored under seq and will be delivered until it is
// acknowledged. After an error it may be stored or not; publish it again, which is harmless. What this node's role may
// not say is an error, and not sent.
func (c *Conn) PublishTouch(ctx context.Context, name zone.Name, t Touch) (seq uint64, err error) {
	subject, err := zoneSubject(c.self.subject(touchPrefix)+".", name)
	if err == nil {
		err = t.check(c.self)
	}
	if err != nil {
		return 0, fmt.Errorf("publish touch: %w", err)
	}
	seq, err = c.publishTouch(ctx, subject, t)
	if err != nil {
		return 0, fmt.Errorf("publish touch of zone %s: %w", name, err)
	}
	return seq, nil
}

// PendingTouch reports whether a touch of the zone is queued or in hand: last is that one. If not, all touches of the
// zone up to last are done with. CORE account.
func (c *Conn) PendingTouch(ctx context.Context, name zone.Name) (pending bool, last uint64, err error) {
	subject, err := zoneSubject(touchPrefix+"*.*.", name) // whoever sent it
	if err != nil {
		return false, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		stream, err := c.js.Stream(ctx, touchStream)
		if err != nil {
			return err
		}
		last = stream.CachedInfo().State.LastSeq // before the look at the zone: what comes later is not covered
		waiting, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			pending, last = true, waiting.Sequence
		}
		return err
	})
	if err != nil {
		return false, 0, fmt.Errorf("look for touches of zone %s: %w", name, err)
	}
	return pending, last, nil
}

// PublishSweep asks the primary to compare all zones. Promise and errors are those of PublishTouch.
func (c *Conn) PublishSweep(ctx context.Context) error {
	if _, err := c.publishTouch(ctx, c.self.subject(sweepPrefix), Touch{}); err != nil {
		return fmt.Errorf("publish request to sweep: %w", err)
	}
	return nil
}

func (c *Conn) publishTouch(ctx context.Context, subject string, t Touch) (seq uint64, err error) {
	msg := nats.NewMsg(subject)
	at := t.At
	if at.IsZero() {
		at = time.Now()
	}
	msg.Header.Set(atHeader, formatTime(at))
	if t.Cause != "" {
		msg.Header.Set(causeHeader, string(t.Cause))
	}
	if t.Serial != nil {
		msg.Header.Set(touchSerialHeader, strconv.FormatUint(uint64(*t.Serial), 10))
	}
	if t.Beside != "" {
		msg.Header.Set(besideHeader, t.Beside)
	}
	if t.Again != "" {
		msg.Header.Set(againHeader, t.Again)
	}
	if !t.Term.IsZero() {
		msg.Header.Set(termHeader, t.Term.String())
	}
	var options []jetstream.PublishOpt
	if t.Yields {
		options = append(options, jetstream.WithExpectLastSequencePerSubject(0))
	}
	return c.publish(ctx, touchStream, msg, options...)
}

// Touches takes touches off the queue, which all primaries share, and calls fn for each, one call after the other. fn
// should hand over and return: messages waiting behind it are delivered again after AckWait. A newer touch of a zone
// is delivered while an older one is still in hand. Touches that arrive as ctx ends are handed back.
//
// It goes on through lost connections, and resumes by itself when EnsureStreams has made a wiped broker's queue anew;
// flow (may be nil) is called, see [Flow]. It returns nil when ctx has ended, and ErrClosed when the connection was
// closed.
func (c *Conn) Touches(ctx context.Context, fn func(TouchMsg), flow Flow) error {
	f := follower{
		conn: c, object: "touch queue", flow: flow, durable: true,
		limit: jetstream.PullMaxMessages(512),
		look:  c.looker(touchStream, touchDurable),
		open: func(ctx context.Context) (jetstream.Consumer, error) {
			return c.js.Consumer(ctx, touchStream, touchDurable)
		},
		handle: func(ctx context.Context, d delivery) {
			if t, ok := take(ctx, c, d, newTouchMsg); ok {
				fn(t)
			}
		},
	}
	return f.run(ctx)
}

// take reads a delivery. What arrives as ctx ends is handed back; what can't be read never will be, and is dropped so
// that it doesn't come back for ever.
func take[M any](ctx context.Context, c *Conn, d delivery, read func(delivery) (M, error)) (m M, ok bool) {
	if ctx.Err() != nil {
		if err := d.NakWithDelay(handBack); err != nil {
			c.log.Debug().Err(err).Str("subject", d.Subject()).Msg("message will be delivered again later")
		}
		return m, false
	}
	m, err := read(d)
	if err != nil {
		c.strange.Error().Err(err).Str("subject", d.Subject()).Msg("unreadable message dropped")
		_ = d.TermWithReason("unreadable") // if that is lost, it is dropped again
		return m, false
	}
	return m, true
}

// newTouchMsg reads strictly: what is not a touch that its sender may publish is an error.
func newTouchMsg(d delivery) (t TouchMsg, err error) {
	hold, _, err := newMessage(d)
	if err != nil {
		return t, err
	}
	h := d.Headers()
	if err := errors.Join(checkHeader(h), checkSingle(h)); err != nil {
		return t, err
	}
	t = TouchMsg{Message: hold, Seq: hold.seq}
	if t.At, err = parseTime(h.Get(atHeader)); err != nil {
		return t, err
	}
	if strings.HasPrefix(d.Subject(), sweepPrefix) {
		t.Sweep = true
		t.From, err = wholeSender(sweepPrefix, d.Subject())
		if err == nil && !slices.Contains(sweepers, t.From.Role) {
			err = fmt.Errorf("%s may not ask for a sweep", t.From)
		}
		return t, err
	}
	from, tokens, err := subjectSender(touchPrefix, d.Subject())
	if err != nil {
		return t, err
	}
	t.From = from
	if t.Zone, err = subjectZone(from.subject(touchPrefix)+".", d.Subject()); err != nil {
		return t, fmt.Errorf("%q: %w", tokens, err)
	}
	if t.Touch, err = decodeTouch(t.At, h); err != nil {
		return t, err
	}
	return t, t.check(from)
}

// checkSingle returns an error for a header with two values: who reads the first and who reads the last must not
// differ.
func checkSingle(h nats.Header) error {
	for _, key := range []string{causeHeader, atHeader, againHeader, termHeader, touchSerialHeader, besideHeader} {
		if len(h[key]) > 1 {
			return fmt.Errorf("header %s %d times", key, len(h[key]))
		}
	}
	return nil
}

func decodeTouch(at time.Time, h nats.Header) (t Touch, err error) {
	t = Touch{At: at, Cause: Cause(h.Get(causeHeader)), Again: h.Get(againHeader), Beside: h.Get(besideHeader)}
	if text := h.Get(touchSerialHeader); text != "" {
		serial, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return t, err
		}
		shown := uint32(serial)
		t.Serial = &shown
	}
	t.Term, err = ParseTerm(h.Get(termHeader))
	return t, err
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// parseTime takes nothing for the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}
