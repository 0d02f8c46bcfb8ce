package page

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// Charts are SVG, made here: no script draws them. Their colours are classes of page.css.

// drawing is an SVG of a fixed size in its own units; it is scaled by page.css. All that is put into it are numbers
// and texts of this package.
type drawing struct {
	text strings.Builder
}

func newDrawing(width, height int, label string) *drawing {
	d := &drawing{}
	fmt.Fprintf(&d.text, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s" preserveAspectRatio="none">`,
		width, height, template.HTMLEscapeString(label))
	return d
}

func (d *drawing) rect(class string, x, y, width, height float64, title string) {
	fmt.Fprintf(&d.text, `<rect class="%s" x="%.4g" y="%.4g" width="%.4g" height="%.4g"`, class, x, y, width, height)
	if title == "" {
		d.text.WriteString("/>")
		return
	}
	fmt.Fprintf(&d.text, "><title>%s</title></rect>", template.HTMLEscapeString(title))
}

func (d *drawing) line(class string, points []string) {
	fmt.Fprintf(&d.text, `<polyline class="%s" points="%s"/>`, class, strings.Join(points, " "))
}

func (d *drawing) done() template.HTML {
	d.text.WriteString("</svg>")
	return template.HTML(d.text.String()) //nolint:gosec // made of numbers and escaped texts alone
}

// The size of a node's time line: two units for each minute.
const (
	lineWidth  = 2 * nodesKept
	lineHeight = 24
	stripFrom  = 19 // the strip of states begins there
)

// timeLine draws an hour of a node: how its state was, as a strip, and above it how far it was behind, by powers of ten.
func timeLine(node string, hour []minute) template.HTML {
	d := newDrawing(lineWidth, lineHeight, summary(node, hour))
	begin, before := 0, hour[0].Nodes[node].State
	for i := 1; i <= len(hour); i++ {
		if i < len(hour) && hour[i].Nodes[node].State == before {
			continue
		}
		d.rect(before.String(), float64(2*begin), stripFrom, float64(2*(i-begin)), lineHeight-stripFrom, "")
		if i < len(hour) {
			begin, before = i, hour[i].Nodes[node].State
		}
	}
	var points []string
	lags := false
	for i, m := range hour {
		lags = lags || m.Nodes[node].Behind > 0
		height := min(1, math.Log10(1+float64(m.Nodes[node].Behind))/5) * (stripFrom - 3)
		points = append(points, fmt.Sprintf("%d,%.3g", 2*i+1, stripFrom-1-height))
	}
	if lags {
		d.line("lag", points)
	}
	return d.done()
}

// summary says what a time line shows.
func summary(node string, hour []minute) string {
	var worst uint64
	var counts [bad + 1]int
	for _, m := range hour {
		s := m.Nodes[node]
		worst = max(worst, s.Behind)
		counts[min(s.State, bad)]++
	}
	return fmt.Sprintf("last hour: %d minutes in order, %d with a warning, %d not in order; at most %d states behind",
		counts[good], counts[fair], counts[bad], worst)
}

const (
	chartWidth  = 480
	chartHeight = 90
)

// histogram draws how long it took until secondaries served changes.
func histogram(s spread) template.HTML {
	d := newDrawing(chartWidth, chartHeight, "how long changes took until a secondary served them")
	most := uint32(1)
	for _, n := range s {
		most = max(most, n)
	}
	const width = float64(chartWidth) / classes
	for class, n := range s {
		if n == 0 {
			continue
		}
		height := math.Max(2, float64(n)/float64(most)*(chartHeight-2))
		title := fmt.Sprintf("up to %s: %d", short(endOf(class)), n)
		if class == classes-1 {
			title = fmt.Sprintf("more than %s: %d", short(endOf(class-1)), n)
		}
		d.rect("bar", float64(class)*width+1, chartHeight-height, width-2, height, title)
	}
	return d.done()
}

// spreadByMinute draws within what time half and 95 % of the changes of each minute were served, by powers of ten.
func spreadByMinute(hour []minute) template.HTML {
	d := newDrawing(chartWidth, chartHeight, "how long changes took, minute by minute: half of them, and 95 %")
	const width = float64(chartWidth) / nodesKept
	span := math.Log(float64(endOf(classes-1)) / float64(firstClass))
	height := func(took time.Duration) float64 {
		return 3 + math.Log(float64(took)/float64(firstClass))/span*(chartHeight-5)
	}
	for i, m := range hour {
		half, any := m.Spread.within(.5)
		if !any {
			continue
		}
		most, _ := m.Spread.within(.95)
		title := fmt.Sprintf("%s UTC: half within %s, 95 %% within %s, %d reports", m.At.Format("15:04"), short(half),
			short(most), m.Spread.count())
		d.rect("bar2", float64(i)*width+1, chartHeight-height(most), width-2, height(most), title)
		d.rect("bar", float64(i)*width+1, chartHeight-height(half), width-2, height(half), title)
	}
	return d.done()
}

// changesByMinute draws how many changes there were.
func changesByMinute(hour []minute) template.HTML {
	d := newDrawing(chartWidth, chartHeight, "changes, minute by minute")
	const width = float64(chartWidth) / nodesKept
	most := 1
	for _, m := range hour {
		most = max(most, m.Changes+m.Renewed)
	}
	for i, m := range hour {
		if m.Changes+m.Renewed == 0 {
			continue
		}
		unit := float64(chartHeight-2) / float64(most)
		title := fmt.Sprintf("%s UTC: %d changes, %d in the background", m.At.Format("15:04"), m.Changes, m.Renewed)
		all, live := math.Max(2, unit*float64(m.Changes+m.Renewed)), unit*float64(m.Changes)
		d.rect("bar2", float64(i)*width+1, chartHeight-all, width-2, all, title)
		if m.Changes > 0 {
			live = math.Max(2, live)
			d.rect("bar", float64(i)*width+1, chartHeight-live, width-2, live, title)
		}
	}
	return d.done()
}

// short writes a duration with two digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}
