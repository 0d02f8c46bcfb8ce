//go:build databases

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// pair is a database that takes writes, and one that replicates it.
type pair struct {
	writable, replica      *dbServer
	pause, resume, promote func()
	delay                  func(seconds int)
}

func postgresPair(t *testing.T) pair {
	a, b := startPostgres(t)
	return pair{
		writable: a, replica: b,
		pause:  func() { b.sql("SELECT pg_wal_replay_pause()") },
		resume: func() { b.insist("SELECT pg_wal_replay_resume()") },
		delay: func(seconds int) {
			b.sql(fmt.Sprintf("ALTER SYSTEM SET recovery_min_apply_delay = '%ds'", seconds))
			b.sql("SELECT pg_reload_conf()")
		},
		promote: func() { b.sql("SELECT pg_promote()") },
	}
}

func mariaPair(t *testing.T) pair {
	a, b := startMariaDB(t)
	return pair{
		writable: a, replica: b,
		pause:  func() { b.mustRoot("STOP SLAVE SQL_THREAD") },
		resume: func() { b.mustRoot("START SLAVE SQL_THREAD") },
		delay: func(seconds int) {
			b.mustRoot(fmt.Sprintf("STOP SLAVE; CHANGE MASTER TO master_delay=%d; START SLAVE", seconds))
		},
		promote: func() { b.mustRoot("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0") },
	}
}

var pairs = map[string]func(*testing.T) pair{"gpgsql": postgresPair, "gmysql": mariaPair}

// replicated is an installation with two primaries, each beside a database of a pair.
type replicated struct {
	*harness
	pair
}

func startReplicated(t *testing.T, kind string, set map[string]string) *replicated {
	t.Helper()
	p := pairs[kind](t)
	if set == nil {
		set = map[string]string{}
	}
	i := start(t, fleet.Options{
		Primary: local.Backend(kind), OfPrimary: p.writable.settings(), Replicas: []map[string]string{p.replica.settings()}, Set: set,
		Secondaries: []local.Backend{local.SQLite, local.LMDB},
	})
	r := &replicated{i, p}
	_, of := i.Config("primary2") // while its own PowerDNS takes none, its heartbeat goes through the first proxy
	of["primary.heartbeat_urls"] = i.ProxyURL
	of["primary.heartbeat_ca_file"] = i.ProxyCert
	of["primary.heartbeat_key_file"] = i.Primary.APIKeyFile()
	must.OK(t, i.StopRole("primary2"))
	must.OK(t, i.StartRole(t.Context(), "primary2"))
	return r
}

// work is what clients do with their zones while the databases are at odds, and what they see.
type work struct {
	i       *harness
	through int // which proxy
	of      *local.Server

	asked, inSync, pending, untrue, back atomic.Int64
	mu                                   sync.Mutex
	faults                               []string
	zones                                map[zone.Name]int // the newest token that was written
}

func (w *work) fault(counter *atomic.Int64, format string, args ...any) {
	counter.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf("%s: "+format, append([]any{time.Now().Format(time.StampMilli)}, args...)...))
}

// send sends a request through the proxy, and returns how its change stands in the end.
func (w *work) send(ctx context.Context, wait int, method, path, body string) (status string, err error) {
	address, cert := w.i.ProxyAt(fmt.Sprintf("proxy%d", w.through+1))
	req, err := http.NewRequestWithContext(ctx, method, address+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-API-Key", w.of.APIKey.Reveal())
	req.Header.Set("Prefer", "wait="+strconv.Itoa(wait))
	client, err := proxyClient(cert)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	w.asked.Add(1)
	if res.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	return res.Header.Get(proxy.HeaderStatus), nil
}

func withToken(name zone.Name, token int) string {
	return fmt.Sprintf(`{"name":%q,"type":"TXT","ttl":1,"changetype":"REPLACE","records":[{"content":"\"%d\""}]}`, name, token)
}

// create, change and remove do what they say with a zone, and look whether what is said of it is so.
func (w *work) create(ctx context.Context, wait int, name zone.Name, token int) error {
	body := fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."],"soa_edit_api":"%s","rrsets":[%s]}`,
		name, []string{"DEFAULT", ""}[token%2], withToken(name, token))
	return w.judge(ctx, wait, name, token, "POST", zonesPath, body)
}

