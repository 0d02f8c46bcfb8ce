package proxy

import (
	"net/http"
	"testing"
	"time"
)

func TestPreferredWait(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   time.Duration
		asked  bool
	}{
		{nil, 0, false},
		{[]string{"wait=10"}, 10 * time.Second, true},
		{[]string{"WAIT = 10"}, 10 * time.Second, true},
		{[]string{`wait="10"`}, 10 * time.Second, true},
		{[]string{"respond-async, wait=100; x=y"}, 100 * time.Second, true},
		{[]string{"handling=lenient", "wait=3, wait=5"}, 3 * time.Second, true},
		{[]string{"wait=0"}, 0, true},
		{[]string{"wait"}, 0, false},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=1.5"}, 0, false},
		{[]string{"wait=99999999999999999999"}, 0, false},
		{[]string{"await=5"}, 0, false},
		{[]string{",,=;"}, 0, false},
	} {
		got, asked := preferredWait(http.Header{"Prefer": test.values})
		if got != test.want || asked != test.asked {
			t.Errorf("%q: %s, %v; want %s, %v", test.values, got, asked, test.want, test.asked)
		}
	}
}

func FuzzPreferredWait(f *testing.F) {
	f.Add("respond-async, wait=100; x=y")
	f.Fuzz(func(t *testing.T, value string) {
		if wait, asked := preferredWait(http.Header{"Prefer": {value}}); wait < 0 || wait > 0 && !asked {
			t.Errorf("%q: %s, %v", value, wait, asked)
		}
	})
}
