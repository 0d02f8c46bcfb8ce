package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrConfig is wrapped by faults of a configuration or of the files it names. Trying again won't help.
	ErrConfig = errors.New("broker configuration")

	// ErrDisconnected means that there is no connection at the moment, or that it was lost before the answer came.
	ErrDisconnected = errors.New("not connected to the broker")

	// ErrClosed means that the connection is closed for good.
	ErrClosed = errors.New("connection to the broker is closed")

	// ErrGone means that a stream or consumer isn't there: the broker was wiped or never set up. The primary role
	// creates what is missing with EnsureStreams and ProvisionFeed.
	ErrGone = errors.New("missing on the broker (the primary role makes it, as soon as it runs)")

	// ErrConflict means that a state was not stored since another one had been stored in the meantime.
	ErrConflict = errors.New("state was changed by another writer")

	// ErrNotFound means that the broker answered, and holds no such state or blob.
	ErrNotFound = errors.New("not found on the broker")

	// ErrCorrupt means that a blob's content doesn't have the hash it is named by.
	ErrCorrupt = errors.New("content doesn't match its hash")

	// ErrDeviates means that a stream or consumer exists with other settings than this program needs.
	ErrDeviates = errors.New("settings on the broker deviate")

	// ErrNoLeader means that no node holds the lease: no health role runs, or the one that led has just ended.
	ErrNoLeader = errors.New("no health role leads; is one running? (after one ended, another one takes over within 20 s)")

	// ErrNoPrimary means that no primary role is connected.
	ErrNoPrimary = errors.New("no primary role is connected to the broker: start it, and look at its log")

	// ErrRefused means that the broker does not permit this node what its role needs.
	ErrRefused = errors.New("the broker does not permit what this role needs: its accounts.conf may be of an older version, or the role or id another one; " +
		"run pdns-distribute init update in the installation's folder, copy accounts.conf to each broker, and reload it")

	// ErrSubject means that a subject or node id is none of this program's.
	ErrSubject = errors.New("not a subject of pdns-distribute")
)

// errNoLeader is what a stream's own report says where nats-server (2.15.3) lets any of its brokers give that report.
var errNoLeader = errors.New("the stream has no leader: its brokers take and give nothing of it")

// Codes of the JetStream API that nats.go has no error value for.
const (
	codeWrongLastSequence           jetstream.ErrorCode = 10071
	codeWrongLastSequenceReplicated jetstream.ErrorCode = 10164
	codeSequenceNotFound            jetstream.ErrorCode = 10043
	codeNoLeader                    jetstream.ErrorCode = 10008 // "JetStream system temporarily unavailable"
	codeStreamOffline               jetstream.ErrorCode = 10118
)

// explain puts the sentinel that a caller can act on before an error of the NATS client.
func explain(err error) error {
	kind := sentinel(err)
	if kind == nil || errors.Is(err, kind) {
		return err
	}
	return fmt.Errorf("%w: %w", kind, err)
}

func sentinel(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return ErrDisconnected
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed):
		return ErrClosed
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound),
		errors.Is(err, jetstream.ErrBucketNotFound):
		return ErrGone
	case errors.Is(err, jetstream.ErrMsgNotFound), hasCode(err, codeSequenceNotFound):
		return ErrNotFound
	case hasCode(err, codeWrongLastSequence), hasCode(err, codeWrongLastSequenceReplicated):
		return ErrConflict
	}
	return nil
}

// Silent reports whether an error is that of brokers that let a node in and answer nothing that they would have to look
// up: they have no quorum, or their store has failed. Who may not ask gets another error (ErrNotPermitted).
func Silent(err error) bool {
	return !errors.Is(err, ErrNotPermitted) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, errNoLeader) || hasCode(err, codeNoLeader) || hasCode(err, codeStreamOffline))
}

// Answered reports whether an error is what the broker itself said, such as that a stream is not there: it listens and
// answers.
func Answered(err error) bool {
	return err == nil || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrBucketNotFound)
}

func hasCode(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}
