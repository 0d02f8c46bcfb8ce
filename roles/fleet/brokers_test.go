package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// report is what the command status prints as JSON, and what it prints for people.
type report struct {
	health.Board
	Alarms     []health.Alarm `json:"alarms"`
	Unanswered []string       `json:"unanswered"`
	text       string
}

func (i *harness) reported(ctx context.Context) (d report, err error) {
	file, set := i.Config(fleet.Health)
	for _, asJSON := range []bool{true, false} {
		var out bytes.Buffer
		err = operator.Status(ctx, command.Invocation{
			Settings: settings.Sources{File: file, Flags: set}, Options: flags{"json": asJSON}, Stdout: &out, Stderr: io.Discard,
		})
		if err != nil && !errors.Is(err, command.ErrNotInOrder) {
			return d, err
		}
		if d.text = out.String(); asJSON {
			if err := json.Unmarshal(out.Bytes(), &d); err != nil {
				return d, err
			}
		}
	}
	return d, err
}

// row is the one of a broker.
func (d report) row(id string) (r health.Row) {
	if at := slices.IndexFunc(d.Nodes, func(r health.Row) bool { return r.Node == id && r.Role == "broker" }); at >= 0 {
		r = d.Nodes[at]
	}
	return r
}

func (d report) alarm(kind, node string) string {
	for _, a := range d.Alarms {
		if string(a.Kind) == kind && a.Node == node {
			return a.What
		}
	}
	return ""
}

// readyz is what a role says of its readiness.
func (i *harness) readyz(ctx context.Context, id string) (text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.Observe(id)+"/readyz", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return string(all), err
}

// A broker that is away is seen while nobody misses it yet; without a quorum whoever is left says so, and so does
// everything that an operator asks.
func TestBrokersAreNodes(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Counts: fleet.Counts{Brokers: 3}, Secondaries: []local.Backend{local.LMDB}, Set: map[string]string{"health.inactive_after": "10s"}})
	i.eventually("three brokers are in order", func(ctx context.Context) error {
		d, err := i.reported(ctx)
		for n := range 3 {
			if r := d.row(fmt.Sprintf("broker%d", n+1)); r.State != health.StateOK || r.Version == "" || r.Host.DiskTotal == 0 || len(r.Broker.Peers) != 2 {
				return fmt.Errorf("%v, %+v", err, r)
			}
		}
		return err
	})
	must.OK(t, i.StopRole("broker2"))
	i.eventually("one broker is away", func(ctx context.Context) error {
		d, err := i.reported(ctx)
		if r := d.row("broker2"); r.State != health.StateInactive || r.Seen.IsZero() {
			return fmt.Errorf("%v, %+v", err, r)
		}
		if what := d.alarm("inactive", "broker2"); !strings.Contains(what, "2 of 3 brokers are up: if another broker fails") {
			return fmt.Errorf("the alarm is %q", what)
		}
		return nil
	})
	must.OK(t, i.StopRole("broker3"))
	i.eventually("the last broker says why it is not ready", func(ctx context.Context) error {
		text, err := i.readyz(ctx, "broker1")
		if !strings.Contains(text, "quorum") || !strings.Contains(text, "1 of 3 are there") || strings.Contains(text, "credentials") {
			return fmt.Errorf("%v, %s", err, text)
		}
		return nil
	})
	i.eventually("status says what it can", func(ctx context.Context) error {
		d, err := i.reported(ctx)
		if !strings.Contains(d.text, "quorum") || len(d.Unanswered) == 0 || d.row("broker1").Node == "" {
			return fmt.Errorf("%v, %s", err, d.text)
		}
		return nil
	})
	i.eventually("doctor blames nobody's credentials", func(context.Context) error {
		found, err := i.examine(fleet.Primary, nil)
		blamed := fmt.Sprintf("%v: %+v", err, found)
		if !strings.Contains(blamed, "they have no quorum") || strings.Contains(blamed, "its credentials do not") {
			return errors.New(blamed)
		}
		return nil
	})
	i.eventually("the health role says so by itself", func(ctx context.Context) error {
		text, err := i.readyz(ctx, fleet.Health)
		if !strings.Contains(text, "no-answer") {
			return fmt.Errorf("%v, %s", err, text)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(i.ctx, patience)
	defer cancel()
	must.OK(t, i.Launch("broker2"))
	if os.Getenv("DAMAGE_ROUNDS") != "" { // takes long: the statuses, which are in memory, have lost their quorum until they are made anew
		must.OK(t, i.AwaitReady(ctx, "broker2"))
	}
	must.OK(t, i.StartRole(ctx, "broker3"))
	must.OK(t, i.AwaitReady(ctx, "broker2"))
	i.eventually("all are in order again", func(ctx context.Context) error {
		d, err := i.reported(ctx)
		if err != nil {
			return fmt.Errorf("%w: %s", err, d.text)
		}
		return nil
	})
}
