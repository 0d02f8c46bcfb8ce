package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// Touch says that a zone may have changed, and why it is thought so. None of it decides anything: touches of a zone
// collapse into the newest.
type Touch struct {
	Reason string    // for logs; cut to 256 bytes
	At     time.Time // when it was noticed; the zero value means now
	Again  string    // the secondary that is to take the zone again, though it has it; ToAll: all of them
	Term   Term      // of the leader who ordered it, if one did
	Yields bool      // it is not to replace a touch of the zone that waits or is in hand: that is ErrConflict
}

// ToAll stands for every secondary.
const ToAll = "*"

// TouchMsg is a touch taken from the queue, or a request to sweep.
type TouchMsg struct {
	Message
	Seq   uint64    // in the queue: higher is later
	Zone  zone.Name // none if Sweep
	Sweep bool      // all zones are to be compared
	Word  bool      // with Sweep: an operator's word that held deletions are right
	Touch
}

const (
	reasonHeader = "Pdns-Reason"
	atHeader     = "Pdns-At"
	againHeader  = "Pdns-Again"
	termHeader   = "Pdns-Term"

	maxReason = 256

	// handBack is how late a message is delivered again that came as its consumer was ending: late enough that the
	// broker has heard of the end, or it would be sent to no one, and waited for AckWait.
	handBack = 500 * time.Millisecond
)

// PublishTouch queues a touch. When it returns nil the touch is stored under seq and will be delivered until it is
// acknowledged. After an error it may be stored or not; publish it again, which is harmless.
func (c *Conn) PublishTouch(ctx context.Context, name zone.Name, t Touch) (seq uint64, err error) {
	subject, err := zoneSubject(touchPrefix, name)
	if err != nil {
		return 0, err
	}
	seq, err = c.publishTouch(ctx, subject, t)
	if err != nil {
		return 0, fmt.Errorf("publish touch of zone %s: %w", name, err)
	}
	return seq, nil
}

// PendingTouch tells whether a touch of the zone is queued or in hand: last is that one. If not, all touches of the zone
// up to last are done with. CORE account.
func (c *Conn) PendingTouch(ctx context.Context, name zone.Name) (pending bool, last uint64, err error) {
	subject, err := zoneSubject(touchPrefix, name)
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
func (c *Conn) PublishSweep(ctx context.Context, t Touch) error {
	if _, err := c.publishTouch(ctx, sweepSubject, t); err != nil {
		return fmt.Errorf("publish request to sweep: %w", err)
	}
	return nil
}

// PublishWord asks the primary to compare all zones, and gives an operator's word that what is gone shall be deleted.
// Promise and errors are those of PublishTouch. CORE account only, and on a subject of its own: a proxy may ask for sweeps.
func (c *Conn) PublishWord(ctx context.Context, t Touch) error {
	if _, err := c.publishTouch(ctx, wordSubject, t); err != nil {
		return fmt.Errorf("publish the word that deletions are right: %w", err)
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
	msg.Header.Set(reasonHeader, t.Reason[:min(len(t.Reason), maxReason)])
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
// flow (may be nil) is told. It returns nil when ctx has ended, and ErrClosed when the connection was closed.
func (c *Conn) Touches(ctx context.Context, fn func(TouchMsg), flow Flow) error {
	f := follower{
		conn: c, object: "touch queue", flow: flow, durable: true,
		limit: jetstream.PullMaxMessages(512),
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

func newTouchMsg(d delivery) (TouchMsg, error) {
	hold, _, err := newMessage(d)
	if err != nil {
		return TouchMsg{}, err
	}
	word := d.Subject() == wordSubject
	t := TouchMsg{Message: hold, Seq: hold.seq, Sweep: word || d.Subject() == sweepSubject, Word: word}
	if !t.Sweep {
		if t.Zone, err = subjectZone(touchPrefix, d.Subject()); err != nil {
			return TouchMsg{}, err
		}
	}
	h := d.Headers()
	if err := checkHeader(h); err != nil {
		return TouchMsg{}, err
	}
	t.Reason, t.Again = h.Get(reasonHeader), h.Get(againHeader)
	at, err1 := parseTime(h.Get(atHeader))
	term, err2 := ParseTerm(h.Get(termHeader))
	t.At, t.Term = at, term
	return t, errors.Join(err1, err2)
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// parseTime takes nothing for the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, s)
}
