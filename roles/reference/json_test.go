package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/roles/observe"
	"pdns-distribute/roles/status"
)

// What is read of the source is what encoding/json writes.
func TestFieldsAreThoseOfJSON(t *testing.T) {
	c := newCatalog("../..")
	for name, value := range map[string]any{
		"status.Document": status.NewDocument(health.Board{Nodes: []health.Row{{}}}, health.Config{}, "", nil),
		"health.Group": health.Group{
			Role: "x", Warning: true, Cause: "x", Because: "x",
		},
		"observe.ReadinessDocument": observe.ReadinessDocument{Reasons: []observe.Reason{{Run: 1}}, Alarms: 1},
		"health.Fill":               health.Fill{},
		"health.SignedUntil":        health.SignedUntil{At: time.Now()},
	} {
		k, err := c.add(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var written map[string]any
		if err := json.Unmarshal(text, &written); err != nil {
			t.Fatal(err)
		}
		for _, o := range c.objects {
			if o.name != k.ref {
				continue
			}
			for _, m := range o.fields {
				if _, is := written[m.name]; !is && !m.optional {
					t.Errorf("%s: %s is not written", name, m.name)
				}
				delete(written, m.name)
			}
		}
		if len(written) > 0 {
			t.Errorf("%s: not documented: %v", name, reflect.ValueOf(written).MapKeys())
		}
	}
}

// Each document has a version, but for readiness, which load balancers read.
func TestDocumentsHaveVersions(t *testing.T) {
	for _, r := range roots {
		c := newCatalog("../..")
		if _, err := c.add(r.of); err != nil {
			t.Fatal(err)
		}
		has := false
		for _, m := range c.objects[0].fields {
			has = has || m.name == "version" && m.of.word == "integer" && !m.optional
		}
		if has == strings.HasSuffix(r.of, "ReadinessDocument") {
			t.Errorf("%s has a version: %v", r.of, has)
		}
	}
}

// All that is referred to is there, and what the health role answers is described.
func TestOpenAPI(t *testing.T) {
	text, err := openAPI("../..")
	if err != nil {
		t.Fatal(err)
	}
	var described map[string]any
	if err := json.Unmarshal([]byte(text), &described); err != nil {
		t.Fatal(err)
	}
	paths := described["paths"].(map[string]any)
	if paths[status.Path] == nil || paths["/"] == nil {
		t.Error("what the health role answers is not described")
	}
	references := 0
	walk(described, func(to string) {
		references++
		var at any = described
		for name := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
			below, is := at.(map[string]any)
			if !is {
				break
			}
			at = below[name]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", to)
		}
	})
	if references < 30 {
		t.Errorf("%d references", references)
	}
}

// walk visits all references.
func walk(of any, visit func(to string)) {
	switch of := of.(type) {
	case map[string]any:
		if to, is := of["$ref"].(string); is {
			visit(to)
		}
		for _, below := range of {
			walk(below, visit)
		}
	case []any:
		for _, below := range of {
			walk(below, visit)
		}
	}
}
