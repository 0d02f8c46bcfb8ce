package health

import (
	"fmt"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/status"
)

// limits are the deletion limits of all secondaries: how many zones that are not published may be deleted at each. It
// is safe for concurrent use.
type limits struct {
	percent int

	mu            sync.Mutex
	byNode        map[string]*health.DeletionLimit
	confirmations broker.Confirmations
}

func newLimits(cfg health.Config) *limits {
	return &limits{
		percent: cfg.MaxDeletePercent, byNode: map[string]*health.DeletionLimit{},
		confirmations: broker.Confirmations{Keys: cfg.ConfirmKeys, Since: time.Now()},
	}
}

// of returns the limit of one secondary.
func (l *limits) of(node string) *health.DeletionLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.byNode[node]
	if limit == nil {
		limit = health.NewDeletionLimit(l.percent, health.DeleteWindow)
		l.byNode[node] = limit
	}
	return limit
}

// confirm takes an operator's confirmation.
func (l *limits) confirm(r status.LeaderRequest) (broker.Confirmation, error) {
	l.mu.Lock()
	confirmation, err := l.confirmations.Take(r.Confirmation, time.Now())
	l.mu.Unlock()
	if err == nil && confirmation.Node != r.Node {
		err = fmt.Errorf("the confirmation is for %s, not for %s", confirmation.Node, r.Node)
	}
	if err == nil {
		l.of(r.Node).Confirm(time.Now(), broker.ConfirmationTime, confirmation.Count)
	}
	return confirmation, err
}
