package status

import (
	"fmt"
	"io"
	"time"

	"pdns-distribute/health"
)

// maxLines is how many lines of a remedy are shown: those of further nodes look alike.
const maxLines = 4

// printAlarms prints what is wrong by cause, each with what to do, and below it what follows from it.
func printAlarms(out io.Writer, now time.Time, groups []health.Group) {
	for _, g := range groups {
		if g.Because != "" {
			fmt.Fprintf(out, "  follows: %s, for %s\n", g.What, Ago(now, g.Since))
			continue
		}
		fmt.Fprintf(out, "\n%s for %s: %s\n  %s\n", Level(g.Warning), Ago(now, g.Since), g.What, g.Remedy)
		printLines(out, g)
	}
}

// Level is what an alarm is called, by whether it is a warning.
func Level(warning bool) string {
	if warning {
		return "warning"
	}
	return "ALARM"
}

// printLines prints each line by itself, so that it can be pasted.
func printLines(out io.Writer, g health.Group) {
	place := ""
	for i, c := range g.Run {
		if i == maxLines && len(g.Nodes) > 1 {
			fmt.Fprintf(out, "  and %d lines like these: pdns-distribute status --json\n", len(g.Run)-i)
			break
		}
		if at := Place(c); at != place {
			fmt.Fprintf(out, "  %s:\n", at)
			place = at
		}
		fmt.Fprintf(out, "    %s\n", c.Line)
	}
}

// Place says where a line is to be run, and in which case.
func Place(c health.Command) string {
	if c.If != "" {
		return fmt.Sprintf("if %s, on %s", c.If, c.On)
	}
	return "on " + c.On
}
