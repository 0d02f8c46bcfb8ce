package health

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"

	"pdns-distribute/powerdns/zone"
)

// Version stands for one version of one zone: equal where name and both digests are.
type Version [16]byte

// VersionOf makes it.
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
		return fmt.Errorf("a version of a zone has %d digits, and not %d", 2*len(v), len(text))
	}
	if _, err := hex.Decode(v[:], text); err != nil {
		return fmt.Errorf("%q is no version of a zone", text)
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

// Add adds a zone, which must not be there yet.
func (i *Inventory) Add(e Entry) {
	b := &i.buckets[bucketOf(e.Zone)]
	*b = append(*b, e)
}

func bucketOf(name zone.Name) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % (fan * fan))
}

// Sum is that of all zones.
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

// Question is what a check asks a secondary. All questions of one check are about one moment, that of the first.
type Question struct {
	Check string `json:"check"`
	Depth int    `json:"depth"`
	Part  int    `json:"part,omitempty"` // number of the group, or of the bucket
}

// Answer is what the secondary says.
type Answer struct {
	Question
	Sums  []Sum   `json:"sums,omitempty"`
	Zones []Entry `json:"zones,omitempty"`
	Fault string  `json:"fault,omitempty"` // why there is no answer
}

// Answer looks it up.
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
