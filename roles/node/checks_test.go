package node

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/roletest"
)

func TestOnlyQuestionsOfChecksAreAnswered(t *testing.T) {
	question := health.Question{Check: "c", Depth: 1, Part: 2}
	text, err := json.Marshal(question)
	must.OK(t, err)
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

// testAnswers are those of a node with one source that counts and one that only looks.
func testAnswers(zones *health.Inventory) *Answers {
	look := func(_ context.Context, name zone.Name) (*health.Entry, error) {
		if strings.HasPrefix(name.String(), "broken") {
			return nil, errors.New("SERVFAIL")
		}
		e := health.BySerial(name, 7)
		return &e, nil
	}
	return NewAnswers(map[health.Source]Source{
		health.Stored: {Look: look, Count: func(context.Context, time.Duration) (*health.Inventory, time.Duration, error) {
			return zones, time.Minute, nil
		}},
		health.DNS: {Look: look, Names: func(bucket int) (names []zone.Name) {
			for _, e := range zones.In(bucket) {
				names = append(names, e.Zone)
			}
			return names
		}},
	})
}

// Each source answers for itself, and says how old its count is; zones are looked at at a pace.
func TestAnswers(t *testing.T) {
	zones := &health.Inventory{}
	for n := range 100 {
		zones.Add(health.BySerial(roletest.Numbered(n), 7))
	}
	a := testAnswers(zones)
	ask := func(ctx context.Context, q health.Question) (health.Answer, error) { return a.answer(ctx, q), nil }
	found, err := health.Compare(t.Context(), health.Question{Check: "c", Source: health.Stored}, zones, ask)
	if err != nil || len(found.Differences) != 0 || found.Age < time.Minute {
		t.Errorf("%+v, %v", found, err)
	}
	seen := 0
	for next := 0; seen < 100; {
		found, asked, to, err := health.Sample(t.Context(), health.Question{Check: "c", Source: health.DNS}, zones, next, 20, ask)
		if err != nil || len(found.Differences) != 0 || asked < 20 && seen+asked < 100 {
			t.Fatalf("%d asked, %+v, %v", asked, found, err)
		}
		next, seen = to, seen+asked
	}
	for what, q := range map[string]health.Question{
		"a source that is not there": {Check: "c", Source: "moon"},
		"all of what is only asked":  {Check: "c", Source: health.DNS},
		"another check":              {Check: "other", Source: health.Stored, Depth: 1},
		"no such part":               {Check: "c", Source: health.Stored, Depth: 3, Part: 1 << 20},
		"a zone that is broken":      health.QuestionOf("c", health.DNS, roletest.Named("broken")),
	} {
		if answer := a.answer(t.Context(), q); answer.Fault == "" || answer.Question != q {
			t.Errorf("%s: %+v", what, answer)
		}
	}
	fault := ""
	for range looksOnce + 1000 {
		if fault = a.answer(t.Context(), health.QuestionOf("c", health.Stored, roletest.Numbered(1))).Fault; fault != "" {
			break
		}
	}
	if !strings.Contains(fault, "too many") {
		t.Errorf("all were answered: %q", fault)
	}
}

// FuzzQuestions demands that whatever is asked has an answer of bounded size.
func FuzzQuestions(f *testing.F) {
	zones := &health.Inventory{}
	for n := range 100 {
		zones.Add(health.BySerial(roletest.Numbered(n), 7))
	}
	f.Add([]byte(`{"check":"c","source":"store","depth":1,"part":5,"fresh":5}`))
	f.Add([]byte(`{"check":"c","source":"dns","depth":3,"part":-1,"zone":"example.org."}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		q, ok := readQuestion(text)
		if !ok {
			return
		}
		a := testAnswers(zones)
		a.answer(t.Context(), health.Question{Check: q.Check, Source: q.Source})
		answer, err := json.Marshal(a.answer(t.Context(), q))
		if err != nil || len(answer) > 16<<10+2*len(text) {
			t.Errorf("%d bytes, %v", len(answer), err)
		}
	})
}
