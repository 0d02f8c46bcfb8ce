package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// contrastLeast is what WCAG 2.2 asks of texts (1.4.3, AA), and partsLeast of marks that mean something (1.4.11).
const (
	contrastLeast = 4.5
	partsLeast    = 3
)

var colour = regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{6});`)

// themes are the colours of page.css, light and dark.
func themes(t *testing.T) map[string]map[string]string {
	t.Helper()
	css, err := files.ReadFile("assets/page.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !found {
		t.Fatal("page.css knows no dark")
	}
	read := func(text string) map[string]string {
		colours := map[string]string{}
		for _, c := range colour.FindAllStringSubmatch(text, -1) {
			colours[c[1]] = c[2]
		}
		return colours
	}
	return map[string]map[string]string{"light": read(light), "dark": read(dark)}
}

func TestContrast(t *testing.T) {
	for name, colours := range themes(t) {
		if len(colours) < 15 {
			t.Errorf("%s: %d colours", name, len(colours))
		}
		for _, text := range []string{"text", "quiet", "link", "good", "warn", "bad"} {
			for _, ground := range []string{"ground", "panel"} {
				if c := contrast(t, colours[text], colours[ground]); c < contrastLeast {
					t.Errorf("%s: %s on %s has %.2f:1", name, text, ground, c)
				}
			}
		}
		if c := contrast(t, colours["link"], colours["mark"]); c < contrastLeast {
			t.Errorf("%s: a found part of a name has %.2f:1", name, c)
		}
		for _, part := range []string{"bad-fill", "good-fill", "bar"} {
			if c := contrast(t, colours[part], colours["panel"]); c < partsLeast {
				t.Errorf("%s: %s has %.2f:1", name, part, c)
			}
		}
	}
}

// Each colour of a text or a ground is one of those that the test knows.
func TestColoursAreNamed(t *testing.T) {
	css, err := files.ReadFile("assets/page.css")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(css), "* { box-sizing")
	if found := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b[^{]*;|rgb|hsl|opacity: 0?\.`).FindString(rules); found != "" {
		t.Errorf("page.css has a colour without a name: %s", found)
	}
}

func TestContrastOfKnownColours(t *testing.T) {
	for pair, want := range map[[2]string]float64{{"000000", "ffffff"}: 21, {"777777", "ffffff"}: 4.48, {"123456", "123456"}: 1} {
		if got := contrast(t, pair[0], pair[1]); math.Abs(got-want) > .01 {
			t.Errorf("%q: %.2f, want %.2f", pair, got, want)
		}
	}
}

// contrast is the contrast ratio of WCAG 2.2.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + .05) / (math.Min(x, y) + .05)
}

func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
