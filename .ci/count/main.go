// Command count reads what 'go test -json' writes, shows what failed, and ends with the line 'N passed, N failed, N
// skipped'. It counts tests and subtests; a package that doesn't build or that dies outside of its tests counts as one
// failed. It exits with 1 when anything failed, or when nothing passed. With -quiet it counts what was skipped, and
// does not show it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is a line of test2json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // in place of Package, where a build fails
	Test       string // empty: about the package
	Output     string
	Elapsed    float64 // seconds
}

type counter struct {
	out                     io.Writer
	quiet                   bool
	passed, failed, skipped int
	said                    map[string]*strings.Builder // output by package and test, until it is known to be good
	broken                  map[string]bool             // packages with a failed test
}

func main() {
	quiet := flag.Bool("quiet", false, "count skipped tests, and do not show them")
	flag.Parse()
	c := &counter{out: os.Stdout, quiet: *quiet, said: map[string]*strings.Builder{}, broken: map[string]bool{}}
	if err := c.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	if c.failed > 0 || c.passed == 0 {
		os.Exit(1)
	}
}

func (c *counter) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(c.out, lines.Text()) // go itself has something to say
			continue
		}
		c.take(e)
	}
	return lines.Err()
}

func (c *counter) take(e event) {
	switch e.Action {
	case "output":
		c.keep(e)
	case "build-output":
		fmt.Fprint(c.out, e.Output)
	case "pass", "skip", "fail":
		if e.Test == "" {
			c.packageEnded(e)
		} else {
			c.testEnded(e)
		}
	}
}

func (e event) key() string { return e.Package + " " + e.Test }

func (c *counter) keep(e event) {
	if c.said[e.key()] == nil {
		c.said[e.key()] = new(strings.Builder)
	}
	c.said[e.key()].WriteString(e.Output)
}

// tell shows what a test or package has said, and forgets it.
func (c *counter) tell(e event, show bool) {
	if said := c.said[e.key()]; said != nil && show {
		fmt.Fprint(c.out, said)
	}
	delete(c.said, e.key())
}

func (c *counter) testEnded(e event) {
	switch e.Action {
	case "pass":
		c.passed++
	case "skip":
		c.skipped++
	case "fail":
		c.failed++
		c.broken[e.Package] = true
	}
	c.tell(e, e.Action == "fail" || e.Action == "skip" && !c.quiet)
}

func (c *counter) packageEnded(e event) {
	if e.Action == "fail" && !c.broken[e.Package] {
		c.failed++
	}
	c.tell(e, e.Action == "fail")
	if e.Action != "skip" { // without tests
		fmt.Fprintf(c.out, "%-4s %s %.1fs\n", e.Action, e.Package, e.Elapsed)
	}
}
