package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/status"
)

// finally is what must hold in the end, within options.settle.
type finally struct {
	what  string
	check func(context.Context) error
}

func (s *soak) finals() []finally {
	return []finally{
		{"every role is ready", s.allReady},
		{"each zone is equal at every secondary, and there are no others", s.allEqual},
		{"status shows all in sync, and no alarm is left", s.inOrder},
		{"the newest change of each zone is INSYNC", s.allInSync},
		{"no rows are left of zones that are gone", s.noOrphans},
		{"the primary PowerDNS has what the model says", s.asModelled},
	}
}

// settle waits until everything is in order, reports what is not when the time is up, and then looks at what was used.
func (s *soak) settle(before map[string]usage) {
	ctx, cancel := context.WithTimeout(s.ctx, s.options.settle)
	defer cancel()
	begin := time.Now()
	s.record.note("settling", nil)
	left := s.finals()
	for len(left) > 0 {
		done := slices.DeleteFunc(slices.Clone(left), func(f finally) bool { return f.check(ctx) == nil })
		if len(done) == 0 && len(left) < len(s.finals()) {
			done = slices.DeleteFunc(s.finals(), func(f finally) bool { return f.check(ctx) == nil }) // all at one time
		}
		left = done
		if len(left) > 0 && !rest(ctx, 500*time.Millisecond) {
			break
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	for _, f := range left {
		if err := f.check(s.ctx); err != nil {
			s.record.violated(violation{Kind: "in the end: " + f.what, Answer: err.Error(), Faults: s.faults.told()})
		}
	}
	s.record.note("settled", map[string]any{"took": time.Since(begin).String()})
	s.record.add("seconds until everything was in order", int(time.Since(begin).Seconds()))
	s.compareUsage(before)
}

func (s *soak) allReady(ctx context.Context) error {
	for _, id := range s.targets.roles {
		text, status, err := fetchText(ctx, "http://"+s.fleet.Observe(id)+"/readyz")
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if status != http.StatusOK {
			return fmt.Errorf("%s: %s", id, text)
		}
	}
	return nil
}

func fetchText(ctx context.Context, url string) (text []byte, status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	return text, res.StatusCode, err
}

// inOrder asks the health role that acts, for the others know fewer alarms.
func (s *soak) inOrder(ctx context.Context) error {
	var board struct {
		health.Board
		Leader string
		Alarms []health.Alarm
	}
	text, _, err := fetchText(ctx, "http://"+s.fleet.Observe(fleet.Health)+status.Path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return err
	}
	for _, alarm := range board.Alarms {
		if !alarm.Warning {
			return fmt.Errorf("an alarm is left: %s: %s", alarm.Kind, alarm.What)
		}
	}
	for _, row := range board.Nodes {
		if row.State != health.StateOK && row.State != health.StateStandby {
			return fmt.Errorf("%s is %s: %d behind, %d failing, %v", row.Node, row.State, row.Behind, row.Failures, row.Problems)
		}
	}
	if !board.OK || board.Leader == "" {
		return fmt.Errorf("ok is %v, the health role that acts is %q", board.OK, board.Leader)
	}
	return nil
}

// allEqual compares exactly the zones of the primary PowerDNS.
func (s *soak) allEqual(ctx context.Context) error {
	api, err := s.fleet.Primary.Client()
	if err != nil {
		return err
	}
	want, err := api.Zones(ctx)
	if err != nil {
		return err
	}
	want = slices.DeleteFunc(want, func(z powerdns.ZoneInfo) bool { return !config.PrimaryConfig{}.Distributes(z) })
	var errs []error
	for _, each := range s.fleet.Secondaries {
		errs = append(errs, sameZones(ctx, each, want))
		for _, z := range want {
			if err := sameRecords(ctx, s.fleet.Primary.DNSAddr, each.DNSAddr, z.Name); err != nil {
				errs = append(errs, fmt.Errorf("%s: zone %s: %w", each.ID, z.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func sameZones(ctx context.Context, at *fleet.Secondary, want []powerdns.ZoneInfo) error {
	api, err := at.Client()
	if err != nil {
		return err
	}
	has, err := api.Zones(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, z := range want {
		if n := slices.IndexFunc(has, func(h powerdns.ZoneInfo) bool { return h.Name == z.Name }); n >= 0 {
			has = slices.Delete(has, n, n+1)
		} else {
			missing = append(missing, z.Name.String())
		}
	}
	if len(missing)+len(has) > 0 {
		return fmt.Errorf("%s: zones missing: %v, too many: %v", at.ID, missing, has)
	}
	return nil
}

// sameRecords compares a zone record by record.
func sameRecords(ctx context.Context, primary, secondary string, name zone.Name) error {
	want, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: primary}, name)
	if err != nil {
		return fmt.Errorf("primary: %w", err)
	}
	is, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: secondary}, name)
	if err != nil {
		return err
	}
	return fleet.Equal(is, want)
}

// orphanTables have rows that belong to a zone.
var orphanTables = []string{"records", "domainmetadata", "cryptokeys", "comments"}

func (s *soak) noOrphans(ctx context.Context) error {
	servers := map[string]*local.Server{primaryServer: s.fleet.Primary}
	for _, each := range s.fleet.Secondaries {
		if each.Backend == local.SQLite {
			servers[each.ID] = each.Server
		}
	}
	for id, server := range servers {
		for _, table := range orphanTables {
			out, err := server.SQL(ctx, "select count(*) from "+table+" where domain_id not in (select id from domains);")
			if err != nil {
				return err
			}
			if strings.TrimSpace(out) != "0" {
				return fmt.Errorf("%s: %s rows of %s belong to no zone", id, strings.TrimSpace(out), table)
			}
		}
	}
	return nil
}

// forgetful are the faults after which a broker may not know changes of before.
var forgetful = []string{"broker-wipe", "brokers-wipe", "broker-damage"}

// allInSync asks for the newest change of each zone: a touch that was lost is never settled.
func (s *soak) allInSync(ctx context.Context) error {
	if slices.ContainsFunc(forgetful, func(kind string) bool { return s.record.counted("faults: "+kind) > 0 }) {
		return nil
	}
	for _, z := range s.zones {
		newest := 0
		for place := range z.changes {
			newest = max(newest, place)
		}
		change := z.changes[newest]
		if change == "" {
			continue
		}
		inSync, err := s.proxies[0].hold(ctx, change, 0, len(s.fleet.Secondaries))
		if err != nil {
			return err
		}
		if !inSync {
			return fmt.Errorf("change %s is not in sync", change)
		}
	}
	return nil
}

// asModelled compares the model with what the primary PowerDNS has: an error of the soak itself shows here.
func (s *soak) asModelled(ctx context.Context) error {
	for _, z := range s.zones {
		is, err := s.direct.look(ctx, z.name)
		if err != nil {
			return err
		}
		if want, place := z.now(); !is.sameAs(want) {
			return fmt.Errorf("zone %s is %+v, and by version %d should be %+v\n%s", z.name, is, place, want, strings.Join(z.last(6), "\n"))
		}
	}
	return nil
}
