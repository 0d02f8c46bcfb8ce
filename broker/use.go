package broker

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// StoreUse is what a server keeps, and for how many.
type StoreUse struct {
	Bytes, Limit uint64 // on disk
	Clients      int
	Streams      []StreamUse // those of this program
}

// StreamUse is what a server keeps of a stream.
type StreamUse struct {
	Name      string
	Bytes     uint64
	Consumers int
}

// ownStreams are those of this program, of which a server may have others.
var ownStreams = []string{touchStream, stateStream, blobStream, statusStream, leaseStream}

func storeUse(info *server.JSInfo) StoreUse {
	use := StoreUse{Bytes: info.Store, Limit: uint64(max(info.Config.MaxStore, 0))}
	for _, account := range info.AccountDetails {
		for _, s := range account.Streams {
			if slices.Contains(ownStreams, s.Name) {
				use.Streams = append(use.Streams, StreamUse{Name: s.Name, Bytes: s.State.Bytes, Consumers: s.State.Consumers})
			}
		}
	}
	return use
}
