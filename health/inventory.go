package health

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Version stands for one version of one zone: equal where name and both digests are.
type Version [16]byte

// VersionOf returns the version of a zone with these digests.
func VersionOf(name zone.Name, digest zone.Digest, stable zone.StableDigest) (v Version) {
	h := sha256.New()
	h.Write(digest[:])
	h.Write(stable[:])
	h.Write([]byte(name))
	copy(v[:], h.Sum(nil))
	return v
}

// MarshalText writes it in hex.
func (v Version) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, v[:]), nil }

// UnmarshalText reads it.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) != 2*len(v) {
		return fmt.Errorf("a version of a zone has %d digits, not %d", 2*len(v), len(text))
	}
	if _, err := hex.Decode(v[:], text); err != nil {
		return fmt.Errorf("%q is not a version of a zone", text)
	}
	return nil
}

// Entry is one zone of an inventory.
type Entry struct {
	Zone    zone.Name `json:"zone"`
	Version Version   `json:"version"`
	Serial  uint32    `json:"serial"`
}

// Inventory is which zones there are at one moment, and in which versions. Two of them are compared by sums: of all, of
// 64 groups, of the 64 buckets of a group, and only then zone by zone. It is filled and then read only.
type Inventory struct {
	buckets [fan * fan][]Entry
}

// fan is how many parts each part has.
const fan = 64

// Sum stands for the zones of a part: it is the same where they are.
type Sum struct {
	Zones int     `json:"zones"`
	Xor   Version `json:"xor"` // of all versions
}

// String is the sum in hex.
func (s Sum) String() string { return hex.EncodeToString(s.Xor[:]) }

// Add adds a zone, which must not be there yet.
func (i *Inventory) Add(e Entry) {
	b := &i.buckets[bucketOf(e.Zone)]
	*b = append(*b, e)
}

// In returns the zones of one bucket.
func (i *Inventory) In(bucket int) []Entry { return i.buckets[bucket] }

func bucketOf(name zone.Name) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % (fan * fan))
}

// Sum returns the sum of all zones.
func (i *Inventory) Sum() Sum { return sum(i.buckets[:]) }

func sum(buckets [][]Entry) (s Sum) {
	for _, bucket := range buckets {
		s.Zones += len(bucket)
		for _, e := range bucket {
			for n := range s.Xor {
				s.Xor[n] ^= e.Version[n]
			}
		}
	}
	return s
}

// The depths that questions go to.
const (
	depthAll     = iota // one sum of all
	depthGroups         // a sum of each group
	depthBuckets        // a sum of each bucket of one group
	depthZones          // the zones of one bucket
)

// Question is what a check asks a node. All questions of one check about one source are about one moment.
type Question struct {
	Check  string        `json:"check"`
	Source Source        `json:"source,omitempty"`
	Depth  int           `json:"depth"`
	Part   int           `json:"part,omitempty"`  // number of the group, or of the bucket
	Fresh  time.Duration `json:"fresh,omitempty"` // how old the count may be, where that is cheap; 0: any age
	Zone   zone.Name     `json:"zone,omitempty"`  // look at this zone alone, now, whatever depth and part say
}

// OfZone reports whether the question is about one zone, and not about a part of all.
func (q Question) OfZone() bool { return q.Zone != "" }

// Bucket returns the part that a question for zones by name is about; ok reports whether it is one.
func (q Question) Bucket() (bucket int, ok bool) {
	return q.Part, q.Depth == depthZones && 0 <= q.Part && q.Part < fan*fan && !q.OfZone()
}

// First reports whether a check begins with the question, where its source is counted at one moment.
func (q Question) First() bool { return q.Depth == depthAll && !q.OfZone() }

// Answer is what the node answers.
type Answer struct {
	Question
	Sums  []Sum         `json:"sums,omitempty"`
	Zones []Entry       `json:"zones,omitempty"`
	Age   time.Duration `json:"age,omitempty"`   // since the source was counted; a duration, because clocks differ
	Fault string        `json:"fault,omitempty"` // why there is no answer
}

// Answer answers the question by the inventory.
func (i *Inventory) Answer(q Question) Answer {
	a := Answer{Question: q}
	switch {
	case q.Depth == depthAll:
		a.Sums = []Sum{i.Sum()}
	case q.Depth == depthGroups:
		for g := range fan {
			a.Sums = append(a.Sums, sum(i.group(g)))
		}
	case q.Depth == depthBuckets && 0 <= q.Part && q.Part < fan:
		for _, b := range i.group(q.Part) {
			a.Sums = append(a.Sums, sum([][]Entry{b}))
		}
	case q.Depth == depthZones && 0 <= q.Part && q.Part < fan*fan:
		a.Zones = i.buckets[q.Part]
	default:
		a.Fault = fmt.Sprintf("there is no part %d at depth %d", q.Part, q.Depth)
	}
	return a
}

func (i *Inventory) group(g int) [][]Entry { return i.buckets[g*fan : (g+1)*fan] }
