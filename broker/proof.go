package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Proof is what a server found out about itself, by trying.
type Proof struct {
	At      time.Time
	Faults  []Fault // what keeps it from being ready
	Leads   bool    // this server keeps the books of the cluster, or is alone
	Leader  string  // of the cluster's brokers: the one that keeps its books; "" if none is known or it is alone
	Peers   []Peer  // the other brokers of the cluster
	Streams []StreamCount
	Store   StoreUse

	stuck string  // why it takes or gives nothing though it could
	lame  string  // a stream that does not do what it should, and that this broker leads
	load  apiLoad // as the server was asked
}

// The kinds of faults.
const (
	FaultDisk      = "disk"
	FaultJetStream = "jetstream"
	FaultQuorum    = "quorum"
	FaultStreams   = "streams"
)

// Fault is something that a broker does not do.
type Fault struct{ What, Why string }

// Peer is another broker of the cluster, as this one sees it.
type Peer struct {
	Name    string
	Away    bool          // nothing was received from it lately
	Silent  time.Duration // since something was last received from it
	Current bool          // it has what the leader has; only the leader knows
	Lag     uint64        // operations that it is behind
}

const (
	proofInterval = 5 * time.Second

	// proofPatience is how many proofs in a row must fail: a leader that changes is no fault.
	proofPatience = 2

	// stuckAfter is how long streams may take or give nothing though disk and quorum are there, before the server is
	// ended.
	stuckAfter = 30 * time.Second

	// minFree is what the disk must have for the server to be started, or started again. With less it could not even
	// write down which messages were delivered.
	minFree = 16 << 20
)

// ErrStuck means that the server has to be started anew.
var ErrStuck = errors.New("the broker ends to be started anew")

// Watch has the server prove itself every few seconds until ctx ends: report gets each proof and returns the presence
// that the server is to publish. It returns an error when the server takes or gives nothing though it could, or holds
// what cannot be read: it is to be ended and started again then (ErrStuck, ErrDamaged). Call it once, beside Run.
func (s *Server) Watch(ctx context.Context, report func(Proof) []byte) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil
	}
	var conn *Conn
	if s.admitted {
		var err error
		if conn, err = s.inside.connect(s.nats, s.log); err != nil {
			return err
		}
		defer conn.nc.Close() // which waits for nothing: the server may be ending
		connecting, cancel := context.WithTimeout(ctx, proveTimeout)
		_ = conn.Wait(connecting) // without a connection the proof says so
		cancel()
	}
	w := watching{server: s, conn: conn, scanner: newScanner(s.storeDir), restarts: restarts{file: filepath.Join(s.storeDir, restartsFile)}}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		if err := w.once(ctx, report); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watching is what Watch remembers from one proof to the next.
type watching struct {
	server   *Server
	conn     *Conn // nil where the server cannot connect with itself
	restarts restarts
	failed   int       // proofs in a row
	lame     time.Time // since when a stream that this broker leads does not do what it should; zero: none
	ready    bool      // some proof succeeded
	held     counted   // what the streams held at the last proof
	load     apiLoad   // as of the last proof
	scanner  *scanner
	proofs   int
}

func (w *watching) once(ctx context.Context, report func(Proof) []byte) error {
	p := w.server.prove(ctx, w.conn)
	if ctx.Err() != nil {
		return nil
	}
	if len(p.Faults) == 0 {
		w.failed, w.ready = 0, true
	} else {
		w.failed++
	}
	if flood := p.load.flood(w.load); flood != "" && len(p.Faults) > 0 {
		p.Faults = slices.Insert(p.Faults, 0, Fault{FaultStreams, flood + w.server.busiest()})
		p.lame = "" // to start it anew would not help: whoever floods it comes back
	}
	w.load = p.load
	if err := w.compare(p); err != nil {
		return err
	}
	if w.proofs++; w.proofs%proofsPerScan == 0 || len(w.scanner.suspect) > 0 {
		if what := w.scanner.scan(p.At); what != "" {
			if err := w.damaged(p.At, what); err != nil {
				return err
			}
		}
	}
	stuck := p.stuck
	if stuck == "" && w.lameFor(p) >= stuckAfter {
		stuck = p.lame
	}
	if w.ready && w.failed < proofPatience && stuck == "" {
		p.Faults = nil
	}
	err := w.end(p.At, stuck, &p)
	if said := report(p); w.conn != nil && len(said) > 0 {
		ctx, cancel := context.WithTimeout(ctx, proveTimeout)
		defer cancel()
		if err := w.conn.PublishStatus(ctx, said); err != nil && !errors.Is(err, ErrGone) {
			w.server.log.Debug().Err(err).Msg("failed to publish the broker's presence")
		}
	}
	return err
}

