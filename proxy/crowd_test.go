package proxy

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestCrowd(t *testing.T) {
	c := newCrowd()
	leave, _ := c.enter(alice)
	for n := 1; n < maxCrowdSource; n++ {
		if _, room := c.enter(alice); !room {
			t.Fatalf("no room for number %d", n)
		}
	}
	if _, room := c.enter(alice); room {
		t.Error("one source has more than its share")
	}
	if _, room := c.enter(bob); !room {
		t.Error("one source keeps another out")
	}
	leave()
	leave() // counts once
	if _, room := c.enter(alice); !room {
		t.Error("a place that was left stays taken")
	}
	if _, room := c.enter(alice); room {
		t.Error("a place was left twice")
	}
	for n := range 2 * maxCrowd {
		c.enter(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n)))
	}
	if c.all != maxCrowd {
		t.Errorf("%d requests are in work", c.all)
	}
}
