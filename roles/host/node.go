package host

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// Home is the folder below which the package's units look for the folder of each node.
const Home = "/var/lib/pdns-distribute"

// The files of a node's folder that concern its host.
const (
	ConfigFile  = "config.toml"
	ServerFile  = "nats.conf"
	APIKeyFile  = "powerdns-api-key"
	SnippetFile = "pdns.conf" // for the PowerDNS beside the node
	UnitFile    = "unit.conf" // for systemd: what the node needs besides its unit
)

// Archive is the name of a node's archive.
func Archive(id string) string { return id + ".tar.gz" }

// File is one of a node's folder.
type File struct {
	Name    string
	Content []byte
	Mode    fs.FileMode
}

// What an archive may have, so that a wrong file is no trouble for the host.
const (
	maxFiles = 1000
	maxBytes = 16 << 20
)

// Pack makes a node's archive. The same files make the same archive.
func Pack(id string, files []File) ([]byte, error) {
	sorted := slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	archive := tar.NewWriter(compressed)
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: id + "/", Mode: 0o700})
	for _, f := range sorted {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: id + "/" + f.Name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Content))}
		err = errors.Join(err, archive.WriteHeader(header))
		_, written := archive.Write(f.Content)
		err = errors.Join(err, written)
	}
	err = errors.Join(err, archive.Close(), compressed.Close())
	return packed.Bytes(), err
}

// unpack reads an archive: one folder with files, and nothing else.
func unpack(in io.Reader) (files []File, err error) {
	compressed, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	archive, folder := tar.NewReader(io.LimitReader(compressed, maxBytes)), ""
	for {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return files, nil
		case err != nil:
			return nil, err
		case header.Typeflag == tar.TypeDir:
			continue
		}
		in, name := path.Split(path.Clean(header.Name))
		if folder == "" {
			folder = in
		}
		if header.Typeflag != tar.TypeReg || in != folder || strings.Count(in, "/") != 1 || in == "/" || in == "../" || len(files) == maxFiles {
			return nil, fmt.Errorf("%q does not belong into a node's archive", header.Name)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files = append(files, File{name, content, rightful(name, header.FileInfo().Mode())})
	}
}

// ReadFolder reads the files of a node's folder, but not those of folders in it: they are the role's state.
func ReadFolder(dir string) (files []File, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		if info.Size() > maxBytes || len(files) == maxFiles {
			return nil, fmt.Errorf("%s does not belong into a node's folder", filepath.Join(dir, entry.Name()))
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, File{entry.Name(), content, rightful(entry.Name(), info.Mode())})
	}
	return files, nil
}

// rightful is the mode that a file gets, whatever became of it on its way: it is a secret unless its name and its mode
// say otherwise.
func rightful(name string, mode fs.FileMode) fs.FileMode {
	public := slices.Contains([]string{ConfigFile, ServerFile, UnitFile, broker.AccountsFile}, name) || path.Ext(name) == ".crt"
	if public && mode&0o004 != 0 {
		return 0o644
	}
	return 0o600
}

// Node is what init made for one node.
type Node struct {
	ID, Role string
	Files    []File
	source   string // its folder or archive
}

// errNoNode is of what init did not write.
var errNoNode = errors.New("holds no node: name the folder or the archive that init wrote for one, such as ns1.tar.gz")

// readNode reads a folder, an archive, or an archive from stdin if the source is "-".
func readNode(source string, stdin io.Reader) (Node, error) {
	files, err := read(source, stdin)
	if err != nil {
		return Node{}, fmt.Errorf("read %s: %w", source, err)
	}
	n, err := identify(files)
	if err != nil {
		return n, fmt.Errorf("%s %w", source, err)
	}
	n.source = source
	return n, nil
}

func read(source string, stdin io.Reader) ([]File, error) {
	if source == "-" {
		return unpack(stdin)
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return ReadFolder(source)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unpack(f)
}

// identify finds out by the configuration whose files these are.
func identify(files []File) (Node, error) {
	n := Node{Files: files}
	text := n.file(ConfigFile)
	if text == nil {
		return n, errNoNode
	}
	var sections map[string]any
	if err := toml.Unmarshal(text.Content, &sections); err != nil {
		return n, fmt.Errorf("has a %s that cannot be read: %w", ConfigFile, err)
	}
	for section, role := range map[string]string{
		"server": health.RoleBroker, "primary": health.RolePrimary, "proxy": health.RoleProxy, "health": health.RoleHealth,
		"secondary": health.RoleSecondary,
	} {
		if _, has := sections[section]; has {
			n.Role = role
		}
	}
	node, _ := sections["node"].(map[string]any)
	n.ID, _ = node["id"].(string)
	if n.Role == "" || broker.CheckNodeID(n.ID) != nil {
		return n, errNoNode
	}
	return n, nil
}

// file returns a file of the node, nil if it has none of this name.
func (n Node) file(name string) *File {
	i := slices.IndexFunc(n.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &n.Files[i]
}

func (n Node) user() string { return "pdns-distribute-" + n.Role }

func (n Node) unit() string { return health.Unit(n.Role, n.ID) }
