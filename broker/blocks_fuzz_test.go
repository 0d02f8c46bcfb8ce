package broker

import (
	"testing"
	"time"
)

// Whatever a block holds: each of its bytes is either kept or found to be no record.
func FuzzReadBlock(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, 100))
	f.Add([]byte("\x1e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00xxxxxxxx"))
	f.Fuzz(func(t *testing.T, text []byte) {
		kept := 0
		found, err := readBlock("PDNS_ZONE", 1, text, func(record []byte) { kept += len(record) })
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			kept += d.length
		}
		if kept != len(text) {
			t.Errorf("%d of %d bytes", kept, len(text))
		}
	})
}

func FuzzConsumerState(f *testing.F) {
	f.Add([]byte{22, 2, 1, 1, 1, 1, 0, 0})
	f.Add([]byte{22, 2, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, text []byte) { decodable(text) })
}

// A server that ends itself does so at once, and then with pauses, until it has lived well for hours.
func TestRestartsAreBounded(t *testing.T) {
	r := restarts{file: t.TempDir() + "/restarts.json"}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	took := 0
	for at := now; at.Before(now.Add(5 * time.Hour)); at = at.Add(10 * time.Second) {
		again, err := r.note(at, "stuck")
		if err != nil {
			t.Fatal(err)
		}
		if again.IsZero() {
			took++
		}
	}
	if took < 5 || took > 12 {
		t.Errorf("%d restarts in 5 hours", took)
	}
	if again, err := r.note(now.Add(20*time.Hour), "stuck"); err != nil || !again.IsZero() {
		t.Errorf("the first after a long time: %v, %v", again, err)
	}
	if _, err := (restarts{file: t.TempDir()}).note(now, "stuck"); err == nil {
		t.Error("what cannot be noted is no reason to end")
	}
}
