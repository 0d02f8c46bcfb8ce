package zone

import (
	"iter"

	"github.com/miekg/dns"
)

// Aliases yields the names that CNAME and DNAME records lead to.
func (z *Zone) Aliases() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for r := range z.Records() {
			if typ := r.Type(); typ != dns.TypeCNAME && typ != dns.TypeDNAME {
				continue
			}
			if target, err := NameFromWire(r.Data()); err == nil && !yield(target) {
				return
			}
		}
	}
}

// Parent is the name without its first label; the root is its own.
func (n Name) Parent() Name {
	if n == Root {
		return Root
	}
	return n[1+int(n[0]):]
}
