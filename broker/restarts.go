package broker

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"pdns-distribute/backoff"
)

// restarts remembers, from one process to the next, when a server ended itself to be started anew, so that it does not
// do so again and again where that helps nothing.
type restarts struct{ file string }

const (
	restartsFile = "restarts.json" // where the streams are kept

	firstRestartPause = time.Minute
	lastRestartPause  = time.Hour

	// restartsForgotten is how long after the last restart nothing is remembered.
	restartsForgotten = 6 * time.Hour
)

type restartNote struct {
	At     time.Time `json:"at"`
	Count  int       `json:"count"`
	Reason string    `json:"reason"`
}

// note writes down that the server ends for a reason, or returns when it may be tried again: the first time at once,
// then with pauses that double.
func (r restarts) note(now time.Time, reason string) (again time.Time, err error) {
	last, err := r.last()
	if err != nil {
		return again, err
	}
	since := now.Sub(last.At)
	if since < 0 || since > restartsForgotten {
		last = restartNote{}
	}
	if last.Count > 0 {
		pause := backoff.Doubled(firstRestartPause, last.Count-1, lastRestartPause)
		if again = last.At.Add(pause); now.Before(again) {
			return again, nil
		}
	}
	text, err := json.Marshal(restartNote{At: now.UTC(), Count: last.Count + 1, Reason: reason})
	if err == nil {
		err = os.WriteFile(r.file, text, 0o600)
	}
	return time.Time{}, err
}

// last is the zero note where there is none, or none that can be read.
func (r restarts) last() (n restartNote, err error) {
	text, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	if json.Unmarshal(text, &n) != nil {
		return restartNote{}, nil
	}
	return n, nil
}
