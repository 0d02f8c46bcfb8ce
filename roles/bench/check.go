package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/installation"
)

const (
	checkZones       = 100_000
	checkSecondaries = 20
	checkEvents      = 10_000
	checkDiffers     = 100
)

// check: what it costs the health role to compare and to follow changes. Broker and health role are real; the
// secondaries are simulated, for a thousand PowerDNS servers do not fit on one machine: they have what is published,
// say so as real ones do, and have no PowerDNS.
func check(ctx context.Context, dir, program string) error {
	fmt.Printf("What the health role costs: %d zones, %d simulated secondaries\n", checkZones, checkSecondaries)
	s, err := simulate(ctx, dir, program)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.publish(ctx, checkZones); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	if err := s.start("health", s.id); err != nil {
		return err
	}
	return s.measure(ctx)
}

// simulation is a broker, a health role, and nodes that are only said to be there.
type simulation struct {
	dir, program string
	plan         installation.Installation
	id           string // of the health role
	observe      string // where it is watched
	running      []*exec.Cmd
	core         *broker.Conn // as the primary
	nodes        []*simulated
	names        []zone.Name
	seqs         []uint64
	bytes        atomic.Int64 // of questions and answers of checks
}

// simulated is one secondary.
type simulated struct {
	conn *broker.Conn

	mu    sync.Mutex
	stock *health.Inventory
}

func simulate(ctx context.Context, dir, program string) (s *simulation, err error) {
	if program == "" {
		return nil, errors.New("name the program to measure by -program")
	}
	listen, err := local.FreeAddress()
	if err != nil {
		return nil, err
	}
	s = &simulation{dir: dir, program: program, id: "health1"}
	if s.observe, err = local.FreeAddress(); err != nil {
		return nil, err
	}
	s.plan = installation.Installation{Dir: filepath.Join(dir, "roles"), Brokers: []string{listen}, Primaries: []string{"primary1"}, Proxies: []string{"proxy1"}, Health: []string{s.id}}
	for n := range checkSecondaries {
		s.plan.Secondaries = append(s.plan.Secondaries, fmt.Sprintf("sim%d", n+1))
	}
	if err := s.plan.Write(time.Now()); err != nil {
		return nil, err
	}
	if err := s.start("broker", "broker1"); err != nil {
		return s, err
	}
	if s.core, err = s.connect(ctx, "primary1"); err != nil {
		return s, err
	}
	_, err = s.core.EnsureStreams(ctx, 1)
	return s, err
}

func (s *simulation) start(role, id string) error {
	cmd := exec.Command(s.program, role, "--config", filepath.Join(s.plan.Dir, id, "config.toml"), "--log-level", "error", "--set", "observe.listen=")
	if role == "health" {
		cmd.Args = append(cmd.Args[:len(cmd.Args)-2], "--set", "observe.listen="+s.observe, "--set", "health.check_interval=24h", "--set", "health.probe_sample=0")
	}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.running = append(s.running, cmd)
	return cmd.Start()
}

