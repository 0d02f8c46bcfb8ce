package proxy

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pdns-distribute/powerdns/must"
)

// recipe is what a tool asked for when docs/automation.md's recipe was run, and the flags of the key it was run with.
type recipe struct {
	flags string
	steps []recipeStep
}

type recipeStep struct {
	status               int
	method, target, body string
}

// readRecipe reads a recording: comments, a line with the key's flags, and a line for each request, "STATUS METHOD
// TARGET BODY". ZONES is short for the path of the zones.
func readRecipe(t *testing.T, file string) (r recipe) {
	t.Helper()
	text, err := os.ReadFile(file)
	must.OK(t, err)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if flags, is := strings.CutPrefix(line, "key "); is {
			r.flags = flags
		} else if line != "" && !strings.HasPrefix(line, "#") {
			r.steps = append(r.steps, readRecipeStep(t, line))
		}
	}
	if r.flags == "" || len(r.steps) < 3 {
		t.Fatalf("%s has no key, or only %d requests", file, len(r.steps))
	}
	return r
}

func readRecipeStep(t *testing.T, line string) recipeStep {
	t.Helper()
	fields := append(strings.SplitN(line, " ", 4), "")
	status, err := strconv.Atoi(fields[0])
	must.OK(t, err)
	return recipeStep{status, fields[1], strings.Replace(fields[2], "ZONES", zonesPath, 1), fields[3]}
}

// key is the key that these flags of key add make.
func (r recipe) key(t *testing.T) Key {
	t.Helper()
	k := Key{ID: "recipe"}
	flags := strings.Fields(r.flags)
	for len(flags) > 0 {
		switch flag := flags[0]; {
		case flag == "--acme":
			k.Verbs, k.Types, k.Names = ACME()
			flags = flags[1:]
			continue
		case len(flags) == 1:
			t.Fatalf("%s has no value", flag)
		case flag == "--zone":
			k.Zones = append(k.Zones, flags[1])
		case flag == "--verb":
			k.Verbs = append(k.Verbs, strings.Split(flags[1], ",")...)
		case flag == "--type":
			k.Types = append(k.Types, strings.Split(flags[1], ",")...)
		default:
			t.Fatalf("the flag %s is not known here", flag)
		}
		flags = flags[2:]
	}
	return k
}

// TestRecipes makes the requests that each tool made, with the key that docs/automation.md has for it, on a real
// PowerDNS: a scope that lets one of them pass no more would break the recipe unseen.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("../docs/automation.md")
	must.OK(t, err)
	files, err := filepath.Glob("testdata/recipes/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d recipes: %v", len(files), err)
	}
	recipes, keys, secrets := make([]recipe, len(files)), make([]Key, len(files)), make([]string, len(files))
	for i, file := range files {
		recipes[i] = readRecipe(t, file)
		keys[i], secrets[i] = newKey(recipes[i].key(t))
		keys[i].ID = fmt.Sprintf("recipe-%d", i)
		if !strings.Contains(string(page), " "+recipes[i].flags+" ") {
			t.Errorf("docs/automation.md makes no key with %s, as %s has it", recipes[i].flags, file)
		}
	}
	k, _ := behindKeys(t, nil, keys...)
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { k.replay(t, secrets[i], recipes[i]) })
	}
}

func (k keyed) replay(t *testing.T, secret string, r recipe) {
	for _, step := range r.steps {
		a := k.ask(t, secret, step.method, step.target, step.body)
		if a.status != step.status {
			t.Fatalf("%s %s: %d %s, want %d", step.method, step.target, a.status, a.body, step.status)
		}
		touched := k.queue.take()
		if wrote := step.method == http.MethodPatch; wrote != slices.Contains(touched, "change example.org.") {
			t.Errorf("%s %s: touched %q", step.method, step.target, touched)
		}
	}
}
