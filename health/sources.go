package health

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"pdns-distribute/powerdns/zone"
)

// Source is where a node counts zones. Each is read by itself, and none is taken from another.
type Source string

// The sources.
const (
	Served   Source = ""         // what the PowerDNS of a secondary was proven to serve
	Stored   Source = "store"    // the file of a secondary's own copy
	PowerDNS Source = "powerdns" // the listing of the PowerDNS beside a node
	DNS      Source = "dns"      // what that PowerDNS answers, zone by zone: a sample
	Index    Source = "index"    // what a primary takes for published
	Stream   Source = "stream"   // the states that a primary can read at the broker, all of them read again
)

// SourcesOf returns those of a node of the role, in the order in which they are compared: the stream before what
// follows it.
func SourcesOf(role string) []Source {
	switch role {
	case RolePrimary:
		return []Source{Stream, Index, PowerDNS}
	case RoleSecondary:
		return []Source{Served, Stored, PowerDNS, DNS}
	}
	return nil
}

// String returns what an operator reads.
func (s Source) String() string {
	switch s {
	case Served:
		return "proven to be served"
	case Stored:
		return "own copy"
	case PowerDNS:
		return "PowerDNS, listed"
	case DNS:
		return "PowerDNS, asked by DNS"
	case Index:
		return "known as published"
	case Stream:
		return "stream, read again"
	}
	return Cut(string(s))
}

// SerialVersion returns the version of a zone where no more than its serial is known: of listings, and of answers
// over DNS.
func SerialVersion(name zone.Name, serial uint32) (v Version) {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, serial))
	h.Write([]byte(name))
	copy(v[:], h.Sum(nil))
	return v
}

// BySerial returns the entry of a zone of which no more than its serial is known.
func BySerial(name zone.Name, serial uint32) Entry {
	return Entry{Zone: name, Version: SerialVersion(name, serial), Serial: serial}
}

// Sample compares zone by zone from a bucket on, until so many zones were compared, or all. It returns how many those
// were, and where the next sample goes on.
func Sample(ctx context.Context, q Question, want *Inventory, from, zones int,
	ask func(context.Context, Question) (Answer, error)) (found Comparison, asked, next int, err error) {
	c := comparing{ctx: ctx, question: q, want: want, ask: ask}
	bucket := from % len(want.buckets)
	for range want.buckets {
		if asked >= zones {
			break
		}
		if n := len(want.buckets[bucket]); n > 0 {
			if err := c.list(bucket, Sum{Zones: math.MaxInt}); err != nil {
				return c.found, asked, bucket, err
			}
			asked += n
		}
		bucket = (bucket + 1) % len(want.buckets)
	}
	return c.found, asked, bucket, nil
}

// QuestionOf returns the question about a single zone.
func QuestionOf(check string, source Source, name zone.Name) Question {
	return Question{Check: check, Source: source, Depth: depthZones, Part: bucketOf(name), Zone: name}
}
