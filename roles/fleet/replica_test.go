package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// readOnly has a database refuse writes, as a replica does.
var readOnly = func() (statements string) {
	for _, table := range []string{"domains", "records", "domainmetadata", "cryptokeys"} {
		for _, act := range []string{"insert", "update", "delete"} {
			statements += fmt.Sprintf("create trigger no_%s_%s before %s on %s begin select raise(abort, 'this is a replica'); end;\n", act, table, act, table)
		}
	}
	return statements
}()

// replicate brings the replica's database to where the primary's is.
func (i *harness) replicate() {
	i.t.Helper()
	file := filepath.Join(i.Dir, "copy.db")
	_, err := i.Primary.SQL(i.ctx, ".backup "+file)
	must.OK(i.t, err)
	_, err = i.Replicas[0].SQL(i.ctx, ".restore "+file+"\n"+readOnly)
	must.OK(i.t, err)
}

// startBesideReplica is an installation with two primaries, of which the second one is beside a replica that is brought
// up to date by hand. Its heartbeat goes through the first proxy.
func startBesideReplica(t *testing.T, set map[string]string) *harness {
	t.Helper()
	i := start(t, fleet.Options{Replicas: []map[string]string{{}}, Secondaries: []local.Backend{local.SQLite}, Set: set})
	i.replicate()
	_, of := i.Config("primary2")
	for key, value := range map[string]string{
		"heartbeat_urls": i.ProxyURL, "heartbeat_ca_file": i.ProxyCert, "heartbeat_key_file": i.Primary.APIKeyFile(),
	} {
		of["primary."+key] = value
	}
	must.OK(t, i.StopRole("primary2"))
	must.OK(t, i.StartRole(t.Context(), "primary2"))
	return i
}

// awaitOne waits until one primary acts, and no other, and returns its id.
func (i *harness) awaitOne() (id string) {
	i.t.Helper()
	i.eventually("one primary acts", func(ctx context.Context) error {
		s, err := i.status(ctx)
		if err != nil {
			return err
		}
		var ids []string
		for _, r := range s.Nodes {
			if r.Role == "primary" && r.Leads && r.Active {
				ids = append(ids, r.Node)
			}
		}
		if len(ids) != 1 {
			return fmt.Errorf("%v act", ids)
		}
		id = ids[0]
		return nil
	})
	return id
}

// awaitActing waits until this primary acts, and no other.
func (i *harness) awaitActing(id string) {
	i.t.Helper()
	i.eventually(id+" acts", func(context.Context) error {
		if acts := i.awaitOne(); acts != id {
			return fmt.Errorf("%s acts", acts)
		}
		return nil
	})
}

// A primary beside a replica that lags, which takes over and sweeps, deletes nothing, brings nothing back, reverts
// nothing and settles nothing, and says by how much it lags. When the replica has caught up all is right without
// anybody's act.
func TestReplicaThatLags(t *testing.T) {
	t.Parallel()
	i := startBesideReplica(t, map[string]string{"primary.sweep_interval": "1s", "primary.scrub_period": "1s"})
	i.awaitActing("primary1")
	made, gone, changed := zone.MustParseName("made.example"), zone.MustParseName("gone.example"), zone.MustParseName("changed.example")
	create := func(name zone.Name) answer {
		return i.prefer("wait=30", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name))
	}
	create(gone).held(t, 201, proxy.StatusInSync, "1/1")
	create(changed).held(t, 201, proxy.StatusInSync, "1/1")
	i.replicate()
	create(made).held(t, 201, proxy.StatusInSync, "1/1")
	i.prefer("wait=30", "DELETE", zonesPath+"/"+gone.ID(), "").held(t, 204, proxy.StatusInSync, "1/1")
	i.prefer("wait=30", "PATCH", zonesPath+"/"+changed.ID(), patchText(changed, "new")).held(t, 204, proxy.StatusInSync, "1/1")

	must.OK(t, i.StopRole("primary1"))
	i.awaitActing("primary2")
	for _, a := range []answer{
		i.prefer("wait=1", "PATCH", zonesPath+"/"+changed.ID(), patchText(changed, "newer")),
		i.prefer("wait=1", "DELETE", zonesPath+"/"+made.ID(), ""),
	} {
		if got := a.header.Get(proxy.HeaderStatus); a.status/100 != 2 || got != proxy.StatusPending {
			t.Errorf("a change that the replica does not have: %d %s", a.status, got)
		}
	}
	i.eventually("it says that it lags", func(ctx context.Context) error {
		s, err := i.status(ctx)
		for _, r := range s.Nodes {
			if r.Node == "primary2" && strings.Contains(strings.Join(r.Problems, " "), "lags behind by ") && r.Replication.Lag > 0 {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", s.Nodes))
	})
	for _, name := range []zone.Name{made, changed} { // it has swept and scrubbed several times
		if _, err := fetch(t.Context(), i.Secondaries[0].DNSAddr, name); err != nil {
			t.Error(err)
		}
	}
	if texts := i.texts(changed); texts[0] != "new" {
		t.Errorf("it reverted %s to %s", changed, texts)
	}
	must.OK(t, transfer.ProveGone(t.Context(), i.Secondaries[0].DNSAddr, gone))

	i.eventually("all is right once the replica has caught up", func(ctx context.Context) error {
		i.replicate()
		if texts := i.texts(changed); texts[0] != "newer" {
			return fmt.Errorf("%s has %s", changed, texts)
		}
		return transfer.ProveGone(ctx, i.Secondaries[0].DNSAddr, made)
	})
	must.OK(t, i.StartRole(t.Context(), "primary1"))
	i.awaitActing("primary1") // it is beside the database that takes writes
	i.eventually("nothing is wrong", func(ctx context.Context) error {
		i.replicate()
		s, err := i.status(ctx)
		if err == nil && (!s.OK || len(s.Alarms) > 0) {
			err = fmt.Errorf("%+v", s.Alarms)
		}
		return err
	})
}

// What one PowerDNS wrote into the database the other one gives, which reads: also how a zone is signed, though it
// caches that for a minute: a transfer looks at the database.
func TestWrittenByAnotherPowerDNS(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{
		OfPrimary: map[string]string{"zone-metadata-cache-ttl": "60", "dnssec-key-cache-ttl": "60"}, Replicas: []map[string]string{{"gsqlite3-database": "PRIMARY/db/gsqlite3"}}, Secondaries: []local.Backend{local.SQLite},
	})
	second := i
	if i.awaitOne() == "primary1" { // clients use the other one's proxy
		second = i.through(1)
	}
	name := zone.MustParseName("signed.example")
	path := zonesPath + "/" + name.ID()
	second.prefer("wait=30", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."]}`, name)).held(t, 201, proxy.StatusInSync, "1/1")
	for n, signed := range []bool{true, false} {
		second.prefer("wait=30", "PUT", path, fmt.Sprintf(`{"dnssec":%t}`, signed)).held(t, 204, proxy.StatusInSync, "1/1")
		z, err := fetch(t.Context(), i.Secondaries[0].DNSAddr, name)
		must.OK(t, err)
		if _, has := z.FirstExpiry(); has != signed {
			t.Errorf("%d: signed %v, and it is to be %v", n, has, signed)
		}
	}
}

// through is the installation as clients of another proxy see it.
func (i *harness) through(n int) *harness {
	other, f := *i, *i.Fleet
	f.ProxyURL, f.ProxyCert = i.ProxyAt(fmt.Sprintf("proxy%d", n+1))
	f.Primary = i.Replicas[n-1]
	other.Fleet = &f
	return &other
}