func (w *work) change(ctx context.Context, wait int, name zone.Name, token int) error {
	return w.judge(ctx, wait, name, token, "PATCH", zonesPath+"/"+name.ID(), `{"rrsets":[`+withToken(name, token)+`]}`)
}

func (w *work) remove(ctx context.Context, wait int, name zone.Name) error {
	return w.judge(ctx, wait, name, -1, "DELETE", zonesPath+"/"+name.ID(), "")
}

func (w *work) judge(ctx context.Context, wait int, name zone.Name, token int, method, path, body string) error {
	w.mu.Lock()
	w.zones[name] = token
	w.mu.Unlock()
	status, err := w.send(ctx, wait, method, path, body)
	if err != nil {
		return err
	}
	if status != proxy.StatusInSync {
		w.pending.Add(1)
		return nil
	}
	w.inSync.Add(1)
	for _, s := range w.i.Secondaries {
		is, err := tokenAt(ctx, s.DNSAddr, name)
		if err != nil {
			return err
		}
		if is != token {
			w.fault(&w.untrue, "INSYNC of %s %s: %s has token %d, not %d", method, name, s.ID, is, token)
		}
	}
	return nil
}

// tokenAt is the token that a server answers with, -1 where it has no such zone.
func tokenAt(ctx context.Context, address string, name zone.Name) (int, error) {
	a, err := transfer.Ask(ctx, address, name, dns.TypeTXT, transfer.AskOptions{Unique: true})
	if err != nil {
		return 0, err
	}
	if a.Rcode != dns.RcodeSuccess || len(a.Answer) != 1 {
		return -1, nil
	}
	return strconv.Atoi(string(a.Answer[0].Data()[1:]))
}

