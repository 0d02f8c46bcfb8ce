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

	mu   sync.Mutex
	next *hookDocument // what is to be posted; nil: nothing
}

// hookDocument is what is posted.
type hookDocument struct {
	At      time.Time      `json:"at"`
	Raised  []health.Alarm `json:"raised"`
	Cleared []health.Alarm `json:"cleared"`
	Alarms  []health.Alarm `json:"alarms"` // all that are raised now
}

const (
	hookTimeout = 10 * time.Second
	hookLimit   = 1000 // changes that wait; of more only what is raised now is posted
)

func newWebhook(url string, log zerolog.Logger) *webhook {
	return &webhook{url: url, log: log, client: &http.Client{Timeout: hookTimeout}, wake: make(chan struct{}, 1)}
}

// Post queues a change.
func (w *webhook) Post(raised, cleared, all []health.Alarm) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := &hookDocument{At: time.Now().UTC(), Raised: raised, Cleared: cleared, Alarms: all}
	if before := w.next; before != nil {
		d.Raised, d.Cleared = append(before.Raised, raised...), append(before.Cleared, cleared...)
	}
	d.Raised, d.Cleared = d.Raised[max(0, len(d.Raised)-hookLimit):], d.Cleared[max(0, len(d.Cleared)-hookLimit):]
	w.next = d
	work.Notify(w.wake, struct{}{})
}

func (w *webhook) take() *hookDocument {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.next
	w.next = nil
	return d
}

// giveBack puts what was not posted before what has come since.
func (w *webhook) giveBack(d *hookDocument) {
	w.mu.Lock()
	since := w.next
	w.next = d
	w.mu.Unlock()
	if since != nil {
		w.Post(since.Raised, since.Cleared, since.Alarms)
	}
}

func (w *webhook) run(ctx context.Context) error {
	for attempts := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		d := w.take()
		if d == nil {
			continue
		}
		if err := w.send(ctx, d); err == nil || ctx.Err() != nil {
			attempts = 0
			continue
		} else if attempts++; attempts == 1 {
			w.log.Warn().Err(err).Msg("alarms were not posted to health.webhook, trying again")
		}
		w.giveBack(d)
		work.Wait(ctx, work.RetryPause(attempts))
		work.Notify(w.wake, struct{}{})
	}
}

// send leaves the URL out of its errors: it may hold a token.
func (w *webhook) send(ctx context.Context, d *hookDocument) error {
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
