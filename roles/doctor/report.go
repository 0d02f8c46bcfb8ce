package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"pdns-distribute/health"
	"pdns-distribute/roles/status"
)

// What came of a check.
const (
	ok   = "ok"
	warn = "warn" // it works, but not well, or not for long
	fail = "fail"
)

// check is one thing that was looked at.
type check struct {
	Check  string `json:"check"`  // area and what of it: "broker.tls"
	Object string `json:"object"` // "tls://broker.example.net:4222"
	Result string `json:"result"` // "ok", "warn" or "fail"
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // what the operator does next; never empty unless the result is ok

	Run []health.Command `json:"run,omitempty"` // lines for that
}

// thisHost is where most lines are to be run.
const thisHost = "this host"

// run adds lines to the last finding.
func (f findings) run(lines ...health.Command) {
	last := &f[len(f)-1]
	last.Run = append(last.Run, lines...)
}

// here is a line to be run on this host.
func here(line string) health.Command { return health.Command{On: thisHost, Line: line} }

// anywhere is a command that needs the rights of a health role or a primary.
func anywhere(args string) health.Command {
	return health.Command{On: health.AnyHost, Line: "pdns-distribute " + args}
}

// inFolder is a command of init.
func inFolder(args string) health.Command {
	return health.Command{On: health.InitHost, Line: "pdns-distribute init " + args}
}

// findings are checks in the order in which they are shown.
type findings []check

func (f *findings) ok(name, object, format string, args ...any) {
	*f = append(*f, check{Check: name, Object: object, Result: ok, Found: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(name, object, found, remedy string) {
	*f = append(*f, check{Check: name, Object: object, Result: warn, Found: found, Remedy: remedy})
}

func (f *findings) fail(name, object, found, remedy string) {
	*f = append(*f, check{Check: name, Object: object, Result: fail, Found: found, Remedy: remedy})
}

// failedIn reports whether something of an area has failed, so that what builds on it need not be looked at.
func (f findings) failedIn(area string) bool {
	return slices.ContainsFunc(f, func(c check) bool { return c.Result == fail && c.area() == area })
}

// failedAt reports whether one of the checks has failed.
func (f findings) failedAt(names ...string) bool {
	return slices.ContainsFunc(f, func(c check) bool { return c.Result == fail && slices.Contains(names, c.Check) })
}

func (f findings) count(result string) (n int) {
	for _, c := range f {
		if c.Result == result {
			n++
		}
	}
	return n
}

func (c check) area() string {
	area, _, _ := strings.Cut(c.Check, ".")
	return area
}

// report is what the command prints.
type report struct {
	Version int      `json:"version"` // of this document
	OK      bool     `json:"ok"`      // nothing has failed
	Role    string   `json:"role"`
	Node    string   `json:"node"`
	Checks  findings `json:"checks"`
}

// version is that of the report. It is raised when a field goes or means something else; fields may be added without
// that.
const version = 1

func newReport(role, node string, checks findings) report {
	return report{Version: version, OK: checks.count(fail) == 0, Role: role, Node: node, Checks: checks}
}

func (r report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	shown := map[string]string{ok: "ok   ", warn: "warn ", fail: "FAIL "}
	var text strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&text, "%s %s %s: %s\n", shown[c.Result], c.area(), c.Object, c.Found)
		if c.Remedy != "" {
			fmt.Fprintf(&text, "      %s\n", c.Remedy)
		}
		for _, line := range c.Run {
			if line.On != thisHost || line.If != "" {
				fmt.Fprintf(&text, "      %s:\n", status.Place(line))
			}
			fmt.Fprintf(&text, "        %s\n", line.Line)
		}
	}
	fmt.Fprintf(&text, "%d ok, %s, %s\n", r.Checks.count(ok), counted(r.Checks.count(warn), "warning"), counted(r.Checks.count(fail), "failure"))
	_, err := io.WriteString(out, status.Printable(text.String())) // servers that are not trusted yet have their say in it
	return err
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
