package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"pdns-distribute/health"
	"pdns-distribute/private"
	"pdns-distribute/roles/host"
	"pdns-distribute/roles/observe"
)

// host looks at the disk and the ports.
func (e *examination) host(ctx context.Context, before findings) (f findings) {
	switch e.role {
	case health.RoleSecondary:
		f.folder("secondary.state_dir", e.cfg.Secondary.StateDir)
	case health.RoleProxy:
		f.folder("proxy.state_dir", e.cfg.Proxy.StateDir)
	case health.RoleHealth:
		if e.cfg.Health.StateDir != "" {
			f.folder("health.state_dir", e.cfg.Health.StateDir)
		}
	case health.RoleBroker:
		if !before.failedIn("server") {
			f.folder("store_dir", e.server.StoreDir)
		}
	}
	f.limits(e)
	return append(f, e.ports(ctx)...)
}

// limits looks whether systemd keeps the role from an address that it needs. The doctor itself is not kept from it.
func (f *findings) limits(e *examination) {
	const name = "host.addresses"
	unit := health.Unit(e.role, e.cfg.Node.ID)
	missing, limited, err := host.Missing(e.role, e.cfg.Node.ID, e.file)
	switch {
	case err != nil:
		f.fail(name, unit, "its addresses are limited, and those that it needs cannot be found: "+err.Error(),
			"correct the configuration, or this host's resolver")
	case len(missing) > 0:
		f.fail(name, unit, "systemd keeps it from "+strings.Join(missing, ", "), "have its addresses found anew, and restart it")
		f.run(here("pdns-distribute install "+health.Quoted(filepath.Dir(e.file))), here("systemctl restart "+unit))
	case limited:
		f.ok(name, unit, "it may talk to all addresses that it needs, and to no others")
	}
}

// folder is one that the role writes to, and may yet be made.
func (f *findings) folder(key, path string) {
	const name = "disk.folder"
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		above := existing(path)
		if !writable(above) {
			f.fail(name, path, fmt.Sprintf("it is not there, and %s cannot be written to", above),
				"make it, of the user that runs the role")
			f.run(here(fmt.Sprintf("install -d -m 700 -o %d %s", os.Geteuid(), health.Quoted(path))))
			return
		}
		if f.open(name, private.CheckFolder(above)) {
			return
		}
		f.ok(name, path, "the role makes it when it starts")
	case err != nil:
		f.fail(name, path, err.Error(), "correct "+key+", or let the user that runs the role get there")
		return
	case !info.IsDir():
		f.fail(name, path, "it is no folder", "remove it, or name another one by "+key)
		return
	case !writable(path):
		f.fail(name, path, "it cannot be written to",
			"have it owned by the user that runs the role, who should also run the doctor; or see why its disk is read-only")
		return
	case f.open(name, private.CheckState(path)):
	default:
		f.ok(name, path, "it can be written to, by its owner alone")
	}
	f.space(path)
}

// existing is the nearest folder above a path that there is.
func existing(path string) string {
	for {
		above := filepath.Dir(path)
		if info, err := os.Stat(above); err == nil && info.IsDir() || above == path {
			return above
		}
		path = above
	}
}

// writable asks the kernel, which knows of read-only disks, too.
func writable(folder string) bool {
	const writeAndSearch = 2 | 1 // W_OK, X_OK
	return syscall.Access(folder, writeAndSearch) == nil
}

// How much of a disk should be free, in MB and percent.
const (
	lowMB, lowPercent     = 1024, 10
	emptyMB, emptyPercent = 100, 2
)

func (f *findings) space(path string) {
	var disk syscall.Statfs_t
	folder := path
	if err := syscall.Statfs(path, &disk); err != nil {
		folder = existing(path)
		if err := syscall.Statfs(folder, &disk); err != nil {
			f.warn("disk.space", folder, err.Error(), "see to it that there is some free space")
			return
		}
	}
	f.free(folder, uint64(disk.Bavail)*uint64(disk.Bsize)>>20, uint64(disk.Blocks)*uint64(disk.Bsize)>>20)
}

func (f *findings) free(folder string, freeMB, allMB uint64) {
	percent := 100 * freeMB / max(allMB, 1)
	found := fmt.Sprintf("%d MB of its disk are free, %d %%", freeMB, percent)
	const remedy = "make room on that disk, or use another one"
	switch {
	case freeMB < emptyMB || percent < emptyPercent:
		f.fail("disk.space", folder, found, remedy)
	case freeMB < lowMB || percent < lowPercent:
		f.warn("disk.space", folder, found, remedy)
	default:
		f.ok("disk.space", folder, "%s", found)
	}
}

// port is an address that the role listens on.
type port struct{ key, network, address string }

