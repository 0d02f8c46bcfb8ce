package fleet

import (
	"errors"
	"fmt"
	"strings"

	"pdns-distribute/powerdns/zone"
)

// Equal compares record by record. It ignores what a secondary makes anew, NSEC, NSEC3 and NSEC3PARAM, and the bytes of
// signatures: two transfers at a time can make a signer sign twice, and ECDSA signatures are random.
func Equal(is, want *zone.Zone) error {
	left := map[string]int{}
	for r := range is.Records() {
		left[Stable(r)]++
	}
	for r := range want.Records() {
		if left[Stable(r)]--; left[Stable(r)] < 0 && !r.Denial() {
			return fmt.Errorf("lacks %s", r)
		}
	}
	for record, n := range left {
		if n > 0 && record != "" {
			return fmt.Errorf("has in excess %s", record)
		}
	}
	if is.Stable() != want.Stable() {
		return errors.New("the stable digests differ")
	}
	return nil
}

// Stable is the text of a record without a signature's bytes, and "" of one that is ignored.
func Stable(r zone.Record) string {
	if r.Denial() {
		return ""
	}
	text := r.String()
	if r.Covered() != 0 {
		text = text[:strings.LastIndexByte(text, ' ')]
	}
	return strings.ToLower(text)
}
