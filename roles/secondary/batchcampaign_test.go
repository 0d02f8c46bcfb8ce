//go:build campaign

package secondary

import (
	"testing"

	"pdns-distribute/powerdns/local"
)

// TestBatchIsKilledAnywhere is TestBatchIsKilled at all steps.
func TestBatchIsKilledAnywhere(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		for _, call := range []string{"create", "retrieve", "delete"} {
			for _, what := range []string{"PowerDNS", "role", "both"} {
				for _, step := range []string{"before " + call, "after " + call} {
					k := kill{what, step, backend}
					t.Run(k.String(), k.test)
				}
			}
		}
	}
}