func (s *simulation) stop() {
	for _, cmd := range s.running {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (s *simulation) connect(ctx context.Context, id string) (*broker.Conn, error) {
	dir := filepath.Join(s.plan.Dir, id)
	cfg := broker.Config{
		URLs: []string{"tls://" + s.plan.Brokers[0]}, CAFile: filepath.Join(dir, "ca.crt"), NKeyFile: filepath.Join(dir, "node.nkey"),
	}
	role := broker.RolePrimary
	if strings.HasPrefix(id, "sim") {
		role, cfg.APIPrefix = broker.RoleSecondary, broker.RemoteAPIPrefix
	}
	conn, err := broker.Connect(cfg, broker.Options{Node: id, Role: role, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	return conn, conn.Wait(ctx)
}

// publish publishes zones, or what they are next.
func (s *simulation) publish(ctx context.Context, n int) error {
	for len(s.names) < n {
		s.names = append(s.names, zone.MustParseName(fmt.Sprintf("zone%d.example", len(s.names))))
		s.seqs = append(s.seqs, 0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := range n {
		g.Go(func() (err error) {
			s.seqs[i], err = s.core.PublishState(ctx, s.names[i], []byte("simulated"), s.state(i, s.seqs[i] > 0), s.seqs[i])
			return err
		})
	}
	return g.Wait()
}

// state is what a zone is published as, first and next.
func (s *simulation) state(i int, next bool) broker.StateHeader {
	digest, stable := contents(i, next)
	return broker.StateHeader{
		Kind: broker.KindZone, Serial: 1, Stored: 1, Digest: fmt.Sprintf("%x", digest), Stable: fmt.Sprintf("%x", stable), Published: time.Now(),
	}
}

func contents(i int, next bool) (d zone.Digest, st zone.StableDigest) {
	copy(d[:], fmt.Sprint(i, next))
	copy(st[:], fmt.Sprint(i, next))
	return d, st
}

func (s *simulation) entry(i int, next bool) health.Entry {
	digest, stable := contents(i, next)
	return health.Entry{Zone: s.names[i], Version: health.VersionOf(s.names[i], digest, stable), Serial: 1}
}

// follow has the simulated nodes speak and answer.
func (s *simulation) follow(ctx context.Context) error {
	stock := &health.Inventory{}
	for i := range s.names {
		stock.Add(s.entry(i, false))
	}
	for _, id := range s.plan.Secondaries {
		conn, err := s.connect(ctx, id)
		if err != nil {
			return err
		}
		node := &simulated{conn: conn, stock: stock}
		s.nodes = append(s.nodes, node)
		if _, err := conn.SubscribeCheck(ctx, func(question []byte) { s.answer(node, question) }); err != nil {
			return err
		}
	}
	go s.speak(ctx)
	return nil
}

func (s *simulation) answer(node *simulated, question []byte) {
	var q health.Question
	if json.Unmarshal(question, &q) != nil {
		return
	}
	node.mu.Lock()
	answer, err := json.Marshal(node.stock.Answer(q))
	node.mu.Unlock()
	if err == nil && node.conn.PublishChecked(answer) == nil {
		s.bytes.Add(int64(len(question) + len(answer)))
	}
}

// speak says every few seconds that the nodes are there.
func (s *simulation) speak(ctx context.Context) {
	say := func(conn *broker.Conn, id, role string) {
		p := health.Presence{Node: id, Role: role, Zones: len(s.names), Primary: health.PrimaryReport{Complete: role == health.RolePrimary}}
		p.Process = health.Process{Instance: "one", Clock: time.Now(), Started: time.Now()}
		if text, err := json.Marshal(p); err == nil {
			_ = conn.PublishStatus(ctx, text)
		}
	}
	for ctx.Err() == nil {
		say(s.core, s.plan.Primaries[0], "primary")
		for i, node := range s.nodes {
			say(node.conn, s.plan.Secondaries[i], "secondary")
		}
		time.Sleep(5 * time.Second)
	}
}

// measure prints what each thing costs.
func (s *simulation) measure(ctx context.Context) error {
	if err := s.await(ctx, func(text string) bool {
		return strings.Contains(text, "\npdns_distribute_health_leads 1\n") && strings.Contains(text, `role="secondary",state="ok"} `+strconv.Itoa(checkSecondaries)) &&
			strings.Contains(text, `checks_total{result="same"} `+strconv.Itoa(checkSecondaries))
	}); err != nil {
		return err
	}
	took, bytes, cpu, err := s.compare(ctx)
	if err != nil {
		return err
	}
	header("", "all", "each")
	row("in sync: bytes", fmt.Sprint(bytes), fmt.Sprint(bytes/checkSecondaries))
	row("  time, ms", milliseconds(took), milliseconds(took/checkSecondaries))
	row("  health role's CPU, ms", milliseconds(cpu), milliseconds(cpu/checkSecondaries))

	s.nodes[0].lose(s, checkDiffers)
	took, bytes, cpu, err = s.compare(ctx)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("%d zones differ at one: bytes", checkDiffers), fmt.Sprint(bytes))
	row("  time, ms", milliseconds(took))
	row("  health role's CPU, ms", milliseconds(cpu))
	list := s.list()
	row("reference: the list of all zones with digests, bytes", fmt.Sprint(list*checkSecondaries), fmt.Sprint(list))
	s.nodes[0].regain(s)

	if err := s.burst(ctx); err != nil {
		return err
	}
	memory, err := s.metric(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	row("health role's memory, MB", fmt.Sprintf("%.0f", memory/1e6))
	fmt.Println()
	return nil
}

func (n *simulated) lose(s *simulation, zones int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stock = &health.Inventory{}
	for i := zones; i < len(s.names); i++ {
		n.stock.Add(s.entry(i, false))
	}
}

func (n *simulated) regain(s *simulation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stock = s.nodes[1].stock
}

// list is how many bytes it would take a secondary to say all that it has.
func (s *simulation) list() (bytes int) {
	for part := range 64 * 64 {
		if text, err := json.Marshal(s.nodes[1].stock.Answer(health.Question{Check: rand.Text(), Depth: 3, Part: part})); err == nil {
			bytes += len(text)
		}
	}
	return bytes
}

// compare has all secondaries compared once.
func (s *simulation) compare(ctx context.Context) (took time.Duration, bytes int64, cpu time.Duration, err error) {
	s.bytes.Store(0)
	before, err := s.cpu(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.core.AskLeader(ctx, []byte(`{"do":"check"}`)); err != nil {
		return 0, 0, 0, err
	}
	took = time.Since(begin)
	after, err := s.cpu(ctx)
	return took, s.bytes.Load(), after - before, err
}

// burst publishes many changes at once, which all secondaries tell that they serve.
func (s *simulation) burst(ctx context.Context) error {
	before, err := s.cpu(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.publish(ctx, checkEvents); err != nil {
		return err
	}
	for i := range checkEvents {
		digest, stable := contents(i, true)
		notice, err := json.Marshal(health.Applied{Zone: s.names[i], Serial: 1, Digest: fmt.Sprintf("%x", digest), Stable: fmt.Sprintf("%x", stable), At: time.Now()})
		if err != nil {
			return err
		}
		for _, node := range s.nodes {
			if err := node.conn.PublishApplied(notice); err != nil {
				return err
			}
		}
	}
	published := time.Since(begin)
	if err := s.await(ctx, func(text string) bool { return strings.Contains(text, "\npdns_distribute_health_open_changes 0\n") }); err != nil {
		return err
	}
	after, err := s.cpu(ctx)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("%d changes: published and reported, ms", checkEvents), milliseconds(published))
	row("  health role's CPU until all are settled, ms", milliseconds(after-before))
	row("  for each change, and each secondary that reported it, µs", fmt.Sprint((after-before).Microseconds()/checkEvents), fmt.Sprint((after-before).Microseconds()/checkEvents/checkSecondaries))
	return nil
}

// await reads the health role's metrics until they are as they should be.
func (s *simulation) await(ctx context.Context, fits func(string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		text, err := s.metrics(ctx)
		if err == nil && fits(text) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the health role is not as it should be: %v\n%s", err, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// metrics is what the health role shows.
func (s *simulation) metrics(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.observe+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// metric is one value of it.
func (s *simulation) metric(ctx context.Context, name string) (float64, error) {
	text, err := s.metrics(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, is := strings.CutPrefix(line, name+" "); is {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("the health role has no metric %s", name)
}

// cpu is what the health role has used.
func (s *simulation) cpu(ctx context.Context) (time.Duration, error) {
	seconds, err := s.metric(ctx, "process_cpu_seconds_total")
	return time.Duration(seconds * float64(time.Second)), err
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
