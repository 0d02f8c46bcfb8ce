//go:build campaign

package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/fleet"
	"pdns-distribute/roles/operator"
	"pdns-distribute/roles/settings"
)

// The zones of an installation that distributes by NOTIFY and AXFR: with TSIG, signed, and as a catalog zone says.
var (
	oldPlain  = zone.MustParseName("plain.example")
	oldSigned = zone.MustParseName("signed.example")
	oldMember = zone.MustParseName("member.example")
	oldZones  = []zone.Name{oldPlain, oldSigned, oldMember}
)

// Secondaries that get their zones by NOTIFY and AXFR move in, one moves out and in again, while all are asked and
// zones are changed: no answer is missing, and none is older than one before.
func TestMovingInAndOut(t *testing.T) {
	t.Parallel()
	quickly := map[string]string{"xfr-cycle-interval": "1"}
	i := start(t, fleet.Options{ // not lmdb: 4.7.3 aborts at times when it looks for zones to check that often
		OfPrimary: quickly, Settings: quickly, Secondaries: []local.Backend{local.SQLite, local.SQLite},
	})
	for _, s := range i.Secondaries {
		must.OK(t, i.StopRole(s.ID))
	}
	i.distributeByNotify()
	finish := i.askAndChange()

	for _, s := range i.Secondaries { // one after the other: the first is the pilot
		must.OK(t, i.StartRole(i.ctx, s.ID))
		i.eventually("moved in", func(context.Context) error { return i.followsAlone(s, i.roleOf(s)) })
	}
	i.leaveCatalog()
	must.OK(t, createMany(i.ctx, i.api, "new", 10, 4))
	i.eventually("distributed", func(ctx context.Context) error { return i.same(ctx, numbered("new", 9)) })

	left, stays := i.Secondaries[0], i.Secondaries[1]
	i.moveOut(left)
	must.OK(t, i.followsAlone(stays, i.roleOf(stays)))
	i.eventually("changed", func(ctx context.Context) error { // its database may be locked
		return i.api.Patch(ctx, oldSigned, []powerdns.RRset{text(below("after", oldSigned), "one has left")})
	})
	i.eventually("distributed in both ways", func(ctx context.Context) error { return i.same(ctx, oldSigned) })

	must.OK(t, i.StartRole(i.ctx, left.ID))
	i.eventually("moved in again", func(context.Context) error { return i.followsAlone(left, i.roleOf(left)) })
	finish()
	for _, name := range append(oldZones, numbered("new", 7)) {
		i.eventually("distributed", func(ctx context.Context) error { return i.same(ctx, name) })
	}
}

// distributeByNotify sets the primary and all secondaries up as they are where no role ever was.
func (i *harness) distributeByNotify() {
	i.t.Helper()
	const key = `{"name":"transfer","algorithm":"hmac-sha256","key":"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA=="}`
	i.tell(i.Primary, http.MethodPost, "/tsigkeys", key)
	i.tell(i.Primary, http.MethodPost, "/zones", `{"name":"catalog.invalid.","kind":"Producer","nameservers":["invalid."]}`)
	for _, s := range []powerdns.ZoneSpec{spec(oldPlain), signed(spec(oldSigned), ""), spec(oldMember)} {
		s.Kind, s.RRsets = powerdns.Master, append(s.RRsets, text(s.Name, "0"))
		must.OK(i.t, i.own.CreateZoneWith(i.ctx, s))
		i.notify(s.Name)
	}
	i.notify(zone.MustParseName("catalog.invalid"))
	i.tell(i.Primary, http.MethodPut, "/zones/member.example.", `{"catalog":"catalog.invalid."}`)
	for _, s := range i.Secondaries {
		i.tell(s.Server, http.MethodPost, "/tsigkeys", key)
		for _, zone := range []string{
			`"name":"plain.example.","kind":"Slave","slave_tsig_key_ids":["transfer."]`,
			`"name":"signed.example.","kind":"Slave","slave_tsig_key_ids":["transfer."]`,
			`"name":"catalog.invalid.","kind":"Consumer"`,
		} {
			i.tell(s.Server, http.MethodPost, "/zones", fmt.Sprintf(`{%s,"masters":[%q]}`, zone, i.Primary.DNSAddr))
		}
	}
	for _, name := range oldZones {
		i.eventually("by NOTIFY and AXFR", func(ctx context.Context) error { return i.same(ctx, name) })
	}
}

