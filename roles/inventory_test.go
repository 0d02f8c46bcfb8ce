package roles

import (
	"encoding/json"
	"testing"

	"pdns-distribute/health"
)

func TestOnlyQuestionsOfChecksAreAnswered(t *testing.T) {
	question := health.Question{Check: "c", Depth: 1, Part: 2}
	text, err := json.Marshal(question)
	must(t, err)
	if q, ok := readQuestion(text); !ok || q != question {
		t.Errorf("%s is read as %v, %v", text, q, ok)
	}
	// The first is the broker's answer to any status, which another secondary can have it send here.
	for _, other := range []string{`{"stream":"PDNS_STATUS","seq":27}`, `{"check":""}`, "", "nonsense"} {
		if q, ok := readQuestion([]byte(other)); ok {
			t.Errorf("%q is taken for the question %v", other, q)
		}
	}
}
