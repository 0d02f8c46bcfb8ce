package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// plan is what is to be done on a host, in order.
type plan struct {
	steps []step
	notes []string // for the operator, who has to know or to decide
}

type step struct {
	what string // in the imperative
	do   func() error
}

func (p *plan) add(do func() error, format string, args ...any) {
	p.steps = append(p.steps, step{fmt.Sprintf(format, args...), do})
}

func (p *plan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *plan) carryOut() error {
	for _, s := range p.steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// edited are files that are the operator's once they are in place: they are never overwritten.
var edited = []string{ConfigFile, ServerFile, APIKeyFile}

// placing is a node on its way into its place.
type placing struct {
	host
	Node
	plan
	folder string // its place
	here   bool   // it came as the folder that is its place
	asksOf bool   // PowerDNS has to be restarted
}

// place finds out what puts a node in its place.
func (h host) place(n Node) (*placing, error) {
	if h.unitAt(n.Role) == "" {
		return nil, fmt.Errorf("this host has no unit pdns-distribute-%s@.service: install the package first, "+
			"or the units as docs/install.md says", n.Role)
	}
	if err := fits(n); err != nil {
		return nil, err
	}
	p := &placing{host: h, Node: n, folder: filepath.Join(h.home, n.ID)}
	place, err := os.Stat(p.folder)
	if source, of := os.Stat(n.source); err == nil && of == nil {
		p.here = os.SameFile(source, place)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	beside, err := h.powerDNS()
	if err != nil {
		return nil, err
	}
	if note := beside.adapt(&p.Node); note != "" {
		p.note("%s", note)
	}
	p.makeUser()
	if err := p.makeFolder(); err != nil {
		return nil, err
	}
	if err := p.placeUnit(); err != nil {
		return nil, err
	}
	return p, p.placeSnippet(beside)
}

// fits refuses a node that was written for another place on its host: its files name it.
func fits(n Node) error {
	unit, server := n.file(UnitFile), n.file(ServerFile)
	if unit != nil && bytes.Contains(unit.Content, []byte("\nExecStart=")) ||
		server != nil && !bytes.Contains(server.Content, []byte(filepath.Join(Home, n.ID)+"/")) {
		return fmt.Errorf("%s was written for another folder than %s: install it by hand (docs/install.md), "+
			"or write it anew by pdns-distribute init --home %[2]s", n.ID, Home)
	}
	return nil
}

func (p *placing) makeUser() {
	if _, _, known := p.owner(p.user()); !known {
		p.add(func() error {
			return p.run("useradd", "--system", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", p.user())
		}, "add the user %s", p.user())
	}
}

// give makes a file of the node's folder its user's.
func (p *placing) give(folder *os.Root, name string) error {
	uid, gid, known := p.owner(p.user())
	if !known {
		return fmt.Errorf("there is no user %s", p.user())
	}
	return p.chown(folder, name, uid, gid)
}

// makeFolder has all files in the node's folder, which is its user's alone.
func (p *placing) makeFolder() error {
	if info, err := os.Stat(p.home); err != nil || info.Mode().Perm() != 0o755 {
		p.add(func() error {
			return errors.Join(os.MkdirAll(p.home, 0o755), os.Chmod(p.home, 0o755))
		}, "open %s to the users of roles (mode 755); it holds no secrets itself", p.home)
	}
	info, err := os.Lstat(p.folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.add(func() error { return os.Mkdir(p.folder, 0o700) }, "make %s, for %s alone", p.folder, p.user())
		for _, f := range p.Files {
			p.write(f, f.Name)
		}
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder: move it away first", p.folder)
	default:
		if err := p.renewFiles(); err != nil {
			return err
		}
	}
	return p.ownFolder()
}

// renewFiles compares the folder that is there with what it shall hold.
func (p *placing) renewFiles() error {
	folder, err := os.OpenRoot(p.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	for _, f := range p.Files {
		info, err := folder.Lstat(f.Name)
		if errors.Is(err, fs.ErrNotExist) {
			p.write(f, f.Name)
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no file: remove it first", filepath.Join(p.folder, f.Name))
		}
		content, err := folder.ReadFile(f.Name)
		if err != nil {
			return err
		}
		same, there := bytes.Equal(content, f.Content), filepath.Join(p.folder, f.Name)
		switch {
		case same && info.Mode() == f.Mode:
		case same || p.here || !slices.Contains(edited, f.Name):
			p.write(f, f.Name)
		case f.Name == APIKeyFile:
			p.note("%s is kept, with another key than that of %s", there, p.source)
		default:
			p.note("%s is kept; what %s has instead is beside it, as %s.new", there, p.source, f.Name)
			if has, err := folder.ReadFile(f.Name + ".new"); err != nil || !bytes.Equal(has, f.Content) {
				p.write(f, f.Name+".new")
			}
		}
	}
	return nil
}

func (p *placing) write(f File, name string) {
	f.Name = name
	p.add(func() error {
		folder, err := os.OpenRoot(p.folder)
		if err != nil {
			return err
		}
		defer folder.Close()
		return replace(folder, f, func(staged string) error { return p.give(folder, staged) })
	}, "write %s (mode %03o)", filepath.Join(p.folder, f.Name), f.Mode)
}

// ownFolder gives all that is in the folder to the user, and the folder to nobody else.
func (p *placing) ownFolder() error {
	uid, gid, known := p.owner(p.user())
	info, err := os.Stat(p.folder)
	right := known && err == nil && info.Mode().Perm() == 0o700
	if right {
		err = p.walk(func(_ *os.Root, _ string, entry fs.DirEntry) error {
			info, err := entry.Info()
			if err != nil {
				return err
			}
			isUID, isGID := ownerOf(info)
			right = right && isUID == uid && isGID == gid
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !right {
		p.add(func() error {
			give := func(folder *os.Root, name string, _ fs.DirEntry) error { return p.give(folder, name) }
			return errors.Join(os.Chmod(p.folder, 0o700), p.walk(give))
		}, "give %s and all in it to %s (mode 700)", p.folder, p.user())
	}
	return nil
}

// walk visits all that is in the folder, and the folder itself.
func (p *placing) walk(visit func(folder *os.Root, name string, entry fs.DirEntry) error) error {
	folder, err := os.OpenRoot(p.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	return fs.WalkDir(folder.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return visit(folder, name, entry)
	})
}

// dropIn is the folder for what a node needs besides its unit.
func (h host) dropIn(n Node) string { return "/etc/systemd/system/" + n.unit() + ".service.d" }

func (p *placing) placeUnit() error {
	f := p.file(UnitFile)
	if f == nil {
		return nil
	}
	return p.placeDropIn(File{UnitFile, f.Content, 0o644}, "with what systemd has to know of "+p.ID)
}

// placeDropIn tells systemd what a node needs, or may do, besides its unit.
func (p *placing) placeDropIn(f File, with string) error {
	folder := p.dropIn(p.Node)
	if sameLines(p.at(filepath.Join(folder, f.Name)), f.Content) {
		return nil
	}
	p.add(func() error {
		if err := writeSystem(p.at(folder), f, 0, 0); err != nil {
			return err
		}
		return p.run("systemctl", "daemon-reload")
	}, "write %s/%s, %s", folder, f.Name, with)
	return nil
}

// placeSnippet gives PowerDNS the node's lines.
func (p *placing) placeSnippet(beside powerDNS) error {
	f := p.file(SnippetFile)
	if f == nil {
		return nil
	}
	if beside.include == "" {
		p.note("add the lines of %s to the configuration of the PowerDNS beside %s: there is no folder here that PowerDNS includes",
			filepath.Join(p.folder, SnippetFile), p.ID)
		return nil
	}
	path := filepath.Join(beside.include, snippetName)
	switch _, err := os.Stat(p.at(path)); {
	case sameLines(p.at(path), f.Content):
	case err == nil:
		p.note("%s is kept; compare it with %s", path, filepath.Join(p.folder, SnippetFile))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		p.asksOf = true
		p.add(func() error {
			return writeSystem(p.at(beside.include), File{snippetName, f.Content, beside.mode}, beside.uid, beside.gid)
		}, "write %s (mode %03o), with what PowerDNS has to know", path, beside.mode)
	}
	return nil
}

// writeSystem writes a file of the host itself.
func writeSystem(dir string, f File, uid, gid int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	folder, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	return replace(folder, f, func(staged string) error {
		if os.Geteuid() != 0 {
			return nil // in a test
		}
		return folder.Lchown(staged, uid, gid)
	})
}
