package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
)

// A cause that reaches twelve nodes, one after the other, is posted once, as one alarm with twelve nodes.
func TestWebhookPostsCauses(t *testing.T) {
	posts := make(chan HookDocument, 20)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var d HookDocument
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
			t.Error(err)
		}
		posts <- d
	}))
	defer hook.Close()
	w := newWebhook(hook.URL, zerolog.Nop())
	w.gather = 300 * time.Millisecond
	go func() { _ = w.run(t.Context()) }()

	var all []health.Alarm
	for n := range 12 {
		a := health.NodeAlarm(health.RoleSecondary, fmt.Sprintf("ns%02d", n), health.AlarmInactive, "no heartbeat", "start it")
		all = append(all, a)
		w.Post([]health.Alarm{a}, nil, append([]health.Alarm{}, all...))
	}
	d := <-posts
	if d.Version != HookVersion || len(d.Raised) != 1 || len(d.Raised[0].Nodes) != 12 || len(d.Alarms) != 1 || d.Cleared == nil {
		t.Fatalf("%+v", d)
	}
	if g := d.Raised[0]; g.Run[0].Line != "systemctl start pdns-distribute-secondary@ns00" || len(g.Run) != 36 {
		t.Errorf("%d lines, %+v", len(g.Run), g.Run[0])
	}

	late := health.NodeAlarm(health.RoleSecondary, "ns00", health.AlarmLate, "late", "wait")
	w.Post([]health.Alarm{late}, all[3:], append(all[:3:3], late))
	d = <-posts
	if len(d.Raised) != 1 || d.Raised[0].Because != health.AlarmInactive || len(d.Cleared) != 1 || len(d.Cleared[0].Nodes) != 9 ||
		len(d.Alarms) != 2 || len(d.Alarms[0].Nodes) != 3 {
		t.Errorf("%+v", d)
	}
	select {
	case d := <-posts:
		t.Errorf("posted again: %+v", d)
	default:
	}
}
