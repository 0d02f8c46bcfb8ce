package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Confirmation is an operator's consent that a named node may delete so many zones that its deletion limit holds. It is
// signed with the nkey of the node on whose host the operator gave it, so that not even a broken-in broker can make one
// up, and it is good once, for a short time.
type Confirmation struct {
	Node  string    `json:"node"`  // whose limit it is: a primary, or the secondary that has zones in vain
	Count int       `json:"count"` // of zones
	At    time.Time `json:"at"`
	By    string    `json:"by,omitempty"`        // public nkey, U…; "" for a node that connects with other credentials
	Sig   []byte    `json:"signature,omitempty"` // Ed25519 over message
}

const (
	// ConfirmationTime is how long a confirmation can be used.
	ConfirmationTime = 10 * time.Minute

	// ConfirmationAhead is how far the clock of who gives it may be ahead of that of who takes it. A process that is
	// started anew within that time may take one again that the process before it has taken.
	ConfirmationAhead = time.Minute
)

// message is what is signed: nothing else that an nkey signs begins with these words, see plainNonces.
func (c Confirmation) message() []byte {
	return fmt.Appendf(nil, "pdns-distribute confirm deletions\x00%s\x00%d\x00%d", c.Node, c.Count, c.At.UnixMilli())
}

// Confirm makes the confirmation of count deletions at a node. It is signed if this node connects with an nkey.
func (c *Conn) Confirm(node string, count int) (confirmation Confirmation, err error) {
	confirmation = Confirmation{Node: node, Count: count, At: time.Now().UTC().Truncate(time.Millisecond)}
	if c.nkeyFile == "" {
		return confirmation, nil
	}
	seed, err := os.ReadFile(c.nkeyFile)
	if err != nil {
		return confirmation, fmt.Errorf("sign the confirmation: %w", err)
	}
	key, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return confirmation, fmt.Errorf("sign the confirmation: %s: %w", c.nkeyFile, err)
	}
	defer key.Wipe()
	if confirmation.By, err = key.PublicKey(); err != nil {
		return confirmation, fmt.Errorf("sign the confirmation: %s: %w", c.nkeyFile, err)
	}
	if confirmation.Sig, err = key.Sign(confirmation.message()); err != nil {
		return confirmation, fmt.Errorf("sign the confirmation: %s: %w", c.nkeyFile, err)
	}
	return confirmation, nil
}

// Confirmations takes confirmations for one process. It remembers the newest of each signer, so that none is used
// twice. Its methods are for one goroutine at a time.
type Confirmations struct {
	// Keys are the public nkeys that may confirm. Without any, whoever the broker lets send one is believed.
	Keys []string

	// Since is when this process began, or began to lead: what is older another one may have used.
	Since time.Time

	newest map[string]time.Time // by signer and node
}

// Take reads a confirmation. The error is why it does not count. Its By is "" where there are no Keys.
func (k *Confirmations) Take(text []byte, now time.Time) (c Confirmation, err error) {
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("the confirmation cannot be read: %w", err)
	}
	c.At = time.UnixMilli(c.At.UnixMilli()).UTC() // as it is signed: other microseconds make no other confirmation
	if len(k.Keys) == 0 {
		c.By, c.Sig = "", nil
	}
	if err := c.check(now); err != nil {
		return c, err
	}
	if err := k.verify(c); err != nil {
		return c, err
	}
	if c.At.Before(k.Since) {
		return c, errors.New("the confirmation is older than the role that is to take it: give it anew, and see that the clocks agree")
	}
	signer := c.By + " " + c.Node
	if !c.At.After(k.newest[signer]) {
		return c, errors.New("the confirmation was used before: give it anew")
	}
	if k.newest == nil {
		k.newest = map[string]time.Time{}
	}
	maps.DeleteFunc(k.newest, func(_ string, at time.Time) bool { return now.Sub(at) > 2*ConfirmationTime }) // too old to come again
	k.newest[signer] = c.At
	return c, nil
}

func (c Confirmation) check(now time.Time) error {
	switch {
	case CheckNodeID(c.Node) != nil:
		return errors.New("the confirmation names no node")
	case c.Count < 1:
		return errors.New("the confirmation is for no zone")
	case now.Sub(c.At) > ConfirmationTime, c.At.Sub(now) > ConfirmationAhead:
		return fmt.Errorf("the confirmation is of %s, and the clock here says %s: give it anew, and see that the clocks agree",
			c.At.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

func (k *Confirmations) verify(c Confirmation) error {
	if len(k.Keys) == 0 {
		return nil
	}
	if !slices.Contains(k.Keys, c.By) {
		return fmt.Errorf("the confirmation is not signed by one of confirm_keys, but by %.60q", c.By)
	}
	key, err := nkeys.FromPublicKey(c.By)
	if err == nil {
		err = key.Verify(c.message(), c.Sig)
	}
	if err != nil {
		return fmt.Errorf("the signature of the confirmation is wrong: %w", err)
	}
	return nil
}

// RequestConfirm brings a confirmation to the primary that it names, and returns its answer. It waits until ctx ends.
// ErrNoPrimary if none is there at all. Health roles and primaries.
func (c *Conn) RequestConfirm(ctx context.Context, confirmation []byte) (answer []byte, err error) {
	return c.askPrimary(ctx, confirmPrefix, confirmation)
}

// ServeConfirm answers these, as ServeLeader does. Primaries.
func (c *Conn) ServeConfirm(ctx context.Context, answer func(ctx context.Context, from Sender, confirmation []byte) []byte) (stop func(), err error) {
	return c.serve(ctx, confirmPrefix, answer)
}

// RequestForget asks a primary to remove all that the broker keeps of a node. As RequestConfirm.
func (c *Conn) RequestForget(ctx context.Context, node string) (answer []byte, err error) {
	return c.askPrimary(ctx, forgetPrefix, []byte(node))
}

// ServeForget answers these, as ServeLeader does. Primaries.
func (c *Conn) ServeForget(ctx context.Context, answer func(ctx context.Context, from Sender, node []byte) []byte) (stop func(), err error) {
	return c.serve(ctx, forgetPrefix, answer)
}

func (c *Conn) askPrimary(ctx context.Context, prefix string, request []byte) ([]byte, error) {
	answer, err := c.inquire(ctx, c.self.subject(prefix), request)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNoPrimary
	}
	if err != nil {
		return nil, fmt.Errorf("ask the primary: %w", err)
	}
	return answer, nil
}