// compare looks whether streams lack what they held, also before the server was started, and notes what they hold.
func (w *watching) compare(p Proof) error {
	if len(p.Streams) == 0 || w.server.clustered {
		return nil // others of a cluster have it
	}
	restarted := w.held.Streams == nil
	if restarted {
		w.held = w.server.noted()
	}
	what, shorter := lacking(w.held.Streams, p.Streams, restarted)
	next := counted{Streams: map[string]StreamCount{}, Damaged: what, Shorter: shorter}
	for _, s := range p.Streams {
		next.Streams[s.Name] = s
	}
	if what == "" && maps.Equal(next.Streams, w.held.Streams) {
		return nil
	}
	if err := w.server.note(next); err != nil {
		return nil // its disk is full, which the proof says; later then
	}
	w.held = next
	if what == "" {
		return nil
	}
	return w.damaged(p.At, what)
}

// damaged is the error that has the store repaired, unless that was tried in vain lately.
func (w *watching) damaged(now time.Time, what string) error {
	if again, err := w.restarts.note(now, what); err != nil || !again.IsZero() {
		w.server.log.Error().Str("what", what).Time("again", again).Err(err).
			Msg("the store is damaged, and was repaired just now: the broker goes on as it is")
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, what)
}

// end is the error that has the server started anew, where that was not done in vain lately.
func (w *watching) end(now time.Time, stuck string, p *Proof) error {
	if stuck == "" {
		return nil
	}
	again, err := w.restarts.note(now, stuck)
	if err != nil || !again.IsZero() {
		why := "starting it anew did not help; it is tried again at " + again.UTC().Format(time.RFC3339)
		if err != nil {
			why = fmt.Sprintf("it is not started anew, because that cannot be noted: %v", err)
		}
		p.Faults = append(p.Faults, Fault{FaultJetStream, why})
		return nil
	}
	return fmt.Errorf("%w: %s", ErrStuck, stuck)
}

// lameFor is how long a stream that this broker leads has not done what it should. Of streams that others lead, only
// those know whether it would help to start them anew.
func (w *watching) lameFor(p Proof) time.Duration {
	switch {
	case p.lame == "":
		w.lame = time.Time{}
		return 0
	case w.lame.IsZero():
		w.lame = p.At
	}
	return p.At.Sub(w.lame)
}

// leads reports whether a stream is this broker's to lead.
func (s *Server) leads(stream string) bool {
	return !s.clustered || s.nats.JetStreamIsStreamLeader(coreAccount, stream)
}

