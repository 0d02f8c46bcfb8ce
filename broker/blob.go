package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// Hash is the SHA-256 of a blob's content, which is its name.
type Hash [sha256.Size]byte

// HashOf names content.
func HashOf(data []byte) Hash { return sha256.Sum256(data) }

// String is the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

func (h Hash) subject() string { return blobPrefix + h.String() }

// blobsInFlight bounds the blobs that are sent and not yet acknowledged, 64 KB each as a rule.
const blobsInFlight = 32

// PutBlob stores content of up to 512 KB; when it returns nil it is stored. A blob that is there is stored again:
// that makes it young, so that CollectBlobs leaves it alone until a state refers to it.
func (c *Conn) PutBlob(ctx context.Context, data []byte) (Hash, error) {
	hash := HashOf(data)
	if _, err := c.publish(ctx, blobStream, &nats.Msg{Subject: hash.subject(), Data: data}); err != nil {
		return hash, fmt.Errorf("put blob %s: %w", hash, err)
	}
	return hash, nil
}

// PutBlobs is PutBlob for many at a time. The hashes are in the order of the blobs. After an error some are stored.
func (c *Conn) PutBlobs(ctx context.Context, blobs [][]byte) ([]Hash, error) {
	hashes := make([]Hash, len(blobs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobsInFlight)
	for i, data := range blobs {
		group.Go(func() (err error) {
			hashes[i], err = c.PutBlob(ctx, data)
			return err
		})
	}
	return hashes, group.Wait()
}

// HasBlob reports whether a blob is stored, without reading it. CORE account only. A blob that no published state
// refers to may be collected at any time: put it rather than rely on it.
func (c *Conn) HasBlob(ctx context.Context, hash Hash) (has bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = c.ask(ctx, func(ctx context.Context) error {
		has, err = c.hasBlob(ctx, hash)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for blob %s: %w", hash, err)
	}
	return has, nil
}

func (c *Conn) hasBlob(ctx context.Context, hash Hash) (bool, error) {
	stream, err := c.js.Stream(ctx, blobStream)
	if err != nil {
		return false, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(hash.subject()))
	if err != nil {
		return false, err
	}
	return len(info.State.Subjects) > 0, nil
}

// GetBlob reads a blob and checks it (ErrCorrupt). It is all that a secondary needs, and all that it may do.
// ErrNotFound may be answered by a replica that is a moment behind: try again before believing it.
func (c *Conn) GetBlob(ctx context.Context, hash Hash) ([]byte, error) {
	msg, err := c.request(ctx, "DIRECT.GET."+blobStream+"."+hash.subject(), nil)
	if err == nil {
		err = directError(msg)
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", hash, err)
	}
	if HashOf(msg.Data) != hash {
		return nil, fmt.Errorf("get blob %s: %w: it is that of %s", hash, ErrCorrupt, HashOf(msg.Data))
	}
	return msg.Data, nil
}

// directError reads the status of an answer to Direct Get. A message has none.
func directError(msg *nats.Msg) error {
	switch status := msg.Header.Get("Status"); status {
	case "":
		return nil
	case "404":
		return ErrNotFound
	default:
		return fmt.Errorf("broker answers %s %s", status, msg.Header.Get("Description"))
	}
}

// CollectBlobs deletes the blobs that nothing refers to and that are older than the given age, by the broker's
// clock. referenced is asked again right before each deletion. The age must cover the time from putting the blobs of a
// state to publishing it; an hour does. A blob put again meanwhile stays. CORE account only.
func (c *Conn) CollectBlobs(ctx context.Context, referenced func(Hash) bool, olderThan time.Duration) (removed int, err error) {
	var old []storedBlob
	err = c.ask(ctx, func(ctx context.Context) error {
		old, err = c.blobsBefore(ctx, referenced, time.Now().Add(-olderThan))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("collect blobs: %w", err)
	}
	for _, b := range old {
		if referenced(b.hash) {
			continue
		}
		err := c.deleteBlob(ctx, b.seq)
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, ErrNotFound):
			return removed, fmt.Errorf("collect blob %s: %w", b.hash, err)
		}
	}
	return removed, nil
}

// deleteBlob deletes by sequence, not by subject: a blob that was put again has another one, and stays. It doesn't
// use nats.go's method, whose error hides the code that distinguishes 'not found' from failures.
func (c *Conn) deleteBlob(ctx context.Context, seq uint64) error {
	var done struct{}
	question := map[string]any{"seq": seq, "no_erase": true}
	return c.call(ctx, "STREAM.MSG.DELETE."+blobStream, question, &done)
}

type storedBlob struct {
	hash Hash
	seq  uint64
}

// maxCollect is how many blobs one collection deletes; the next one goes on.
const maxCollect = 1 << 20

var errEnough = errors.New("enough blobs for now")

func (c *Conn) blobsBefore(ctx context.Context, referenced func(Hash) bool, limit time.Time) ([]storedBlob, error) {
	stream, err := c.js.Stream(ctx, blobStream)
	if err != nil {
		return nil, err
	}
	var blobs []storedBlob
	err = c.scan(ctx, stream, func(subject string, meta *jetstream.MsgMetadata) error {
		hash, err := subjectHash(subject)
		switch {
		case err != nil:
		case len(blobs) == maxCollect:
			err = errEnough
		case meta.Timestamp.Before(limit) && !referenced(hash):
			blobs = append(blobs, storedBlob{hash, meta.Sequence.Stream})
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return blobs, err
}

func subjectHash(subject string) (Hash, error) {
	var hash Hash
	digits, ok := strings.CutPrefix(subject, blobPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(hash)) {
		return hash, fmt.Errorf("%w: %q names no blob", ErrSubject, subject)
	}
	_, err := hex.Decode(hash[:], []byte(digits))
	return hash, err
}

// scan calls fn for every message now in the stream, without its body.
func (c *Conn) scan(ctx context.Context, stream jetstream.Stream, fn func(subject string, meta *jetstream.MsgMetadata) error) error {
	consumer, err := stream.CreateConsumer(ctx, c.ephemeral(1))
	if err != nil {
		return err
	}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(min(left, 1024)), jetstream.FetchMaxWait(requestTimeout))
		if err != nil {
			return err
		}
		left = 0 // no message at all: what was left has been deleted
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err == nil {
				err = fn(msg.Subject(), meta)
			}
			if err != nil {
				return err
			}
			left = meta.NumPending
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}
