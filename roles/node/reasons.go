package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Reasons finds why the PowerDNS beside a role does not give, take or serve a zone: by what PowerDNS itself has logged
// of the zone, which its API shows, by causes that are known, and by its settings. It is safe for concurrent use.
type Reasons struct {
	*Settings

	// Under mu.
	mu   sync.Mutex
	all  powerdns.Log // as of the last reading
	news powerdns.Log // what it had since the reading before
	read time.Time
}

// NewReasons returns reasons of the PowerDNS with these settings.
func NewReasons(settings *Settings) *Reasons { return &Reasons{Settings: settings} }

const (
	logPause    = 500 * time.Millisecond // between two readings of the log: all zones that fail meanwhile share one
	logPatience = 2 * time.Second

	saidMost = 2 // messages
)

// Reason is an error about a zone with its cause.
type Reason struct {
	Cause powerdns.Cause // without a name where none is known
	Said  []string       // what PowerDNS has logged of the zone
	Err   error
}

// Error begins with the cause and the remedy: the end of long reasons is cut.
func (r *Reason) Error() string {
	var parts []string
	if r.Cause.Name != "" {
		parts = append(parts, r.Cause.Name+": "+r.Cause.Remedy)
	}
	if len(r.Said) > 0 {
		parts = append(parts, "PowerDNS says: "+strings.Join(r.Said, "; "))
	}
	return strings.Join(append(parts, r.Err.Error()), "; ")
}

// Unwrap returns the error.
func (r *Reason) Unwrap() error { return r.Err }

// Begin forgets what PowerDNS has logged until now: it is about what was.
func (r *Reasons) Begin(ctx context.Context) { r.log(ctx) }

// Explain returns the error, which is about a zone and came of PowerDNS, as a [*Reason] where more is known.
func (r *Reasons) Explain(ctx context.Context, name zone.Name, err error) error {
	if err == nil || ctx.Err() != nil || errors.As(err, new(*Reason)) {
		return err
	}
	said := r.said(ctx, name, err)
	cause, known := r.causeOf(append(said, err.Error())...)
	if !known && len(said) == 0 {
		return err
	}
	return &Reason{Cause: cause, Said: said[:min(len(said), saidMost)], Err: err}
}

// said is what PowerDNS has logged of the zone lately. A connection that it breaks off it logs without the zone.
func (r *Reasons) said(ctx context.Context, name zone.Name, err error) []string {
	news := r.log(ctx)
	said := news.Trouble(name)
	if len(said) == 0 && errors.Is(err, transfer.ErrIncomplete) {
		return news.Anonymous()
	}
	return said
}

// log reads what PowerDNS has logged since the reading before, or returns that of a moment ago. Nothing is known of a log
// that cannot be read: the error that is to be explained says more then.
func (r *Reasons) log(ctx context.Context) powerdns.Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.read) < logPause {
		return r.news
	}
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	r.news = nil
	if all, err := r.api.Log(ctx); err == nil {
		r.news, r.all = all.Since(r.all), all
	}
	r.read = time.Now()
	return r.news
}
