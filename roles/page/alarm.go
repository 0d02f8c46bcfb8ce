package page

import (
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/russross/blackfriday/v2"

	"pdns-distribute/docs"
	"pdns-distribute/health"
	"pdns-distribute/roles/status"
)

// alarmView is a kind of alarms: what its entry says, what is raised of it, and what was.
type alarmView struct {
	At     time.Time
	Kind   health.Kind
	Entry  template.HTML
	Groups []group
	Ended  []endedGroup
}

func (p *Page) serveAlarm(w http.ResponseWriter, r *http.Request) {
	kind := r.URL.Query().Get("kind")
	o := p.seen()
	s := sheet{Title: kind, InOrder: o.InOrder, At: o.At, Name: "alarm"}
	text := docs.Alarm(kind)
	if text == "" {
		s.Name, s.Content = "nothing", "There is no alarm of the kind "+status.Printable(kind)+"."
		p.render(w, r, http.StatusNotFound, s)
		return
	}
	s.Content = alarmView{
		At: o.At, Kind: health.Kind(kind), Entry: entry(text),
		Groups: slices.DeleteFunc(slices.Clone(o.Groups), func(g group) bool { return string(g.Kind) != kind }),
		Ended:  slices.DeleteFunc(slices.Clone(o.Ended), func(g endedGroup) bool { return string(g.Kind) != kind }),
	}
	p.render(w, r, http.StatusOK, s)
}

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)

// entry renders one of the program's own documents. Links to other kinds lead to their entries, and those to other
// documents, which are not here, are plain text.
func entry(text string) template.HTML {
	text = link.ReplaceAllStringFunc(text, func(all string) string {
		found := link.FindStringSubmatch(all)
		if kind, is := strings.CutPrefix(found[2], "#"); is && docs.Alarm(kind) != "" {
			return "[" + found[1] + "](/alarm?kind=" + kind + ")"
		}
		return found[1]
	})
	return template.HTML(blackfriday.Run([]byte(text))) //nolint:gosec // a document of the program's own
}