// notify has the primary PowerDNS send NOTIFY for the zone to all secondaries, and take the TSIG key from them.
func (i *harness) notify(name zone.Name) {
	i.t.Helper()
	var addresses []string
	for _, s := range i.Secondaries {
		addresses = append(addresses, s.DNSAddr)
	}
	metadata := fmt.Sprintf(`{"metadata":["%s"]}`, strings.Join(addresses, `","`))
	i.tell(i.Primary, http.MethodPut, "/zones/"+name.ID()+"/metadata/ALSO-NOTIFY", metadata)
	i.tell(i.Primary, http.MethodPut, "/zones/"+name.ID(), `{"master_tsig_key_ids":["transfer."]}`)
}

// tell sends a request to the API of a PowerDNS as curl would, again while its database is locked.
func (i *harness) tell(s *local.Server, method, path, body string) {
	i.t.Helper()
	i.eventually(method+" "+path, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, method, s.APIURL+"/api/v1/servers/localhost"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("X-API-Key", s.APIKey.Reveal())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, _ := io.ReadAll(res.Body); res.StatusCode > 299 {
			return fmt.Errorf("%s: %s", res.Status, text)
		}
		return nil
	})
}

// roleOf is where the PowerDNS of a secondary finds the role beside it.
func (i *harness) roleOf(s *fleet.Secondary) string {
	_, set := i.Config(s.ID)
	return set["secondary.transfer_listen"]
}

// followsAlone reports whether a secondary PowerDNS has all zones that moved from this master, and nothing on them
// that another master needs.
func (i *harness) followsAlone(s *fleet.Secondary, master string) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	for _, name := range oldZones {
		info, err := api.Zone(i.ctx, name)
		if err != nil {
			return err
		}
		if !info.TransferredOnlyFrom(master) {
			return fmt.Errorf("%s: zone %s is %s of %v, not of %s", s.ID, name, info.Kind, info.Masters, master)
		}
	}
	return nil
}

// leaveCatalog has the member leave the catalog at the primary: a Consumer deletes it then, unless the zone is the
// role's.
func (i *harness) leaveCatalog() {
	i.t.Helper()
	i.tell(i.Primary, http.MethodPut, "/zones/member.example.", `{"catalog":""}`)
	for _, s := range i.Secondaries {
		i.eventually("the catalog without the member", func(ctx context.Context) error {
			i.tell(s.Server, http.MethodPut, "/zones/catalog.invalid./axfr-retrieve", "")
			catalog, err := fetch(ctx, s.DNSAddr, zone.MustParseName("catalog.invalid"))
			if err != nil {
				return err
			}
			for r := range catalog.Records() {
				if strings.Contains(r.String(), "member") {
					return errors.New(r.String())
				}
			}
			return nil
		})
		i.tell(s.Server, http.MethodDelete, "/zones/catalog.invalid.", "")
		must.OK(i.t, i.followsAlone(s, i.roleOf(s)))
	}
}

// askAndChange asks all secondaries for the zones, and changes them, until the returned function is called, which fails
// the test if an answer was missing, lacked its signature or was older than one before.
func (i *harness) askAndChange() (finish func()) {
	ctx, cancel := context.WithCancel(i.ctx)
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range oldZones {
		for _, s := range i.Secondaries {
			g.Go(func() error { return watch(ctx, s, name) })
		}
		g.Go(func() error {
			for n := 1; ctx.Err() == nil; n++ {
				err := i.api.Patch(ctx, name, []powerdns.RRset{text(name, strconv.Itoa(n))})
				if err != nil && ctx.Err() == nil && !errors.Is(err, powerdns.ErrUnavailable) { // its database is locked at times
					return err
				}
				rest(ctx, 300*time.Millisecond)
			}
			return nil
		})
	}
	return func() {
		i.t.Helper()
		cancel()
		must.OK(i.t, g.Wait())
	}
}

