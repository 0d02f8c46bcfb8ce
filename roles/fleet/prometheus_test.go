//go:build campaign

package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/monitoring"
)

// The dashboard's queries and the alert rules are asked of a real Prometheus that scrapes a fleet at work.
func TestPrometheus(t *testing.T) {
	i := start(t, fleet.Options{Set: map[string]string{
		"health.check_interval": "1s", "dnssec.check_interval": "1s", "primary.scrub_period": "1s", "secondary.scrub_period": "1s",
	}})
	p, native := i.prometheus(), i.prometheus("--enable-feature=native-histograms")
	name := numbered("watched", 1)
	must.OK(t, i.api.CreateZoneWith(i.ctx, signed(spec(name, text(name, "0")), "")))
	for round := range 5 {
		must.OK(t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, fmt.Sprint(round))}))
		held := fmt.Sprintf(`{"rrsets":[{"name":%q,"type":"TXT","ttl":60,"changetype":"REPLACE","records":[{"content":%q}]}]}`,
			name.String(), fmt.Sprintf(`"held %d"`, round))
		i.prefer("wait=60", "PATCH", "/api/v1/servers/localhost/zones/"+name.String(), held).held(t, 204, "INSYNC", "2/2")
		p.scraped(2)
	}
	i.eventually("all is the same", i.allSame)
	i.eventually("all panels have data", func(context.Context) error { return p.empty() })

	for _, name := range []string{
		"pdns_distribute_proxy_propagation_seconds", "pdns_distribute_proxy_served_seconds", "pdns_distribute_health_served_seconds",
	} {
		took := native.value(`histogram_quantile(0.5, sum(increase(` + name + `[5m])))`)
		if took <= 0 || took > patience.Seconds() {
			t.Errorf("half of %s are below %v s", name, took)
		}
	}
	i.eventually("no alert is pending or fires", func(context.Context) error { return p.alerting() })
	must.OK(t, i.StopRole("ns2"))
	i.eventually("a role that is stopped is an alert", func(context.Context) error {
		if p.value(`count(ALERTS{alertname="PdnsDistributeDown"}) or vector(0)`) == 0 {
			return errors.New("it is not even pending")
		}
		return nil
	})
}

// unasked are panels that need what the test has not.
var unasked = []string{"Scoped API keys that end"}

// prometheus is one that scrapes a fleet each second.
type prometheus struct {
	t   *testing.T
	url string
}

// prometheus starts one. That of Debian 12 keeps of a histogram either what is classic or what is native.
func (i *harness) prometheus(flags ...string) *prometheus {
	i.t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		i.t.Skip("prometheus is not installed; packaging/setup.sh does that")
	}
	dir := i.t.TempDir()
	rules, err := filepath.Abs(filepath.Join("../..", monitoring.Dir, "alerts.yaml"))
	must.OK(i.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(i.t, err)
	address := listener.Addr().String()
	must.OK(i.t, listener.Close())
	file := filepath.Join(dir, "prometheus.yml")
	must.OK(i.t, os.WriteFile(file, []byte(fmt.Sprintf(
		"global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
			"scrape_configs:\n  - job_name: pdns-distribute\n    static_configs: [{targets: [%s]}]\n",
		rules, strings.Join(i.observed(), ", "))), 0o600))
	command := exec.Command("prometheus", append(flags, "--config.file="+file, "--log.level=warn",
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)...)
	command.Stderr = os.Stderr
	must.OK(i.t, command.Start())
	i.t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
	})
	p := &prometheus{i.t, "http://" + address}
	i.eventually("prometheus is ready", func(context.Context) error {
		_, err := get(p.url + "/-/ready")
		return err
	})
	return p
}

// observed are the addresses of all roles.
func (i *harness) observed() (all []string) {
	for _, id := range []string{fleet.Broker, fleet.Primary, fleet.Proxy, fleet.Health, "ns1", "ns2"} {
		all = append(all, i.Observe(id))
	}
	return all
}

// samples are what Prometheus answers to an instant query.
func (p *prometheus) samples(query string) (values []string, err error) {
	text, err := get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	var answer struct {
		Status string `json:"status"`
		Data   struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s: %v, %s", query, err, text)
	}
	for _, r := range answer.Data.Result {
		values = append(values, fmt.Sprint(r.Value[1]))
	}
	return values, nil
}

// value is the only one that a query has.
func (p *prometheus) value(query string) (value float64) {
	p.t.Helper()
	values, err := p.samples(query)
	must.OK(p.t, err)
	if len(values) != 1 {
		p.t.Fatalf("%s: %v", query, values)
	}
	_, err = fmt.Sscan(values[0], &value)
	must.OK(p.t, err)
	return value
}

// scraped waits until the proxy was scraped so many times more.
func (p *prometheus) scraped(times int) {
	p.t.Helper()
	count := func() float64 {
		values, err := p.samples(`count_over_time(up{job="pdns-distribute"}[1h])`)
		must.OK(p.t, err)
		var n float64
		if len(values) > 0 {
			_, err = fmt.Sscan(values[0], &n)
			must.OK(p.t, err)
		}
		return n
	}
	begin := count()
	must.Eventually(p.t, func() error {
		if n := count(); n < begin+float64(times) {
			return fmt.Errorf("scraped %v times since %v", n, begin)
		}
		return nil
	})
}

// empty returns the panels that have no data, or nothing that is a number.
func (p *prometheus) empty() error {
	var faults []error
	for _, panel := range monitoring.Panels() {
		if slices.Contains(unasked, panel.Title) {
			continue
		}
		for _, q := range panel.Queries {
			expression := strings.ReplaceAll(q.Expr, "$__rate_interval", "2m")
			values, err := p.samples(expression)
			if err == nil && !slices.ContainsFunc(values, func(v string) bool { return v != "NaN" }) {
				err = fmt.Errorf("no data for %s: %v", expression, values)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("panel %q: %w", panel.Title, err))
			}
		}
	}
	return errors.Join(faults...)
}

// alerting returns the alerts that are pending or fire.
func (p *prometheus) alerting() error {
	text, err := get(p.url + "/api/v1/alerts")
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(`"alerts":[]`)) {
		return errors.New(string(text))
	}
	return nil
}
