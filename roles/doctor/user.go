package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/private"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// runner is the user that runs a role, and how that is known.
type runner struct{ name, known string }

// runnerOf is the user of the unit, or else the owner of the configuration, or else the one that the package makes for
// the role. The zero value is that nobody but root is known.
func runnerOf(role, node, file string) runner {
	unit := health.Unit(role, node)
	if name := unitUser(unit); name != "" {
		return runner{name, "the user of " + unit}
	}
	if owner := private.Owner(file); owner != "" && owner != "root" {
		return runner{owner, "the owner of the configuration"}
	}
	if made := "pdns-distribute-" + role; known(made) {
		return runner{made, "the user that the package makes for the role"}
	}
	return runner{}
}

func known(name string) bool {
	_, err := user.Lookup(name)
	return err == nil
}

// unitUser is the user that systemd runs a unit as, "" where there is no such unit, or no systemd.
func unitUser(unit string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	name, err := exec.CommandContext(ctx, "systemctl", "show", "--property=User", "--value", unit).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// become makes a process of root that of the role's user, so that files are judged as the role finds them.
func become(in command.Invocation) error {
	if os.Geteuid() != 0 || in.Settings.File == "" {
		return nil
	}
	// Root is refused what is the role's alone: its owner is asked for then.
	role, err := whichRole(in)
	if err != nil {
		return private.ActAsOwner(in.Settings.File)
	}
	cfg, err := config.ForRole(in.Settings, role)
	if err != nil {
		return private.ActAsOwner(in.Settings.File)
	}
	if r := runnerOf(role, cfg.Node.ID, in.Settings.File); r.name != "" {
		return private.ActAs(r.name)
	}
	return nil
}

// user says as whom all is looked at, since that decides what can be read.
func (f *findings) user(role, node, file string) {
	const name = "config.user"
	me, runs := private.User(os.Geteuid()), runnerOf(role, node, file)
	switch {
	case runs.name == "" || file == "":
		f.ok(name, me, "looked at as this user: that of the role is not known")
	case runs.name == me:
		f.ok(name, me, "looked at as %s", runs.known)
	default:
		f.warn(name, me, fmt.Sprintf("the role runs as %s, %s: what that user may read or write is not known", runs.name, runs.known),
			"run this as root, or as that user")
		f.run(here("sudo -u " + health.Quoted(runs.name) + " pdns-distribute doctor " + health.Quoted(node)))
	}
}

// unreadableFile is a configuration that the role's user may not read.
func unreadableFile(file string, err error) (f findings) {
	me := private.User(os.Geteuid())
	f.fail("config.settings", file, fmt.Sprintf("%s cannot read it: %v", me, err),
		"have it, and its folder, owned by the user that runs the role")
	f.run(here("chown -R " + strconv.Itoa(os.Geteuid()) + " " + health.Quoted(filepath.Dir(file))))
	return f
}
