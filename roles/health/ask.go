package health

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/work"
)

// asker puts questions to nodes, one at a time.
type asker struct {
	conn    *broker.Conn
	answers chan health.Answer

	mu       sync.Mutex
	node     string          // that an answer is waited for from; "" for none
	question health.Question // the one that was put to it
}

func newAsker(conn *broker.Conn) *asker {
	return &asker{conn: conn, answers: make(chan health.Answer, 1)}
}

// subscribe has answers received until stop is called.
func (a *asker) subscribe(ctx context.Context) (stop func(), err error) {
	return a.conn.SubscribeChecked(ctx, func(node string, text []byte) {
		var answer health.Answer
		if json.Unmarshal(text, &answer) == nil && a.awaits(node, answer.Question) {
			work.Notify(a.answers, answer)
		}
	})
}

// A question that gets no answer is put again.
const (
	questionPatience = 5 * time.Second
	questionTries    = 3
)

var errNoAnswer = errors.New("the node does not answer")

// ask puts one question to a node and returns its answer.
func (a *asker) ask(ctx context.Context, node string, q health.Question) (health.Answer, error) {
	question, err := json.Marshal(q)
	if err != nil {
		return health.Answer{}, err
	}
	a.expect(node, q)
	defer a.expect("", health.Question{})
	for range questionTries {
		if err := a.conn.PublishCheck(node, question); err != nil {
			return health.Answer{}, err
		}
		select {
		case <-ctx.Done():
			return health.Answer{}, context.Cause(ctx)
		case <-time.After(questionPatience):
		case answer := <-a.answers:
			return answer, nil
		}
	}
	return health.Answer{}, errNoAnswer
}

// expect notes whose answer is waited for; any other one is dropped.
func (a *asker) expect(node string, q health.Question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node, a.question = node, q
	work.Drain(a.answers)
}

func (a *asker) awaits(node string, q health.Question) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.node == node && a.question == q
}
