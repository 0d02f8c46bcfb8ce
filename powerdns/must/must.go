// Package must ends a test where something does not hold that the test builds on.
package must

import (
	"testing"
	"time"
)

// Patience is longer than anything takes on a machine that is slow and busy: a test that is well never waits for it.
const Patience = 3 * time.Minute

// pause is the time between two looks at what tells no event.
const pause = 10 * time.Millisecond

// OK ends the test if there is an error.
func OK(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually repeats check until it returns nil, and ends the test after Patience. It is for what tells no event, such
// as another process; where there is an event, await the event.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(pause) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", Patience, err)
		}
	}
}

// NotShort leaves a test that takes more than four seconds out under -short (make test-quick).
func NotShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: takes long")
	}
}

// HavePowerDNS leaves a test that starts PowerDNS out under -short (make test-quick). Without -short the test goes on,
// and fails where PowerDNS is missing.
func HavePowerDNS(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short: needs PowerDNS")
	}
}
