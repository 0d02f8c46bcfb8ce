package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/work"
)

// Monitor watches the PowerDNS beside a role: work waits while it is down, and its restarts are noticed, because it
// may come back with another database. It is safe for concurrent use.
type Monitor struct {
	api     *powerdns.Client
	ready   *observe.Readiness
	log     zerolog.Logger
	doubted chan struct{} // asks for a look

	// Prove returns an error unless this is the PowerDNS that the role works for. It is set before Watch, and called
	// when PowerDNS answers for the first time and after each restart, in doubt, and at an interval. While it fails,
	// work waits. nil: it is not called.
	Prove func(context.Context) error

	// returned is called when PowerDNS answers for the first time and after each restart, before work goes on. While it
	// fails it is called again.
	returned func(context.Context) error

	// Owned by Watch.
	proven time.Time // when Prove was called last

	// Under mu.
	mu      sync.Mutex
	open    chan struct{} // closed while PowerDNS is up
	up      bool
	suspect bool // it is not up because of Suspect alone
	version string
}

// NewMonitor returns the monitor of the PowerDNS with this API, which is down until Watch has seen it.
func NewMonitor(
	api *powerdns.Client, ready *observe.Readiness, log zerolog.Logger, returned func(context.Context) error,
) *Monitor {
	return &Monitor{
		api: api, ready: ready, log: log, returned: returned,
		open: make(chan struct{}), doubted: make(chan struct{}, 1),
	}
}

// CondPowerDNS is the readiness condition of the PowerDNS beside a role.
const CondPowerDNS = "powerdns"

// Pauses between two looks at PowerDNS.
const (
	lookWhileUp    = 2 * time.Second
	lookWhileYoung = 250 * time.Millisecond // a restart soon after a start shows by little
	lookWhileDown  = 250 * time.Millisecond

	young = 10 * time.Second

	proveInterval = 30 * time.Second // what alters it through the proxy, or shows in a transfer, leads to a doubt
)

// Watch looks after PowerDNS until ctx ends. It returns nil.
func (m *Monitor) Watch(ctx context.Context) error {
	var before *powerdns.Life // nil while PowerDNS is down
	for doubted := false; ; {
		now, err := m.look(ctx)
		switch {
		case err != nil:
		case before == nil || !now.Continues(*before):
			m.shut() // whatever comes next is about another process
			err = m.greet(ctx)
		case doubted || time.Since(m.proven) >= proveInterval:
			err = m.prove(ctx)
		}
		pause := lookWhileUp
		if err != nil {
			if before = nil; !errors.Is(err, origin.ErrOther) {
				pause = lookWhileDown
			}
			m.noteDown(ctx, err)
		} else {
			before = &now
			if now.Uptime < young {
				pause = lookWhileYoung
			}
			m.noteUp()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.doubted:
			doubted = true
		case <-time.After(pause):
			doubted = false
		}
	}
}

// IsUp reports whether PowerDNS was up at the last look.
func (m *Monitor) IsUp() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.up
}

// lookPatience is how long PowerDNS may take to answer.
const lookPatience = 5 * time.Second

func (m *Monitor) look(ctx context.Context) (powerdns.Life, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	return m.api.Life(ctx)
}

func (m *Monitor) greet(ctx context.Context) error {
	info, err := m.api.Server(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.version = info.Version
	m.mu.Unlock()
	if err := m.prove(ctx); err != nil {
		return err
	}
	return m.returned(ctx)
}

func (m *Monitor) prove(ctx context.Context) error {
	if m.Prove == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	m.proven = time.Now()
	return m.Prove(ctx)
}

func (m *Monitor) noteDown(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if m.shut() || m.convicted() {
		text := "PowerDNS is down: work waits for it"
		if errors.Is(err, origin.ErrOther) {
			text = "DNS does not give the zones of PowerDNS's API: nothing is published"
		}
		m.log.Warn().Err(err).Msg(text)
	}
	m.ready.Set(CondPowerDNS, err.Error())
}

func (m *Monitor) noteUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.up {
		return
	}
	m.up = true
	close(m.open)
	m.ready.Clear(CondPowerDNS)
	if !m.suspect {
		m.log.Info().Str("version", m.version).Msg("PowerDNS is up")
	}
	m.suspect = false
}

// convicted reports whether it was a suspect, and is no more.
func (m *Monitor) convicted() (was bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, m.suspect = m.suspect, false
	return was
}

// shut makes work wait, and reports whether it did not before.
func (m *Monitor) shut() (was bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was = m.up; was {
		m.up, m.open = false, make(chan struct{})
	}
	return was
}

// Doubt has PowerDNS looked at now.
func (m *Monitor) Doubt() { work.Notify(m.doubted, struct{}{}) }

// Suspect has PowerDNS looked at now if the error says that it is down, or may come of another one. If it says that it
// is another one than it was, work waits at once: the next zone may be the other one's, with the serial that it should
// have. It does not wait after a transfer that is refused, as those of a zone without a SOA are, too.
func (m *Monitor) Suspect(err error) {
	switch {
	case errors.Is(err, origin.ErrOther):
		if m.shut() {
			m.mu.Lock()
			m.suspect = true
			m.mu.Unlock()
		}
		m.Doubt()
	case errors.Is(err, powerdns.ErrUnavailable), errors.Is(err, transfer.ErrRefused):
		m.Doubt()
	}
}

// Wait returns true when PowerDNS is up, and false if ctx ended before.
func (m *Monitor) Wait(ctx context.Context) bool {
	m.mu.Lock()
	open := m.open
	m.mu.Unlock()
	select {
	case <-open:
		return true
	case <-ctx.Done():
		return false
	}
}

// RunningVersion returns the version of PowerDNS, "" before it was seen.
func (m *Monitor) RunningVersion() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version
}
