package work

import (
	"testing"
	"time"
)

func TestRetryPause(t *testing.T) {
	for attempts, least := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 9: 256 * time.Second,
		10: 5 * time.Minute, 17: 5 * time.Minute, 1000: 5 * time.Minute, 1 << 40: 5 * time.Minute,
	} {
		different := map[time.Duration]bool{}
		for range 100 {
			pause := RetryPause(attempts)
			if pause < least || pause >= least+least/10 {
				t.Errorf("%d attempts: %s, want %s and at most a tenth more", attempts, pause, least)
			}
			different[pause] = true
		}
		if len(different) < 10 {
			t.Errorf("%d attempts: %d different pauses: zones that failed together stay together", attempts, len(different))
		}
	}
}
