package zone

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"github.com/miekg/dns"
)

// Digest is an RFC 8976 digest of scheme SIMPLE, hash SHA-384.
type Digest [sha512.Size384]byte

// StableDigest names the content of a version, not its making; see [Zone.Stable].
type StableDigest [sha256.Size]byte

// ParseDigest reads a digest that was printed in hex.
func ParseDigest(text string) (d Digest, err error) {
	err = parseHex(d[:], text)
	return d, err
}

// ParseStableDigest reads a stable digest that was printed in hex.
func ParseStableDigest(text string) (d StableDigest, err error) {
	err = parseHex(d[:], text)
	return d, err
}

func parseHex(into []byte, text string) error {
	if len(text) != hex.EncodedLen(len(into)) {
		return fmt.Errorf("%w: digest %q", ErrCorrupt, text)
	}
	if _, err := hex.Decode(into, []byte(text)); err != nil {
		return fmt.Errorf("%w: digest %q", ErrCorrupt, text)
	}
	return nil
}

// Digest is the RFC 8976 §3.3.1 digest over all records except the apex ZONEMD and its signatures. It proves that what
// arrived is what was sent.
func (z *Zone) Digest() Digest {
	h := sha512.New384()
	from := 0 // records are hashed in as few and as long pieces as possible
	for i := range z.index {
		r := z.Record(i)
		canonical := r.Canonical()
		if (r.Type() == dns.TypeZONEMD || r.Covered() == dns.TypeZONEMD) && bytes.Equal(r.owner(), []byte(z.name)) {
			canonical = nil
		} else if &canonical[0] == &r[0] {
			continue
		}
		at := int(z.index[i])
		h.Write(z.wire[from:at])
		h.Write(canonical)
		from = at + len(r)
	}
	h.Write(z.wire[from:])
	return Digest(h.Sum(nil))
}

// Stable is a digest of what a signer does not make anew each time: names folded to lower case, RRSIGs without the
// signature bytes, no NSEC, NSEC3 and NSEC3PARAM. It changes with every edit, key change and re-signing, and is equal
// across servers that share one database and on the AXFR of a PowerDNS secondary that was given this version.
func (z *Zone) Stable() StableDigest { return z.StableAt(z.Serial()) }

// StableAt is what Stable would be if the zone had this serial.
func (z *Zone) StableAt(serial uint32) StableDigest {
	h := sha256.New()
	var folded [][]byte // the RRset in hand, where folding can change the order
	var last Record
	for r := range z.Records() {
		if r.Denial() {
			continue
		}
		if last != nil && (r.Type() != last.Type() || !bytes.Equal(r.owner(), last.owner())) {
			folded = flush(h, folded)
		}
		form := stableForm(r)
		if r.Type() == dns.TypeSOA && serial != z.Serial() {
			form = bytes.Clone(form)
			binary.BigEndian.PutUint32(form[len(form)-20:], serial)
		}
		folded = append(folded, form)
		last = r
	}
	flush(h, folded)
	return StableDigest(h.Sum(nil))
}

func flush(h hash.Hash, rrset [][]byte) [][]byte {
	slices.SortFunc(rrset, bytes.Compare)
	for _, r := range rrset {
		h.Write(r)
	}
	return rrset[:0]
}

// stableForm returns the record with all names in lower case, and an RRSIG cut off behind the signer's name.
func stableForm(r Record) []byte {
	form := r.folded()
	if r.Type() == dns.TypeRRSIG {
		if signer, _, err := cutName(r.Data()[min(18, len(r.Data())):]); err == nil {
			return form[:len(r)-len(r.Data())+18+len(signer)]
		}
	}
	return form
}