// prove tries everything once. What follows from a fault that is found is not looked for.
func (s *Server) prove(ctx context.Context, conn *Conn) Proof {
	p := Proof{At: time.Now()}
	add := func(what, format string, args ...any) {
		p.Faults = append(p.Faults, Fault{what, fmt.Sprintf(format, args...)})
	}
	free, space := s.free()
	if !space {
		add(FaultDisk, "%s", s.noRoom(free))
	}
	if !s.nats.JetStreamEnabled() {
		add(FaultJetStream, "nats-server has shut JetStream down, as it does when its disk fails: nothing is stored")
		if space {
			p.stuck = "JetStream was shut down, and there is room on the disk"
		}
		return p
	}
	var (
		leader     string
		peers      []Peer
		complaints []string
		load       apiLoad
		store      StoreUse
	)
	if !s.answers(func() { leader, peers, load, store = s.peers(); complaints = s.complaints() }) {
		p.lame = fmt.Sprintf("nats-server does not report its health within %s: one of its streams hangs", proveTimeout)
		add(FaultJetStream, "%s", p.lame)
		return p
	}
	p.load, p.Store = load, store
	p.Leads = !s.clustered || leader == s.nats.Name()
	if p.Leader, p.Peers = leader, peers; s.clustered && p.Leader == "" {
		add(FaultQuorum, "%s", noQuorum(p.Peers))
		return p
	}
	for _, why := range complaints {
		add(FaultJetStream, "%s", why)
		if space && strings.Contains(why, "write error") {
			p.stuck = why
		}
	}
	if conn != nil {
		faults, counts := conn.proveStreams(ctx)
		p.Streams = counts
		for _, f := range faults {
			add(FaultStreams, "%v", f)
			if p.lame == "" && space && s.leads(f.stream) {
				p.lame = f.Error()
			}
		}
	}
	return p
}

// answers reports whether nats-server answered in time. It is not asked again while it has not answered the last time;
// what it was to fill in must not be looked at then.
func (s *Server) answers(ask func()) bool {
	select {
	case s.asked <- struct{}{}:
	default:
		return false
	}
	done := make(chan struct{})
	go func() { // which ends with the answer, or with the process
		defer close(done)
		ask()
		<-s.asked
	}()
	select {
	case <-done:
		return true
	case <-time.After(proveTimeout):
		return false
	}
}

func noQuorum(peers []Peer) string {
	var away []string
	for _, p := range peers {
		if p.Away {
			away = append(away, p.Name)
		}
	}
	text := fmt.Sprintf("the brokers have no quorum: %d of %d are there", len(peers)+1-len(away), len(peers)+1)
	if len(away) > 0 {
		text += ", away: " + strings.Join(away, ", ")
	}
	return text + "; nothing is stored until more than half of them are"
}

// AwaitRoom returns when the disk has room enough for the server to be started, or ctx ends. report is called while it
// has not.
func (s *Server) AwaitRoom(ctx context.Context, report func(Fault)) {
	for {
		free, enough := s.free()
		if enough {
			return
		}
		report(Fault{FaultDisk, s.noRoom(free)})
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.every):
		}
	}
}

func (s *Server) noRoom(free uint64) string {
	return fmt.Sprintf("%d MB are free where the streams are kept (%s), at least %d are needed; make room: the broker goes on by itself then",
		free>>20, s.storeDir, minFree>>20)
}

// free is how much room the disk has, and whether that is enough. What cannot be measured counts as enough.
func (s *Server) free() (bytes uint64, enough bool) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.storeDir, &fs); err != nil {
		return 0, true
	}
	bytes = fs.Bavail * uint64(fs.Bsize)
	return bytes, bytes >= minFree
}

// maxComplaints is how many of nats-server's complaints about itself are passed on: it has one for each consumer.
const maxComplaints = 5

// complaints are nats-server's own about its store.
func (s *Server) complaints() (found []string) {
	health := s.nats.Healthz(&server.HealthzOptions{Details: true})
	for _, e := range health.Errors {
		found = append(found, e.Error)
	}
	if more := len(found) - maxComplaints; more > 0 {
		found = append(found[:maxComplaints], fmt.Sprintf("and %d more of that kind", more))
	}
	return found
}

// peers are the other brokers, and who of all keeps their books.
func (s *Server) peers() (leader string, peers []Peer, load apiLoad, store StoreUse) {
	info, err := s.nats.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return "", nil, load, store
	}
	load, store = apiLoad{time.Now(), info.API.Total, info.API.Inflight}, storeUse(info)
	store.Clients = s.nats.NumClients()
	if info.Meta == nil {
		return "", nil, load, store
	}
	for _, r := range info.Meta.Replicas {
		if r.Name == s.nats.Name() {
			continue
		}
		peers = append(peers, Peer{Name: r.Name, Away: r.Offline, Silent: r.Active, Current: r.Current, Lag: r.Lag})
	}
	return info.Meta.Leader, peers, load, store
}
