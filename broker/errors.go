package broker

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrConfig is wrapped by faults of a configuration or of the files it names. Trying again won't help.
	ErrConfig = errors.New("broker configuration")

	// ErrDisconnected says that there is no connection at the moment, or that it was lost before the answer came.
	ErrDisconnected = errors.New("not connected to the broker")

	// ErrClosed says that the connection is closed for good.
	ErrClosed = errors.New("connection to the broker is closed")

	// ErrGone says that a stream or consumer isn't there: the broker was wiped or never set up. The primary role
	// creates what is missing with EnsureStreams and ProvisionFeed.
	ErrGone = errors.New("missing on the broker (the primary role makes it, as soon as it runs)")

	// ErrConflict says that a state was not stored since another one had been stored in the meantime.
	ErrConflict = errors.New("state was changed by another writer")

	// ErrNotFound says that the broker answered, and holds no such state or blob.
	ErrNotFound = errors.New("not found on the broker")

	// ErrCorrupt says that a blob's content doesn't have the hash it is named by.
	ErrCorrupt = errors.New("content doesn't match its hash")

	// ErrDeviates says that a stream or consumer exists with other settings than this program needs.
	ErrDeviates = errors.New("settings on the broker deviate")

	// ErrNoLeader says that no node holds the lease: no health role runs, or the one that led has just ended.
	ErrNoLeader = errors.New("no health role leads; is one running? (after one ended, another one takes over within 20 s)")

	// ErrSubject says that a subject or node id is none of this program's.
	ErrSubject = errors.New("not a subject of pdns-distribute")
)

// Codes of the JetStream API that nats.go has no error value for.
const (
	codeWrongLastSequence           jetstream.ErrorCode = 10071
	codeWrongLastSequenceReplicated jetstream.ErrorCode = 10164
	codeSequenceNotFound            jetstream.ErrorCode = 10043
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

func hasCode(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}