// watch sees that zones which are only edited never go back, and are never gone.
func (w *work) watch(ctx context.Context, names []zone.Name) {
	newest := map[string]int{}
	for ctx.Err() == nil {
		for _, s := range w.i.Secondaries {
			for _, name := range names {
				token, err := tokenAt(ctx, s.DNSAddr, name)
				key := s.ID + " " + name.String()
				if err == nil && token < newest[key] {
					w.fault(&w.back, "%s went back from %d to %d", key, newest[key], token)
				}
				if err == nil {
					newest[key] = max(newest[key], token)
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// run edits zones, and makes and deletes others, for a while. wait is how many seconds each answer is held.
func (w *work) run(d time.Duration, wait int) {
	w.i.t.Helper()
	ctx, cancel := context.WithTimeout(w.i.ctx, d)
	defer cancel()
	edited := []zone.Name{zone.MustParseName("edited0.example"), zone.MustParseName("edited1.example"), zone.MustParseName("edited2.example")}
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() { w.repeat(ctx, func(token int) error { return w.change(ctx, wait, edited[n], token) }) })
		name := zone.MustParseName(fmt.Sprintf("made%d.example", tokens.Add(2)))
		wg.Go(func() {
			w.repeat(ctx, func(token int) error {
				return errors.Join(w.create(ctx, wait, name, token), w.change(ctx, wait, name, token+1), w.remove(ctx, wait, name))
			})
		})
	}
	wg.Go(func() { w.watch(ctx, edited) })
	wg.Wait()
}

// tokens are all different, and rise.
var tokens atomic.Int64

func (w *work) repeat(ctx context.Context, do func(token int) error) {
	for ctx.Err() == nil {
		if err := do(int(tokens.Add(2))); err != nil && ctx.Err() == nil {
			w.mu.Lock()
			w.faults = append(w.faults, err.Error())
			w.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func newWork(i *harness, through int, of *local.Server) *work {
	return &work{i: i, through: through, of: of, zones: map[zone.Name]int{}}
}

// prepare makes the zones that are edited later.
func (w *work) prepare() {
	w.i.t.Helper()
	for n := range 3 {
		must.OK(w.i.t, w.create(w.i.ctx, 30, zone.MustParseName(fmt.Sprintf("edited%d.example", n)), int(tokens.Add(2))))
	}
}

func (w *work) report(what string) {
	w.i.t.Logf("%s: %d asked, %d INSYNC, %d pending, %d untrue, %d went back", what, w.asked.Load(), w.inSync.Load(), w.pending.Load(), w.untrue.Load(), w.back.Load())
	for n, f := range w.faults {
		if n < 20 {
			w.i.t.Log("  ", f)
		}
	}
	if w.untrue.Load() > 0 || w.back.Load() > 0 {
		w.i.t.Errorf("%s: something was untrue or went back", what)
	}
}

// settle waits until every secondary has what the writable database has, and no alarm is left.
func (i *harness) settle(of *local.Server) {
	i.t.Helper()
	i.equal(of)
	i.eventually("no alarm is left", func(ctx context.Context) error {
		status, err := i.status(ctx)
		if err == nil && (!status.OK || len(status.Alarms) > 0) {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
}

// equal waits until every secondary has what this database has.
func (i *harness) equal(of *local.Server) {
	i.t.Helper()
	own, err := of.Client()
	must.OK(i.t, err)
	i.eventually("all is equal in the end", func(ctx context.Context) error {
		zones, err := own.Zones(ctx)
		if err != nil {
			return err
		}
		left := map[zone.Name]bool{}
		for _, z := range zones {
			if strings.HasSuffix(z.Name.String(), ".invalid.") {
				continue
			}
			left[z.Name] = true
			want, err := fetch(ctx, of.DNSAddr, z.Name)
			if err != nil {
				return err
			}
			for _, s := range i.Secondaries {
				is, err := fetch(ctx, s.DNSAddr, z.Name)
				if err == nil {
					err = fleet.Equal(is, want)
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", s.ID, z.Name, err)
				}
			}
		}
		for _, s := range i.Secondaries {
			api, err := s.Client()
			if err != nil {
				return err
			}
			has, err := api.Zones(ctx)
			if err != nil || len(has) != len(left) {
				return fmt.Errorf("%s has %d zones, not %d: %w", s.ID, len(has), len(left), err)
			}
		}
		return nil
	})
}

// The replica's primary acts, because the other one is away, and the replica lags.
func TestPrimaryBesideAReplica(t *testing.T) {
	for kind := range pairs {
		t.Run(kind, func(t *testing.T) {
			set := map[string]string{"primary.scrub_period": "1s", "primary.sweep_interval": "5s"}
			if os.Getenv("UNPROVEN") != "" { // as it was before there were heartbeats
				set["primary.replicated"] = "false"
			}
			r := startReplicated(t, kind, set)
			w := newWork(r.harness, 0, r.Primary)
			w.prepare()
			must.OK(t, r.StopRole("primary1"))
			r.awaitActing("primary2")
			for _, step := range []struct {
				what string
				do   func()
				wait int
				for_ time.Duration
			}{
				{"level", func() {}, 20, 10 * time.Second},
				{"3 s behind", func() { r.delay(3) }, 20, 20 * time.Second},
				{"paused", func() { r.delay(0); r.pause() }, 2, 20 * time.Second},
				{"resumed", func() { r.resume() }, 20, 10 * time.Second},
			} {
				step.do()
				w = newWork(r.harness, 0, r.Primary)
				w.run(step.for_, step.wait)
				w.report(step.what)
			}
			must.OK(t, r.StartRole(t.Context(), "primary1"))
			r.awaitActing("primary1")
			r.settle(r.Primary)
		})
	}
}

// The database is promoted: the primary beside it takes over by itself, with changes under way, and the other one
// waits.
func TestPromotion(t *testing.T) {
	for kind := range pairs {
		t.Run(kind, func(t *testing.T) {
			r := startReplicated(t, kind, nil)
			w := newWork(r.harness, 0, r.Primary)
			w.prepare()
			r.awaitActing("primary1")
			w.run(3*time.Second, 20)
			r.writable.stop() // in order: the replica has everything
			r.promote()
			r.awaitActing("primary2")
			w = newWork(r.harness, 1, r.Replicas[0])
			r.eventually("a change of the promoted database is served", func(ctx context.Context) error {
				err := w.change(ctx, 20, zone.MustParseName("edited0.example"), int(tokens.Add(2)))
				if err == nil && w.inSync.Load() == 0 {
					err = errors.New("it is pending")
				}
				return err
			})
			w.run(5*time.Second, 20)
			w.report("promoted")
			must.OK(t, r.StopRole("primary1"))
			must.OK(t, r.StopRole("proxy1")) // what was beside the former database is of no use any more
			r.equal(r.Replicas[0])
		})
	}
}

// Both databases take writes, and both primaries live: one acts, what the other database has is neither published nor
// said to be served, and it is said what is wrong.
func TestSplit(t *testing.T) {
	for kind := range pairs {
		t.Run(kind, func(t *testing.T) {
			r := startReplicated(t, kind, nil)
			w := newWork(r.harness, 0, r.Primary)
			w.prepare()
			r.awaitActing("primary1")
			r.promote()
			other := newWork(r.harness, 1, r.Replicas[0])
			r.eventually("the other database takes writes", func(ctx context.Context) error {
				_, err := other.send(ctx, 0, "PATCH", zonesPath+"/edited0.example.", `{"rrsets":[`+withToken(zone.MustParseName("edited0.example"), 0)+`]}`)
				return err
			})
			var both sync.WaitGroup
			both.Go(func() { w.run(10*time.Second, 5) })
			both.Go(func() { other.stray(10*time.Second, 1) })
			both.Wait()
			w.report("the database that is read")
			other.report("the other one")
			if n := other.inSync.Load(); n > 0 {
				t.Errorf("%d changes of a database that nobody reads are said to be in sync", n)
			}
			r.alarm("replication", "proxy2")
			found := r.alarm("not-ready", "primary1")
			if !strings.Contains(found.What, "parted") {
				t.Error(found.What)
			}
			r.equal(r.Primary)
		})
	}
}

// stray writes to zones of its own and to those of others, where nobody reads.
func (w *work) stray(d time.Duration, wait int) {
	ctx, cancel := context.WithTimeout(w.i.ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	name := zone.MustParseName("stray.example")
	wg.Go(func() {
		w.repeat(ctx, func(token int) error {
			return errors.Join(w.create(ctx, wait, name, token), w.change(ctx, wait, name, token+1), w.remove(ctx, wait, name))
		})
	})
	wg.Go(func() {
		w.repeat(ctx, func(token int) error { return w.change(ctx, wait, zone.MustParseName("edited1.example"), token) })
	})
	wg.Wait()
}

// A secondary's PowerDNS may keep its zones in these databases.
func TestSecondaryBackends(t *testing.T) {
	for kind := range pairs {
		t.Run(kind, func(t *testing.T) {
			d := map[string]func(*testing.T) *dbServer{"gpgsql": onePostgres, "gmysql": oneMariaDB}[kind](t)
			settings := d.settings()
			i := start(t, fleet.Options{Secondaries: []local.Backend{local.Backend(kind)}, Settings: settings})
			name := zone.MustParseName("kept.example")
			path := zonesPath + "/" + name.ID()
			same := func(what string, a answer) {
				t.Helper()
				if a.header.Get(proxy.HeaderStatus) != proxy.StatusInSync {
					t.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
				}
				i.eventually(what, func(ctx context.Context) error { return i.same(ctx, name) })
			}
			same("created", i.prefer("wait=30", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns1.example.net."],"rrsets":[%s]}`, name, withToken(name, 1))))
			same("edited", i.prefer("wait=30", "PATCH", path, `{"rrsets":[`+withToken(name, 2)+`]}`))
			same("signed", i.prefer("wait=30", "PUT", path, `{"dnssec":true}`))
			same("edited, signed", i.prefer("wait=30", "PATCH", path, `{"rrsets":[`+withToken(name, 3)+`]}`))
			same("unsigned", i.prefer("wait=30", "PUT", path, `{"dnssec":false}`))
			d.sql("DELETE FROM records")
			d.sql("DELETE FROM domains")
			must.OK(t, i.Secondaries[0].Restart(t.Context()))
			i.eventually("refilled", func(ctx context.Context) error { return i.same(ctx, name) })
			i.prefer("wait=30", "DELETE", path, "").held(t, 204, proxy.StatusInSync, "1/1")
			must.OK(t, transfer.ProveGone(t.Context(), i.Secondaries[0].DNSAddr, name))
		})
	}
}

// The primary that acts is killed and started again, and stopped for longer than its lease and let go on, under edits.
func TestActingPrimaryIsKilled(t *testing.T) {
	program := program(t)
	i := start(t, fleet.Options{
		Program: program, Replicas: []map[string]string{{"gsqlite3-database": "PRIMARY/db/gsqlite3"}},
		Secondaries: []local.Backend{local.SQLite, local.LMDB}, Set: map[string]string{"primary.sweep_interval": "5s"},
	})
	w := newWork(i, 0, i.Primary)
	w.prepare()
	var works sync.WaitGroup
	works.Go(func() { w.run(50*time.Second, 30) })

	acts := i.awaitOne()
	must.OK(t, i.KillRole(acts))
	begin := time.Now()
	must.OK(t, i.StartRole(t.Context(), acts))
	i.awaitActing(acts)
	t.Logf("killed and started again, %s acts after %s", acts, time.Since(begin))

	must.OK(t, i.Signal(acts, syscall.SIGSTOP))
	begin = time.Now()
	other := map[string]string{"primary1": "primary2", "primary2": "primary1"}[acts]
	i.eventually("the other one acts", func(ctx context.Context) error {
		s, err := i.status(ctx)
		for _, r := range s.Nodes {
			if r.Node == other && r.Leads {
				return nil
			}
		}
		return errors.Join(err, errors.New("it does not"))
	})
	t.Logf("%s acts %s after %s was stopped", other, time.Since(begin), acts)
	must.OK(t, i.Signal(acts, syscall.SIGCONT))
	i.awaitActing(other)
	works.Wait()
	w.report("killed, and stopped")
	if w.inSync.Load() == 0 {
		t.Error("nothing is in sync")
	}
	i.settle(i.Primary)
}

// Each primary and each proxy is beside another node of a cluster, clients write to both, and a node is killed.
func TestGalera(t *testing.T) {
	cluster := startGalera(t, 3)
	i := start(t, fleet.Options{
		Primary: local.MySQL, OfPrimary: cluster[0].settings(), Replicas: []map[string]string{cluster[1].settings()},
		Secondaries: []local.Backend{local.SQLite, local.LMDB},
	})
	acts := i.awaitOne()
	one, two := newWork(i, 0, i.Primary), newWork(i, 1, i.Replicas[0])
	one.prepare()
	var both sync.WaitGroup
	both.Go(func() { one.run(15*time.Second, 20) })
	both.Go(func() { two.strayBeside(15*time.Second, 20) })
	both.Wait()
	one.report("through one node, and " + acts + " acts")
	two.report("through another node")
	if one.inSync.Load() == 0 || two.inSync.Load() == 0 {
		t.Error("nothing is in sync")
	}
	i.settle(i.Primary)
	cluster[0].kill() // and its primary finds no database any more
	i.awaitActing("primary2")
	two = newWork(i, 1, i.Replicas[0])
	two.run(5*time.Second, 20)
	two.report("after a node was killed")
	if two.inSync.Load() == 0 {
		t.Error("nothing is in sync")
	}
	i.equal(i.Replicas[0])
}

// strayBeside makes, edits and deletes zones of its own.
func (w *work) strayBeside(d time.Duration, wait int) {
	ctx, cancel := context.WithTimeout(w.i.ctx, d)
	defer cancel()
	w.repeat(ctx, func(token int) error {
		name := zone.MustParseName(fmt.Sprintf("beside%d.example", token))
		return errors.Join(w.create(ctx, wait, name, token), w.change(ctx, wait, name, token+1), w.remove(ctx, wait, name))
	})
}
