package zone

import (
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// ErrRecord is wrapped by the errors of functions that read records.
var ErrRecord = errors.New("malformed record")

const (
	typeALIAS = 65401 // PowerDNS's ALIAS as it leaves by AXFR
	maxRdata  = 65535
)

// rdataLayout says where the names are inside the RDATA of a type: behind skip bytes come names names, then anything.
type rdataLayout struct {
	skip      int
	names     int
	canonical bool // RFC 4034 §6.2 (as corrected by RFC 6840 §5.1) compares and digests them in lower case
}

// rdataNames lists the types whose RDATA holds names. All others are opaque, as RFC 3597 §7 wants it for types that are
// not known. NAPTR's text fields in front of the name have no fixed length; nameAt finds them.
var rdataNames = map[uint16]rdataLayout{
	dns.TypeNS:     {0, 1, true},
	dns.TypeMD:     {0, 1, true},
	dns.TypeMF:     {0, 1, true},
	dns.TypeCNAME:  {0, 1, true},
	dns.TypeSOA:    {0, 2, true},
	dns.TypeMB:     {0, 1, true},
	dns.TypeMG:     {0, 1, true},
	dns.TypeMR:     {0, 1, true},
	dns.TypePTR:    {0, 1, true},
	dns.TypeMINFO:  {0, 2, true},
	dns.TypeMX:     {2, 1, true},
	dns.TypeRP:     {0, 2, true},
	dns.TypeAFSDB:  {2, 1, true},
	dns.TypeRT:     {2, 1, true},
	dns.TypeSIG:    {18, 1, true},
	dns.TypePX:     {2, 2, true},
	dns.TypeNXT:    {0, 1, true},
	dns.TypeNAPTR:  {4, 1, true},
	dns.TypeKX:     {2, 1, true},
	dns.TypeSRV:    {6, 1, true},
	dns.TypeDNAME:  {0, 1, true},
	dns.TypeRRSIG:  {18, 1, true},
	dns.TypeSVCB:   {2, 1, false},
	dns.TypeHTTPS:  {2, 1, false},
	dns.TypeLP:     {2, 1, false},
	dns.TypeTALINK: {0, 2, false},
	typeALIAS:      {0, 1, false},
}

// nameAt returns the offset of the first name in rdata.
func (l rdataLayout) nameAt(typ uint16, rdata []byte) (int, error) {
	at := l.skip
	if typ == dns.TypeNAPTR {
		for range 3 { // flags, services, regexp: RFC 3403 §4.1
			if at >= len(rdata) {
				return 0, fmt.Errorf("%w: NAPTR text ends early", ErrRecord)
			}
			at += 1 + int(rdata[at])
		}
	}
	if at > len(rdata) {
		return 0, fmt.Errorf("%w: %s RDATA of %d bytes is too short", ErrRecord, dns.TypeToString[typ], len(rdata))
	}
	return at, nil
}

// appendRdata appends the RDATA that stands in msg[off:end], resolving compression pointers in the names of the types
// that RFC 4034 §6.2 folds. Names of other types are never compressed (RFC 3597 §4). Letters stay as they are.
func appendRdata(dst, msg []byte, off, end int, typ uint16) ([]byte, error) {
	l, ok := rdataNames[typ]
	if !ok || !l.canonical {
		return append(dst, msg[off:end]...), nil
	}
	at, err := l.nameAt(typ, msg[off:end])
	if err != nil {
		return nil, err
	}
	dst = append(dst, msg[off:off+at]...)
	at += off
	for range l.names {
		if dst, at, err = appendName(dst, msg[:end], at); err != nil {
			return nil, err
		}
	}
	return append(dst, msg[at:end]...), nil
}

// foldRdata lowers the names in uncompressed rdata in place, those of non-canonical types too. Malformed rdata stays
// as it is.
func foldRdata(typ uint16, rdata []byte) {
	l, ok := rdataNames[typ]
	if !ok {
		return
	}
	at, err := l.nameAt(typ, rdata)
	for range l.names {
		if err != nil {
			return
		}
		var name []byte
		if name, _, err = cutName(rdata[at:]); err == nil {
			lower(name)
			at += len(name)
		}
	}
}

// hasCapital reports whether any byte is a capital letter.
func hasCapital(b []byte) bool {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			return true
		}
	}
	return false
}

// appendName appends the name at msg[off:] without compression, its letters as they are, and returns the offset behind
// it. Pointers must lead backwards (RFC 1035 §4.1.4), which also bounds the walk.
func appendName(dst, msg []byte, off int) ([]byte, int, error) {
	start, next, limit := len(dst), -1, off
	for {
		if off >= len(msg) {
			return nil, 0, fmt.Errorf("%w: a name runs past the end", ErrRecord)
		}
		l := int(msg[off])
		switch {
		case l == 0:
			dst = append(dst, 0)
			if next < 0 {
				next = off + 1
			}
			if len(dst)-start > maxName {
				return nil, 0, fmt.Errorf("%w: a name of more than %d bytes", ErrRecord, maxName)
			}
			return dst, next, nil
		case l < 64:
			if off+1+l > len(msg) || len(dst)-start+1+l > maxName {
				return nil, 0, fmt.Errorf("%w: a name is too long", ErrRecord)
			}
			dst = append(dst, msg[off:off+1+l]...)
			off += 1 + l
		case l >= 0xc0 && off+1 < len(msg):
			to := (l&0x3f)<<8 | int(msg[off+1])
			if to >= limit {
				return nil, 0, fmt.Errorf("%w: a compression pointer leads forwards", ErrRecord)
			}
			if next < 0 {
				next = off + 2
			}
			off, limit = to, to
		default:
			return nil, 0, fmt.Errorf("%w: label type %#x", ErrRecord, l)
		}
	}
}
