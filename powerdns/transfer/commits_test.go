package transfer

import (
	"testing"
	"time"
)

// Nothing is expected of a server that is not known, nor that it is as slow as it once was.
func TestEarlyFollowsTheQuickestCommit(t *testing.T) {
	t.Parallel()
	var c Commits
	for range commitsKept - 1 {
		c.note(2 * time.Millisecond)
	}
	if early := c.early(); early != 0 {
		t.Errorf("asked after %s, before %d commits are known", early, commitsKept)
	}
	c.note(4 * time.Millisecond)
	if early, want := c.early(), 1500*time.Microsecond; early != want {
		t.Errorf("asked after %s, want %s", early, want)
	}
	c.note(time.Microsecond)
	if early := c.early(); early >= time.Microsecond {
		t.Errorf("asked after %s, though a commit took a microsecond", early)
	}
	for range commitsKept {
		c.note(time.Minute)
	}
	if early := c.early(); early != longestEarly {
		t.Errorf("asked after %s, want %s", early, longestEarly)
	}
}
