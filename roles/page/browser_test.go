//go:build browser

package page

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/status"
)

// browser is a Chromium window. What its console says is a fault: of the script, or of what the policy kept out.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex // guards said
	said []string
}

// newBrowser skips the test where there is no Chromium: make test-page installs it.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	program := slices.IndexFunc(chromiums, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if testing.Short() || program < 0 {
		t.Skip("this test wants Chromium: make test-page")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromiums[program]), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	window, _ := chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(window) }) // it waits until all files are written
	ctx, cancel = context.WithTimeout(window, must.Patience)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.listen)
	b.run(log.Enable(), emulation.SetTimezoneOverride("UTC"))
	t.Cleanup(func() {
		if said := b.console(); len(said) > 0 && !t.Failed() {
			t.Errorf("the console says %q", said)
		}
	})
	return b
}

var chromiums = []string{"chromium", "chromium-browser", "google-chrome"}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.said = append(b.said, e.Entry.Text)
	case *cdpruntime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Error())
	}
}

// console returns what has been said since it was last asked.
func (b *browser) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.said
	b.said = nil
	return said
}

func (b *browser) run(actions ...chromedp.Action) {
	b.t.Helper()
	must.OK(b.t, chromedp.Run(b.ctx, actions...))
}

// sized has the window be of that size, and dark or not.
func (b *browser) sized(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.run(chromedp.EmulateViewport(width, height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// is waits until an expression is true.
func (b *browser) is(expression string) {
	b.t.Helper()
	must.Eventually(b.t, func() error {
		var is bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate(expression, &is)) // it fails while another page is on its way
		if err == nil && !is {
			err = fmt.Errorf("%s: it is not", expression)
		}
		return err
	})
}

func (b *browser) get(expression string) (text string) {
	b.t.Helper()
	b.run(chromedp.Evaluate("String("+expression+")", &text))
	return text
}

// shot writes what is shown to the folder SHOTS, if there is one.
func (b *browser) shot(name string) {
	b.t.Helper()
	folder := os.Getenv("SHOTS")
	if folder == "" {
		return
	}
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		image, err := page.CaptureScreenshot().WithFormat(page.CaptureScreenshotFormatWebp).WithQuality(50).Do(ctx)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, name+".webp"), image, 0o600)
	}))
}

// fits looks that nothing is wider than the window.
func (b *browser) fits(what string) {
	b.t.Helper()
	got := b.get(`document.documentElement.scrollWidth > innerWidth ? [...document.querySelectorAll("main *")].filter(
		e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join("\n") : ""`)
	if got != "" {
		b.t.Errorf("%s is wider than the window: %s", what, got)
	}
}

// guarded is a world that changes while it is shown.
type guarded struct {
	mu sync.Mutex
	*world
}

func (g *guarded) Document() status.Document {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.world.Document()
}

func (g *guarded) change(change func(*world)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g.world)
}

func TestBrowserShowsAll(t *testing.T) {
	w, h := newWorld(14, 2000), NewHistory()
	w.busyHour(h)
	w.fail(12)
	w.alter("ns14", func(s *health.Sighting) { s.Secondary.Fill = &health.Fill{Done: 1240, Zones: 2000, Rate: 81} })
	w.feeds = []health.Feed{{Node: "ns14", Behind: 760}}
	url := w.serve(t, h)
	b := newBrowser(t)
	for _, shown := range []struct{ name, path string }{
		{"overview", "/"}, {"search", "/zones?q=shop12"}, {"zone", "/zone?name=customer-000001.shop1.example"},
		{"node", "/node?id=ns3"}, {"alarm", "/alarm?kind=failing"},
	} {
		for _, dark := range []bool{false, true} {
			for _, width := range []int64{1280, 390} {
				b.sized(width, 1100, dark)
				b.run(chromedp.Navigate(url+shown.path), chromedp.WaitVisible("h1", chromedp.ByQuery))
				name := fmt.Sprintf("%s-%d-dark-%v", shown.name, width, dark)
				b.fits(name)
				b.shot(name)
			}
		}
	}
}

