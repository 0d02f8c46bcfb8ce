// Package fleet runs a whole installation on loopback, as `init` writes it: broker, primary, proxy, health and
// secondaries, with real PowerDNS servers. The demo shows it; tests and benchmarks break and measure it.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/roles/installation"
)

// Options say what fleet to start.
type Options struct {
	Dir         string            // to be made; everything is kept below it
	Primary     local.Backend     // of the primary PowerDNS
	Secondaries []local.Backend   // of the secondary ones
	Settings    map[string]string // pdns.conf lines for the secondary PowerDNS servers ...
	OfPrimary   map[string]string // ... and for the primary one

	// Servers say what one PowerDNS server has of its own, by the id of the role beside it, such as Primary and "ns1".
	Servers map[string]Server

	// Replicas are pdns.conf lines of further primary PowerDNS servers, whose databases replicate that of the first
	// one. Each has roles of its own, primary2 and proxy2 and so on. "PRIMARY" in a line stands for the folder of the
	// first server.
	Replicas []map[string]string

	// Program is the path of the program: each role then is a process of its own. "" runs all in this process.
	Program string
	Counts  Counts

	// Between, if set, is told of each address (host:port) that a role connects to, by the id of the role and by what
	// is there (a broker's id, "api" or "dns"), and returns the address to use in its place.
	Between func(id, to, address string) (string, error)
	LogOf   func(id string) io.Writer // if set, gets the log lines of each role in place of Log

	Set     map[string]string // keys for all roles, as --set would
	Log     io.Writer         // gets the roles' log lines
	Version string
}

// Counts say how many there are of each role; 0 is one.
type Counts struct {
	Brokers   int // broker1 and so on, as a cluster
	Primaries int // primary1 and so on, all beside the one primary PowerDNS
	Proxies   int // proxy1 and so on
	Healths   int // health1 and so on
}

// Server is what one PowerDNS server of a fleet has of its own.
type Server struct {
	Programs string            // folder with pdns_server and pdnsutil of another release; "" are those in PATH
	Settings map[string]string // pdns.conf lines; they override those of Options
	Socket   bool              // its API listens at a Unix socket, for 5.0 and later; for options without Between
}

// Fleet is a running installation. Its methods are for one goroutine.
type Fleet struct {
	Dir         string
	Primary     *local.Server
	Replicas    []*local.Server // of the primary, see Options.Replicas
	Secondaries []*Secondary
	ProxyURL    string // of the HTTPS proxy, without /api/v1
	ProxyCert   string // file with the proxy's own certificate

	options Options
	members map[string]*member
	order   []string // of starting
}

// Secondary is a secondary PowerDNS and the id of the role beside it.
type Secondary struct {
	*local.Server
	ID string
}

// The ids of the nodes besides the secondaries, which are ns1, ns2 and so on.
const (
	Broker  = "broker1"
	Primary = "primary1"
	Proxy   = "proxy1"
	Health  = "health1"
)

