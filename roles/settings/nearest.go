package settings

import (
	"fmt"
	"strings"
)

// DidYouMean ends a message about an unknown name: `, did you mean "x"?`, or nothing if no candidate is near.
func DidYouMean(name string, candidates []string) string {
	if candidate, found := nearest(name, candidates); found {
		return fmt.Sprintf(", did you mean %q?", candidate)
	}
	return ""
}

// nearest gives the candidate that word is most probably a misspelling of: one letter wrong, missing, too many or
// swapped with the one beside it is allowed, and one more for every eight letters.
func nearest(word string, candidates []string) (best string, found bool) {
	limit := 1 + len(word)/8
	for _, candidate := range candidates {
		if d := distance(word, candidate); d <= limit {
			best, found, limit = candidate, true, d-1
		}
	}
	return best, found
}

// Resembles returns the name that word was probably meant for, by a wider measure than [DidYouMean]: it is for words
// that would be taken for something else, with consequences. Case does not count, the beginning of a name is enough,
// and two letters of six may be wrong.
func Resembles(word string, names []string) (name string, is bool) {
	word = strings.ToLower(word)
	for _, name := range names {
		if word != "" && (strings.HasPrefix(name, word) || distance(word, name) <= 1+len(word)/3) {
			return name, true
		}
	}
	return "", false
}

// distance counts the edits between a and b: the optimal string alignment distance.
func distance(a, b string) int {
	// The rows of the table for the last two letters of a, and for the one at hand.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			swap := len(a) + len(b)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				swap = before[j-1] + 1
			}
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, change, swap)
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