// rest keeps clients from taking the whole machine.
func rest(ctx context.Context, pause time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
}

// watch asks a secondary for the zone until ctx ends. Versions are told apart by their serials: in a transfer between
// PowerDNS servers while a zone is changed records can be newer than the serial.
func watch(ctx context.Context, s *fleet.Secondary, name zone.Name) error {
	for last := uint32(0); ctx.Err() == nil; rest(ctx, 5*time.Millisecond) {
		serial, missing := transfer.Serial(ctx, s.DNSAddr, name, transfer.AskOptions{})
		a, err := transfer.Ask(ctx, s.DNSAddr, name, dns.TypeTXT, transfer.AskOptions{DNSSEC: true})
		if ctx.Err() != nil {
			return nil
		}
		isThere, isSigned := false, false
		for _, r := range a.Answer {
			isThere = isThere || r.Type() == dns.TypeTXT
			isSigned = isSigned || r.Covered() == dns.TypeTXT
		}
		err = errors.Join(missing, err)
		if err != nil || serial < last || !isThere || isSigned != (name == oldSigned) {
			return fmt.Errorf("%s: %s at %s: %v, serial %d after %d, %+v", s.ID, name, time.Now(), err, serial, last, a)
		}
		last = serial
	}
	return nil
}

// leave runs the command on the host of a secondary, and returns what it printed.
func (i *harness) leave(ctx context.Context, s *fleet.Secondary, options flags) (string, error) {
	file, set := i.Config(s.ID)
	all := flags{"master": []string{i.Primary.DNSAddr}, "tsig-key": "transfer"}
	maps.Copy(all, options)
	var out bytes.Buffer
	err := operator.Leave(ctx, command.Invocation{
		Settings: settings.Sources{File: file, Flags: set}, Options: all, Stdout: &out, Stderr: io.Discard,
	})
	return out.String(), err
}

// refuses runs the command where it has to end with an error in which want stands, or, for all that it does, to print
// want.
func (i *harness) refuses(s *fleet.Secondary, options flags, want string) {
	i.t.Helper()
	out, err := i.leave(i.ctx, s, options)
	if err == nil || !strings.Contains(err.Error()+out, want) {
		i.t.Errorf("leave %v: %v\n%s\nwant %q", options, err, out, want)
	}
}