// Start starts everything and returns when every role is ready. On failure what was started is stopped.
func Start(ctx context.Context, o Options) (f *Fleet, err error) {
	f = &Fleet{Dir: o.Dir, options: o, members: map[string]*member{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Stop())
		}
	}()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return f, err
	}
	if err := f.startServers(ctx); err != nil {
		return f, err
	}
	if err := f.install(); err != nil {
		return f, err
	}
	for _, id := range f.order[:max(o.Counts.Brokers, 1)] { // none of a cluster is ready alone
		if err := f.Launch(id); err != nil {
			return f, err
		}
	}
	for i, id := range f.order {
		if i < max(o.Counts.Brokers, 1) {
			err = f.AwaitReady(ctx, id)
		} else {
			err = f.StartRole(ctx, id)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Fleet) startServers(ctx context.Context) (err error) {
	f.Primary, err = local.Start(ctx, f.options.of(Primary, local.Options{
		Dir: filepath.Join(f.Dir, "powerdns-primary"), Backend: f.options.Primary, Primary: true, Settings: f.options.OfPrimary,
	}))
	if err != nil {
		return err
	}
	for i, settings := range f.options.Replicas {
		settings = maps.Clone(settings)
		for key, value := range settings {
			settings[key] = strings.ReplaceAll(value, "PRIMARY", f.Primary.Dir)
		}
		server, err := local.Start(ctx, local.Options{
			Dir: filepath.Join(f.Dir, "powerdns-"+nth("primary", i+1)), Backend: f.options.Primary, Primary: true, Settings: settings,
		})
		if err != nil {
			return err
		}
		f.Replicas = append(f.Replicas, server)
	}
	for i, backend := range f.options.Secondaries {
		if _, err := f.startSecondary(ctx, "ns"+strconv.Itoa(i+1), backend); err != nil {
			return err
		}
	}
	return nil
}

// startSecondary starts the PowerDNS server of a secondary.
func (f *Fleet) startSecondary(ctx context.Context, id string, backend local.Backend) (*Secondary, error) {
	server, err := local.Start(ctx, f.options.of(id, local.Options{
		Dir: filepath.Join(f.Dir, "powerdns-"+id), Backend: backend, Settings: f.options.Settings,
	}))
	if err != nil {
		return nil, err
	}
	s := &Secondary{server, id}
	f.Secondaries = append(f.Secondaries, s)
	return s, nil
}

// of adds what the server beside the role has of its own.
func (o Options) of(id string, server local.Options) local.Options {
	own := o.Servers[id]
	server.Programs, server.Socket = own.Programs, own.Socket
	if len(own.Settings) == 0 { // a test may change those of all, which a restart then takes
		return server
	}
	settings := maps.Clone(server.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	maps.Copy(settings, own.Settings)
	server.Settings = settings
	return server
}

// install writes the roles' files and notes what differs from them here: ports, and the PowerDNS servers.
func (f *Fleet) install() error {
	brokers, healths := max(f.options.Counts.Brokers, 1), max(f.options.Counts.Healths, 1)
	servers := append([]*local.Server{f.Primary}, f.Replicas...)
	primaries, proxies := numberedIDs("primary", max(f.options.Counts.Primaries, len(servers))), numberedIDs("proxy", max(f.options.Counts.Proxies, len(servers)))
	ports, err := freePorts(len(primaries) + 2*len(proxies) + 2*brokers + healths + 2*len(f.Secondaries))
	if err != nil {
		return err
	}
	next := func() string {
		port := ports[0]
		ports = ports[1:]
		return loopback(port)
	}
	plan := installation.Installation{
		Dir: f.Install(), Primaries: primaries, Proxies: proxies,
	}
	for n := range brokers {
		address := next()
		if brokers > 1 { // addresses of their own, since each listens for the others at a port that follows from the first
			address = strings.Replace(address, "127.0.0.1", fmt.Sprintf("127.0.0.%d", n+2), 1)
		}
		plan.Brokers = append(plan.Brokers, address)
	}
	for n := range healths {
		plan.Health = append(plan.Health, "health"+strconv.Itoa(n+1))
	}
	for _, s := range f.Secondaries {
		plan.Secondaries = append(plan.Secondaries, s.ID)
	}
	if err := plan.Write(time.Now()); err != nil {
		return err
	}
	for n := range brokers {
		f.add(plan.Dir, "broker", "broker"+strconv.Itoa(n+1), next(), nil)
	}
	at := func(n int) *local.Server { return servers[n%len(servers)] }
	for n, id := range primaries {
		f.add(plan.Dir, "primary", id, next(), beside(at(n)))
	}
	for n, id := range proxies {
		f.add(plan.Dir, "proxy", id, next(), map[string]string{
			"powerdns.api_url": at(n).APIURL, "powerdns.dns_address": at(n).DNSAddr, "proxy.listen": next(),
		})
	}
	f.ProxyURL, f.ProxyCert = f.ProxyAt(Proxy)
	for _, id := range plan.Health {
		f.add(plan.Dir, "health", id, next(), nil)
	}
	for _, s := range f.Secondaries {
		f.addSecondary(plan.Dir, s, next(), next())
	}
	return f.passBetween(plan.Brokers)
}

// nth is the id of a node, the first one's for 0.
func nth(role string, n int) string { return role + strconv.Itoa(n+1) }

// numberedIDs are role1, role2 and so on, at least one.
func numberedIDs(role string, n int) (ids []string) {
	for i := range max(n, 1) {
		ids = append(ids, nth(role, i))
	}
	return ids
}

// passBetween has each role connect to the addresses that Options.Between gives.
func (f *Fleet) passBetween(brokers []string) error {
	if f.options.Between == nil {
		return nil
	}
	for id, m := range f.members {
		if err := m.passBetween(brokers, func(to, address string) (string, error) { return f.options.Between(id, to, address) }); err != nil {
			return err
		}
	}
	return nil
}

// ProxyAt is where a proxy listens, without /api/v1, and the file with its certificate.
func (f *Fleet) ProxyAt(id string) (address, cert string) {
	listen := f.members[id].set["proxy.listen"]
	return (&url.URL{Scheme: "https", Host: listen}).String(), filepath.Join(f.Install(), id, "state", "proxy.crt")
}

// Roles are the ids of all roles, in the order of starting.
func (f *Fleet) Roles() []string { return slices.Clone(f.order) }

// Ended tells whether a role that is a process of its own, and was not stopped, has ended by itself, and how.
func (f *Fleet) Ended(id string) (bool, error) { return f.members[id].ended() }

func (f *Fleet) addSecondary(dir string, s *Secondary, observe, transfer string) {
	f.add(dir, "secondary", s.ID, observe, with(with(beside(s.Server), "secondary.transfer_listen", transfer), "secondary.public_addresses", s.DNSAddr))
}

// Install is where the files of all nodes are, as `init` wrote them.
func (f *Fleet) Install() string { return filepath.Join(f.Dir, "roles") }

// AddSecondary starts one more PowerDNS, and the role beside it, for which `init add` has made the files, and returns
// when both are ready.
func (f *Fleet) AddSecondary(ctx context.Context, id string, backend local.Backend) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	s, err := f.startSecondary(ctx, id, backend)
	if err != nil {
		return err
	}
	f.addSecondary(f.Install(), s, loopback(ports[0]), loopback(ports[1]))
	return f.StartRole(ctx, id)
}

// RemoveSecondary ends a secondary and its PowerDNS for good.
func (f *Fleet) RemoveSecondary(id string) error {
	at := slices.IndexFunc(f.Secondaries, func(s *Secondary) bool { return s.ID == id })
	err := f.StopRole(id)
	f.Secondaries[at].Stop()
	f.Secondaries = slices.Delete(f.Secondaries, at, at+1)
	f.order = slices.DeleteFunc(f.order, func(other string) bool { return other == id })
	return err
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// beside points a role at a PowerDNS server.
func beside(s *local.Server) map[string]string {
	return map[string]string{
		"powerdns.api_url": s.APIURL, "powerdns.dns_address": s.DNSAddr, "powerdns.api_key_file": s.APIKeyFile(),
	}
}

func with(settings map[string]string, key, value string) map[string]string {
	settings[key] = value
	return settings
}

func (f *Fleet) add(dir, role, id, observe string, settings map[string]string) {
	set := map[string]string{"observe.listen": observe}
	for _, more := range []map[string]string{settings, f.options.Set} {
		for key, value := range more {
			set[key] = value
		}
	}
	log := f.options.Log
	if f.options.LogOf != nil {
		log = f.options.LogOf(id)
	}
	f.members[id] = &member{
		id: id, role: role, program: f.options.Program, config: filepath.Join(dir, id, "config.toml"),
		set: set, observe: observe, log: log, version: f.options.Version,
	}
	f.order = append(f.order, id)
}

// freePorts returns loopback ports that are free for TCP and UDP at this moment.
func freePorts(n int) (ports []int, err error) {
	for range n {
		address, err := local.FreeAddress()
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, err
		}
		ports = append(ports, number)
	}
	return ports, nil
}

// StartRole starts a role that is not running and waits until it is ready, or until its context ends.
func (f *Fleet) StartRole(ctx context.Context, id string) error {
	if err := f.members[id].start(); err != nil {
		return err
	}
	return f.members[id].awaitReady(ctx)
}

// Launch is StartRole without waiting.
func (f *Fleet) Launch(id string) error { return f.members[id].start() }

// AwaitReady waits until a running role is ready.
func (f *Fleet) AwaitReady(ctx context.Context, id string) error {
	return f.members[id].awaitReady(ctx)
}

// StopRole ends a role in order.
func (f *Fleet) StopRole(id string) error { return f.members[id].stop() }

// KillRole ends a role that is a process of its own at once.
func (f *Fleet) KillRole(id string) error { return f.members[id].kill() }

// Signal sends a signal to a role that is a process of its own.
func (f *Fleet) Signal(id string, s os.Signal) error { return f.members[id].signal(s) }

// PID is the process id of a role that is a process of its own and runs, 0 of any other.
func (f *Fleet) PID(id string) int { return f.members[id].pid() }

// BrokerStore is the folder that the broker keeps everything in.
func (f *Fleet) BrokerStore() string { return filepath.Join(f.Dir, "roles", Broker, "store") }

// WipeBroker removes the store of the stopped broker.
func (f *Fleet) WipeBroker() error { return os.RemoveAll(f.BrokerStore()) }

// WipeStore removes the own copy of a stopped secondary.
func (f *Fleet) WipeStore(id string) error {
	return os.RemoveAll(filepath.Join(f.Dir, "roles", id, "state"))
}

// Observe is where a role serves metrics and readiness.
func (f *Fleet) Observe(id string) string { return f.members[id].observe }

// Config is a role's configuration file and what is set besides.
func (f *Fleet) Config(id string) (file string, set map[string]string) {
	return f.members[id].config, f.members[id].set
}

// Client is a client of the API behind the proxy.
func (f *Fleet) Client() (*powerdns.Client, error) { return f.ClientOf(0) }

// ClientOf is a client of the API behind one of several proxies, the first one's for 0.
func (f *Fleet) ClientOf(n int) (*powerdns.Client, error) {
	cfg := append([]*local.Server{f.Primary}, f.Replicas...)[n].Config()
	cfg.APIURL, cfg.CAFile = f.ProxyAt(nth("proxy", n))
	return powerdns.NewClient(cfg)
}

// Stop ends all roles and servers. What is in Dir stays.
func (f *Fleet) Stop() error {
	var errs []error
	for i := len(f.order) - 1; i >= 0; i-- {
		if err := f.members[f.order[i]].stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.order[i], err))
		}
	}
	for _, s := range f.Secondaries {
		s.Stop()
	}
	for _, s := range f.Replicas {
		s.Stop()
	}
	if f.Primary != nil {
		f.Primary.Stop()
	}
	return errors.Join(errs...)
}
