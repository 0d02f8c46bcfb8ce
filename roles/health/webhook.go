package health

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/roles/work"
)

// webhook posts changes of alarms. What could not be posted is posted with the next change, or tried again. It is
// safe for concurrent use.
type webhook struct {
	url    string
	log    zerolog.Logger
	client *http.Client
	wake   chan struct{}

	gather time.Duration

	mu   sync.Mutex
	next *hookChange // what is to be posted; nil: nothing
}

// hookChange is what became of alarms since the last post.
type hookChange struct {
	at                   time.Time
	raised, cleared, all []health.Alarm
}

// HookVersion is that of what is posted. It is raised when a field goes or means something else; fields may be added
// without that.
const HookVersion = 2

// HookDocument is what is posted: alarms by cause, each with the nodes that the change is about.
type HookDocument struct {
	Version int            `json:"version"` // of this document
	At      time.Time      `json:"at"`
	Raised  []health.Group `json:"raised"`  // with the nodes where it began
	Cleared []health.Group `json:"cleared"` // with the nodes where it is over
	Alarms  []health.Group `json:"alarms"`  // all that are raised now, with all their nodes
}

const (
	hookTimeout = 10 * time.Second

	// hookGather is how long further alarms are waited for. A cause reaches nodes as they report, which they do every
	// five seconds, and is posted once.
	hookGather = 6 * time.Second
	hookLimit  = 1000 // changes that wait; of more only what is raised now is posted
)

func newWebhook(url string, log zerolog.Logger) *webhook {
	return &webhook{
		url: url, log: log, client: &http.Client{Timeout: hookTimeout}, wake: make(chan struct{}, 1), gather: hookGather,
	}
}

// Post queues a change.
func (w *webhook) Post(raised, cleared, all []health.Alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &hookChange{at: time.Now().UTC(), raised: raised, cleared: cleared, all: all}
	if before := w.next; before != nil {
		c.raised, c.cleared = slices.Concat(before.raised, raised), slices.Concat(before.cleared, cleared)
	}
	c.raised, c.cleared = c.raised[max(0, len(c.raised)-hookLimit):], c.cleared[max(0, len(c.cleared)-hookLimit):]
	w.next = c
	work.Notify(w.wake, struct{}{})
}

func (w *webhook) take() *hookChange {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.next
	w.next = nil
	return d
}

// giveBack puts what was not posted before what has come since.
func (w *webhook) giveBack(c *hookChange) {
	w.mu.Lock()
	since := w.next
	w.next = c
	w.mu.Unlock()
	if since != nil {
		w.Post(since.raised, since.cleared, since.all)
	}
}

func (w *webhook) run(ctx context.Context) error {
	for attempts := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		if attempts == 0 {
			work.Wait(ctx, w.gather)
		}
		c := w.take()
		if c == nil {
			continue
		}
		if err := w.send(ctx, c.document()); err == nil || ctx.Err() != nil {
			attempts = 0
			continue
		} else if attempts++; attempts == 1 {
			w.log.Warn().Err(err).Msg("alarms were not posted to health.webhook, trying again")
		}
		w.giveBack(c)
		work.Wait(ctx, work.RetryPause(attempts))
		work.Notify(w.wake, struct{}{})
	}
}

// document puts what changed together by cause.
func (c *hookChange) document() HookDocument {
	return HookDocument{
		Version: HookVersion, At: c.at,
		Raised:  health.GroupedAmong(c.raised, c.all),
		Cleared: health.GroupedAmong(c.cleared, slices.Concat(c.all, c.cleared)),
		Alarms:  health.Grouped(c.all),
	}
}

// send leaves the URL out of its errors: it may hold a token.
func (w *webhook) send(ctx context.Context, d HookDocument) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		if of, is := errors.AsType[*url.Error](err); is {
			return of.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil
}
