package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What the proxy adds to the answers to writes.
const (
	// HeaderTouch is TouchPending where the touch could not be stored yet: the write happened, and its distribution
	// begins when the broker is back. Other answers do not have it.
	HeaderTouch  = "Pdns-Distribute-Touch"
	TouchPending = "pending"

	// HeaderChange is the change's id, to be looked up below /distribute/v1/changes/.
	HeaderChange = "Pdns-Distribute-Change"

	// HeaderStatus is INSYNC or PENDING, HeaderServed "2/3", and HeaderMissing names the secondaries that do not serve
	// the change yet, the first of them. They are set on answers that were held.
	HeaderStatus  = "Pdns-Distribute-Status"
	HeaderServed  = "Pdns-Distribute-Served"
	HeaderMissing = "Pdns-Distribute-Missing"
)

// Whether a change is served everywhere.
const (
	StatusInSync  = "INSYNC"
	StatusPending = "PENDING"
)

// maxMissing bounds HeaderMissing.
const maxMissing = 20

// preferredWait reads the preference "wait" (RFC 7240 §4.3), in seconds. Of several the first counts (§2); what cannot
// be read is no preference.
func preferredWait(h http.Header) (time.Duration, bool) {
	for _, value := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			preference, _, _ = strings.Cut(preference, ";") // its parameters
			name, seconds, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(seconds), `"`), 10, 31)
			if err != nil {
				return 0, false
			}
			return time.Duration(n) * time.Second, true
		}
	}
	return 0, false
}

// waitFor is how long the answer is to be held, and whether the client asked for it.
func (p *Proxy) waitFor(r *http.Request) (wait time.Duration, asked bool) {
	if wait, asked = preferredWait(r.Header); asked {
		return min(wait, p.cfg.MaxWait), true
	}
	return p.cfg.Wait, false
}

// written stores the touch of a write that PowerDNS has accepted, or may have, and, where the answer is to be held,
// waits until the secondaries serve it or the client is gone. It returns what to add to the answer's header.
func (p *Proxy) written(r *http.Request, of *pending, status int) http.Header {
	t, known := of.touch()
	if !known {
		t = sweep
	}
	wait, asked := p.waitFor(r)
	held := wait > 0 && of.accepted && status < 300 && known
	if of.order == notify && !held {
		return nil
	}
	begin, patience := time.Now(), p.cfg.StorePatience
	var watch *watch
	if held {
		watch = p.tracker.watch(t.Zone, true)
		defer watch.stop()
		patience = min(patience, wait)
	}
	if of.accepted && known && of.order.isNews() {
		p.tracker.propagation.began(t.Zone, begin)
	}
	seq, stored := p.pending.store(r.Context(), t, of.order.isNews(), patience)
	p.metrics.touches.WithLabelValues(map[bool]string{true: touchStored, false: touchPending}[stored]).Inc()
	if of.order == retrieve {
		p.pending.repeat(t, begin, retrieveLooks...)
	}
	header := http.Header{}
	if held {
		until, cancel := context.WithDeadline(of.client, begin.Add(wait))
		defer cancel()
		defer context.AfterFunc(p.stopping, cancel)()
		if !stored {
			seq, stored = p.pending.insist(until, t)
		}
		p.metrics.noteHeld(r, begin, p.hold(until, header, watch, seq, stored))
		if asked {
			header.Set("Preference-Applied", fmt.Sprintf("wait=%d", int(wait.Seconds())))
		}
	}
	if !stored {
		header.Set(HeaderTouch, TouchPending)
	}
	if known {
		header.Set(HeaderChange, change{zone: t.Zone, touch: seq, at: begin}.id())
	}
	return header
}

// retrieveLooks is when a zone is looked at that PowerDNS was ordered to transfer: its answer only says that the
// transfer is queued.
var retrieveLooks = []time.Duration{2 * time.Second, 15 * time.Second, time.Minute}

// hold waits until the change is served everywhere, or ctx ends, and says how it stands.
func (p *Proxy) hold(ctx context.Context, header http.Header, w *watch, touch uint64, stored bool) (label string) {
	p.metrics.held.Inc()
	defer p.metrics.held.Dec()
	now, _ := w.progress(touch)
	if stored {
		now = w.await(ctx, touch)
	}
	status := StatusPending
	if stored && now.InSync() {
		status = StatusInSync
	} else if missing := now.Missing(); len(missing) > 0 {
		header.Set(HeaderMissing, strings.Join(missing[:min(len(missing), maxMissing)], ", "))
	}
	header.Set(HeaderStatus, status)
	header.Set(HeaderServed, fmt.Sprintf("%d/%d", now.Served(), len(now.Secondaries)))
	return strings.ToLower(status)
}