// moveOut has a secondary leave: with what is refused, with zones that cannot go, interrupted, killed and run again.
func (i *harness) moveOut(s *fleet.Secondary) {
	i.t.Helper()
	confirm := flags{"confirm": true}
	i.refuses(s, flags{"master": []string(nil)}, "name the address of the master")
	i.refuses(s, flags{"master": []string{"ns.example.net"}}, "neither an IP address")
	i.refuses(s, flags{"master": []string{i.roleOf(s)}}, "the zones are to leave")
	i.refuses(s, flags{"tsig-key": "nonesuch"}, "no TSIG key nonesuch")
	i.refuses(s, confirm, "the role runs")
	if out, err := i.leave(i.ctx, s, nil); err != nil || !strings.Contains(out, "With --confirm, 13 zones") {
		i.t.Errorf("%v\n%s", err, out)
	}
	must.OK(i.t, i.followsAlone(s, i.roleOf(s)))
	for n := range 10 { // the others are so already
		i.tell(i.Primary, http.MethodPut, "/zones/"+numbered("new", n).ID(), `{"kind":"Master"}`)
		i.notify(numbered("new", n))
	}

	must.OK(i.t, i.StopRole(s.ID))
	absent, newer := zone.MustParseName("absent.example"), numbered("new", 3)
	edge, err := s.Client()
	must.OK(i.t, err)
	i.eventually("absent.example. is there", func(ctx context.Context) error { // its database may be locked
		err := edge.CreateZone(ctx, absent, powerdns.Slave, []string{i.roleOf(s)})
		if errors.Is(err, powerdns.ErrExists) {
			return nil
		}
		return err
	})
	i.eventually("new3.example. is newer", func(ctx context.Context) error {
		return edge.Patch(ctx, newer, []powerdns.RRset{{Name: newer, Type: "SOA", TTL: 3600, Content: []string{
			"ns1.example.net. hostmaster.example.net. 1000000000 10800 3600 604800 300"}}})
	})
	i.interrupt(s, edge)
	i.kill(s, edge)
	out, err := i.leave(i.ctx, s, confirm)
	if !errors.Is(err, command.ErrNotInOrder) || !strings.Contains(out, "12 of 14 zones") ||
		!strings.Contains(out, "absent.example.: ") || !strings.Contains(out, "older than 1000000000 here") {
		i.t.Errorf("zones that cannot leave: %v\n%s", err, out)
	}
	must.OK(i.t, i.followsAlone(s, i.Primary.DNSAddr))
	for _, name := range []zone.Name{absent, newer} {
		i.tell(s.Server, http.MethodDelete, "/zones/"+name.ID(), "")
	}
	for _, want := range []string{"new3.example. is published, and PowerDNS here does not have it", "No zone of PowerDNS is of this role"} { // and once more
		if out, err := i.leave(i.ctx, s, confirm); err != nil || !strings.Contains(out, want) || !strings.Contains(out, "pdns-distribute forget "+s.ID) {
			i.t.Errorf("%v\n%s\nwant %q", err, out, want)
		}
	}
	if files, err := os.ReadDir(filepath.Join(i.Install(), s.ID, "state")); err != nil || len(files) > 0 {
		i.t.Errorf("the role's copy is still there: %v, %v", files, err)
	}
}

// interrupt runs the command until the first zone has left.
func (i *harness) interrupt(s *fleet.Secondary, edge *powerdns.Client) {
	i.t.Helper()
	ctx, cancel := context.WithCancel(i.ctx)
	var g errgroup.Group
	g.Go(func() error {
		if _, err := i.leave(ctx, s, flags{"confirm": true}); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("interrupted: %w", err)
		}
		return nil
	})
	i.haveLeft(edge, 1)
	cancel()
	must.OK(i.t, g.Wait())
}

// kill runs the command as a process of its own, and kills it when another zone has left.
func (i *harness) kill(s *fleet.Secondary, edge *powerdns.Client) {
	i.t.Helper()
	file, set := i.Config(s.ID)
	args := []string{"leave", "--config", file, "--confirm", "--master", i.Primary.DNSAddr, "--tsig-key", "transfer"}
	for key, value := range set {
		args = append(args, "--set", key+"="+value)
	}
	before := i.haveLeft(edge, 1)
	cmd := exec.CommandContext(i.ctx, program(i.t), args...)
	must.OK(i.t, cmd.Start())
	i.haveLeft(edge, before+1)
	_ = cmd.Process.Kill() // it may have been quicker
	_ = cmd.Wait()
}

// haveLeft waits until so many zones have left, and returns how many have.
func (i *harness) haveLeft(edge *powerdns.Client, want int) (left int) {
	i.t.Helper()
	i.eventually(fmt.Sprintf("%d have left", want), func(ctx context.Context) error {
		zones, err := edge.Zones(ctx)
		left = 0
		for _, z := range zones {
			if z.TransferredOnlyFrom(i.Primary.DNSAddr) {
				left++
			}
		}
		if err == nil && left < want {
			err = fmt.Errorf("%d have left", left)
		}
		return err
	})
	return left
}
