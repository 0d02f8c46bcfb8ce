package node

import (
	"testing"

	"pdns-distribute/broker"
)

// Two nodes are beside the same PowerDNS where it is on one loopback.
func TestBeside(t *testing.T) {
	const here = "http://127.0.0.1:8081"
	if BesideOf(here, "ONE") != BesideOf(here, "TWO") || BesideOf(here, "ONE") == BesideOf("http://127.0.0.1:8082", "ONE") {
		t.Error("one PowerDNS has two names, or two have one")
	}
	for _, elsewhere := range []string{"http://192.0.2.1:8081", "http://localhost:8081", "://"} {
		if BesideOf(elsewhere, "ONE") == BesideOf(elsewhere, "TWO") || broker.CheckNodeID(BesideOf(elsewhere, "ONE")) != nil {
			t.Errorf("%s may be any", elsewhere)
		}
	}
}