func TestBrowserSearches(t *testing.T) {
	w := newWorld(3, 2000)
	url := w.serve(t, NewHistory())
	b := newBrowser(t)
	b.sized(1280, 900, false)
	b.run(chromedp.Navigate(url+"/"), chromedp.WaitVisible("h1", chromedp.ByQuery), chromedp.KeyEvent("/"))
	b.is(`document.activeElement.id === "q"`)
	b.run(chromedp.Evaluate(`document.activeElement.select()`, nil), chromedp.KeyEvent("shop12."))
	b.is(`document.querySelectorAll(".hits a").length === 2 && location.search === "?q=shop12."`)
	b.run(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	b.is(`document.activeElement.textContent === "customer-001012.shop12.example"`)
	b.run(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Enter))
	b.is(`location.pathname === "/zone" && document.querySelector("h1").textContent === "customer-000012.shop12.example"`)
	b.run(chromedp.NavigateBack())
	b.is(`location.pathname === "/zones" && document.querySelectorAll(".hits a").length === 2`)
	b.run(chromedp.Click("a.home", chromedp.ByQuery))
	b.is(`location.pathname === "/" && document.querySelector("h1").textContent === "Everything is in order"`)
	b.run(chromedp.Click(`a[href="/node?id=ns2"]`, chromedp.ByQuery))
	b.is(`location.search === "?id=ns2" && document.querySelector("h1").textContent.startsWith("secondary ns2")`)
}

// What is shown changes by itself; what has the focus, and what is unfolded, stays so. A health role that is gone shows.
func TestBrowserIsLive(t *testing.T) {
	w, h := &guarded{world: newWorld(60, 100)}, NewHistory()
	s := httptest.NewServer(New(thisPage, w, h, zerolog.Nop()).Handler())
	defer s.Close()
	b := newBrowser(t)
	b.sized(1280, 900, true)
	b.run(chromedp.Navigate(s.URL+"/"), chromedp.WaitVisible("h1", chromedp.ByQuery),
		chromedp.Click("#rest summary", chromedp.ByQuery), chromedp.Focus(`a[href="/node?id=ns60"]`, chromedp.ByQuery), chromedp.Evaluate("window.before = true", nil))
	w.change(func(w *world) { w.fail(12) })
	b.is(`document.querySelectorAll("article.alarm").length === 1 && document.title.startsWith("NOT in order (1)")`)
	b.is(`document.getElementById("icon").href.includes("bad.svg")`)
	b.is(`document.querySelector(".fleet tbody tr").dataset.key === "ns1"`)
	if got := b.get(`[window.before, document.getElementById("rest").open, document.activeElement.textContent]`); got != "true,true,ns60" {
		t.Errorf("not reloaded, unfolded, focus: %s", got)
	}
	w.change(func(w *world) {
		w.alarms = nil
		for i := range 12 {
			w.put(fmt.Sprintf("ns%d", i+1), health.RoleSecondary, 100)
		}
	})
	b.is(`document.querySelectorAll("article.alarm").length === 0 && document.title.startsWith("in order")`)
	s.Close()
	b.is(`!document.getElementById("stale").hidden`)
	if text := b.get(`document.getElementById("stale").textContent`); !strings.Contains(text, "What is shown is of") {
		t.Error(text)
	}
	b.console() // that nobody answers
}

func TestBrowserWithoutScript(t *testing.T) {
	w, h := newWorld(5, 100), NewHistory()
	w.busyHour(h)
	w.fail(2)
	url := w.serve(t, h)
	b := newBrowser(t)
	b.sized(390, 800, false)
	b.run(emulation.SetScriptExecutionDisabled(true), chromedp.Navigate(url+"/"), chromedp.WaitVisible("article.alarm", chromedp.ByQuery),
		chromedp.SendKeys("#q", "0042.", chromedp.ByID), chromedp.Click("form button", chromedp.ByQuery), chromedp.WaitVisible(".hits", chromedp.ByQuery),
		chromedp.Click(".hits a", chromedp.ByQuery), chromedp.WaitVisible("code", chromedp.ByQuery))
	var text string
	b.run(chromedp.Text("h1", &text, chromedp.ByQuery))
	if text != "customer-000042.shop42.example" {
		t.Error(text)
	}
}