func (e *examination) ports(ctx context.Context) (f findings) {
	role := f.observer(ctx, e.role, e.cfg.Observe)
	var ports []port
	switch e.role {
	case health.RolePrimary:
		ports = []port{{"primary.notify_listen", "udp", e.cfg.Primary.NotifyListen}}
	case health.RoleSecondary:
		ports = []port{{"secondary.transfer_listen", "tcp", e.cfg.Secondary.TransferListen}, {"secondary.transfer_listen", "udp", e.cfg.Secondary.TransferListen}}
	case health.RoleProxy:
		ports = []port{{"proxy.listen", "tcp", e.cfg.Proxy.Listen}}
	case health.RoleBroker:
		ports = []port{{"listen of " + e.cfg.Server.Config, "tcp", e.server.Listen}, {"cluster.listen of " + e.cfg.Server.Config, "tcp", e.server.Routes}}
	}
	for _, p := range ports {
		if p.address != "" {
			f.port(p, role)
		}
	}
	return f
}

// Whether the role is running, as far as is known.
type state int

const (
	stopped state = iota
	running
	hidden  // its listener is switched off
	unknown // somebody else, or nobody, can use its listener
)

// observer finds out whether the role is running, which its own listener tells.
func (f *findings) observer(ctx context.Context, role string, cfg observe.Config) state {
	const name = "port.observe"
	address := cfg.Listen
	if address == "" {
		f.ok(name, "observe.listen", "switched off: whether the role is running is not known")
		return hidden
	}
	p := port{"observe.listen", "tcp", address}
	err := bind(p.network, address)
	if err == nil {
		f.ok(name, address, "free: the role is not running")
		return stopped
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		f.unbound(name, p, err)
		return unknown
	}
	switch who := whoObserves(ctx, cfg); who {
	case role:
		f.readiness(ctx, name, cfg)
		return running
	case "":
		if cfg.ClientCAFile != "" && cfg.PasswordFile == "" {
			f.ok(name, address, "somebody listens there; whether it is this role only a client certificate can ask")
			return unknown
		}
		f.taken(name, p)
	default:
		f.fail(name, address, "the role "+who+" is running there", "give each role on this host an observe.listen of its own")
	}
	return unknown
}

func (f *findings) port(p port, role state) {
	const name = "port.listen"
	object := p.network + " " + p.address
	err := bind(p.network, p.address)
	inUse := errors.Is(err, syscall.EADDRINUSE)
	switch {
	case err == nil:
		f.ok(name, object, "free")
	case !inUse:
		f.unbound(name, p, err)
	case role == running:
		f.ok(name, object, "in use, by the running role")
	case role == hidden:
		f.warn(name, object, "in use; whether by the role is not known",
			"set observe.listen, or see for yourself")
		f.run(here(whoListens(p)))
	case role == stopped:
		f.taken(name, p)
	}
}

func (f *findings) unbound(name string, p port, err error) {
	f.fail(name, p.network+" "+p.address, err.Error(),
		"use for "+p.key+" an address of this host, and a port that the user of the role may bind")
}

func (f *findings) taken(name string, p port) {
	f.fail(name, p.network+" "+p.address, "another program listens there",
		"stop that program, or set "+p.key+" to another port")
	f.run(here(whoListens(p)))
}

func whoListens(p port) string {
	_, number, _ := net.SplitHostPort(p.address)
	return fmt.Sprintf("ss -lnp%c 'sport = :%s'", p.network[0], number)
}

// bind reports whether the address can be listened on, and lets it go.
func bind(network, address string) error {
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return listener.Close()
}

var buildInfo = regexp.MustCompile(`pdns_distribute_build_info\{[^}]*role="([a-z]+)"`)

// whoObserves is the role that answers at the address, "" if it is none.
func whoObserves(ctx context.Context, cfg observe.Config) string {
	metrics, err := get(ctx, cfg, "/metrics")
	if found := buildInfo.FindSubmatch(metrics); err == nil && found != nil {
		return string(found[1])
	}
	return ""
}

func (f *findings) readiness(ctx context.Context, name string, cfg observe.Config) {
	address := cfg.Listen
	var answer struct {
		Ready   bool
		Reasons []struct {
			observe.Reason
			Run []health.Command `json:"run"`
		}
	}
	text, err := get(ctx, cfg, "/readyz")
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	switch {
	case err != nil:
		f.warn(name, address, "the role is running, but does not say whether it is ready: "+err.Error(), "see the role's log")
	case answer.Ready:
		f.ok(name, address, "the role is running, and ready")
	default:
		var reasons []string
		for _, r := range answer.Reasons {
			reasons = append(reasons, r.What+": "+r.Why)
		}
		f.warn(name, address, "the role is running, but not ready: "+strings.Join(reasons, "; "),
			"see to that; the role needs no restart then, and gets ready by itself")
		for _, r := range answer.Reasons {
			f.run(slices.DeleteFunc(r.Run, isDoctor)...)
		}
	}
}

// isDoctor reports whether a line only runs this command again.
func isDoctor(c health.Command) bool { return strings.HasPrefix(c.Line, "pdns-distribute doctor") }

// get asks a listener of this host.
func get(ctx context.Context, cfg observe.Config, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, _, err := cfg.Ask(ctx, path)
	return answer, err
}
