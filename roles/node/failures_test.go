package node

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/roles/roletest"
)

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(prometheus.NewRegistry())
	long := errors.New(strings.Repeat("x", 10_000))
	for n := range maxFailing {
		if attempts := f.Add(roletest.Numbered(n), long); attempts != 1 {
			t.Fatalf("zone %d: attempt %d", n, attempts)
		}
	}
	if attempts := f.Add(roletest.Named("more"), long); attempts != attemptsUnknown || f.Count() != maxFailing || f.Has(roletest.Named("more")) {
		t.Errorf("one more: attempt %d, %d zones", attempts, f.Count())
	}
	if attempts := f.Add(roletest.Numbered(1), long); attempts != 2 {
		t.Errorf("one that is known: attempt %d", attempts)
	}
	f.Clear(roletest.Numbered(1))
	if attempts := f.Add(roletest.Named("more"), long); attempts != 1 || len(f.zones[roletest.Named("more")].Reason) > 500 {
		t.Errorf("in the place of another: attempt %d", attempts)
	}
}

func TestFailures(t *testing.T) {
	f := newFailures(prometheus.NewRegistry())
	for _, name := range []string{"b", "a", "c", "b"} {
		f.Add(roletest.Named(name), errors.New("first trouble of "+name))
	}
	if attempts := f.Add(roletest.Named("b"), errors.New("still in trouble")); attempts != 3 {
		t.Errorf("%d attempts, want 3", attempts)
	}
	list, total := f.list(2)
	if len(list) != 2 || total != 3 || list[0].Zone != roletest.Named("b") || list[0].Attempts != 3 || list[0].Reason != "still in trouble" {
		t.Errorf("%d of %d: %+v", len(list), total, list)
	}
	if list, _ := f.list(9); !slices.IsSortedFunc(list, byAge) || len(list) != 3 {
		t.Errorf("not the oldest first: %+v", list)
	}
	if !f.Clear(roletest.Named("b")) || f.Clear(roletest.Named("b")) || f.Count() != 2 {
		t.Errorf("%d are left of 3 - 1", f.Count())
	}
	if attempts := f.Add(roletest.Named("b"), errors.New("again")); attempts != 1 {
		t.Errorf("%d attempts after it was over, want 1", attempts)
	}
}

func byAge(a, b health.Failure) int { return a.Since.Compare(b.Since) }
