package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pdns-distribute/roles/command"
)

// Nodes returns a function that finds the nodes whose folders are below home, in the order of their names. A folder
// without a configuration is no node's.
func Nodes(home string) func() ([]command.Node, error) {
	return func() (nodes []command.Node, err error) {
		entries, err := os.ReadDir(home)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		for _, entry := range entries {
			file := filepath.Join(home, entry.Name(), ConfigFile)
			info, err := os.Lstat(file)
			if errors.Is(err, fs.ErrPermission) {
				return nil, fmt.Errorf("only its role's user and root can read %s: run this as root, or name a configuration by --config", file)
			}
			if err != nil || !info.Mode().IsRegular() || info.Size() > maxBytes { // of the role's user, whoever that is by now
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if n, err := identify([]File{{Name: ConfigFile, Content: text}}); err == nil {
				nodes = append(nodes, command.Node{ID: n.ID, Role: n.Role, File: file})
			}
		}
		return nodes, err
	}
}
