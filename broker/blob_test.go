package broker_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
)

func TestBlobs(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	ctx := t.Context()
	sec := b.Connect("sec1")
	content := bytes.Repeat([]byte("blob"), 128<<10) // 512 KB
	hash, err := primary.PutBlob(ctx, content)
	must.OK(t, err)
	again, err := primary.PutBlob(ctx, content)
	must.OK(t, err)
	if hash != again || hash != broker.HashOf(content) {
		t.Errorf("hashes %s and %s", hash, again)
	}
	for _, c := range []*broker.Conn{primary, sec} {
		got, err := c.GetBlob(ctx, hash)
		must.OK(t, err)
		if !bytes.Equal(got, content) {
			t.Error("content differs")
		}
		if _, err := c.GetBlob(ctx, broker.Hash{1}); !errors.Is(err, broker.ErrNotFound) {
			t.Errorf("getting what isn't there: %v", err)
		}
	}
	for h, want := range map[broker.Hash]bool{hash: true, {1}: false} {
		if has, err := primary.HasBlob(ctx, h); err != nil || has != want {
			t.Errorf("%s: %v, %v", h, has, err)
		}
	}
}

func TestBlobEmpty(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	hash, err := primary.PutBlob(t.Context(), nil)
	must.OK(t, err)
	if got, err := primary.GetBlob(t.Context(), hash); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBlobCorrupt(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	hash := broker.HashOf([]byte("true"))
	_, err := primary.JetStream().Publish(t.Context(), "pdns.blob."+hash.String(), []byte("false"))
	must.OK(t, err)
	if _, err := b.Connect("sec1").GetBlob(t.Context(), hash); !errors.Is(err, broker.ErrCorrupt) {
		t.Errorf("getting a forged blob: %v", err)
	}
}

func TestPutBlobs(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	blobs := randomBlobs(t, 300, 40<<10)
	begun := time.Now()
	hashes, err := primary.PutBlobs(t.Context(), blobs)
	must.OK(t, err)
	t.Logf("300 blobs of 40 KB: %v", time.Since(begun))
	for i, h := range hashes {
		if h != broker.HashOf(blobs[i]) {
			t.Fatalf("hash %d is that of another", i)
		}
	}
	if _, err := primary.GetBlob(t.Context(), hashes[299]); err != nil {
		t.Error(err)
	}
}

func TestPutBlobsFails(t *testing.T) {
	t.Parallel()
	b, primary := start(t)
	b.Stop()
	if _, err := primary.PutBlobs(t.Context(), randomBlobs(t, 100, 10)); !errors.Is(err, broker.ErrDisconnected) {
		t.Error(err)
	}
}

func randomBlobs(t testing.TB, n, size int) [][]byte {
	t.Helper()
	blobs := make([][]byte, n)
	for i := range blobs {
		blobs[i] = make([]byte, size)
		_, err := rand.Read(blobs[i])
		must.OK(t, err)
	}
	return blobs
}

func TestCollectBlobs(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	ctx := t.Context()
	if n, err := primary.CollectBlobs(ctx, nil, 0); n != 0 || err != nil {
		t.Errorf("collecting nothing: %d, %v", n, err)
	}
	var blobs [][]byte
	for i := range 2000 {
		blobs = append(blobs, fmt.Append(nil, "blob ", i))
	}
	hashes, err := primary.PutBlobs(ctx, blobs)
	must.OK(t, err)
	if n, err := primary.CollectBlobs(ctx, func(broker.Hash) bool { return false }, time.Hour); n != 0 || err != nil {
		t.Errorf("collecting young ones: %d, %v", n, err)
	}
	keep := map[broker.Hash]bool{hashes[0]: true, hashes[1999]: true}
	putAgain := hashes[1000]
	referenced := func(h broker.Hash) bool {
		if h == putAgain { // while it is being collected
			_, err := primary.PutBlob(ctx, blobs[1000])
			must.OK(t, err)
		}
		return keep[h]
	}
	n, err := primary.CollectBlobs(ctx, referenced, 0)
	must.OK(t, err)
	if n != 1997 {
		t.Errorf("%d were removed", n)
	}
	for i, want := range map[int]bool{0: true, 1: false, 1000: true, 1998: false, 1999: true} {
		if has, err := primary.HasBlob(ctx, hashes[i]); err != nil || has != want {
			t.Errorf("blob %d: %v, %v", i, has, err)
		}
	}
}
