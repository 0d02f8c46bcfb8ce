package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"

	"pdns-distribute/broker"
)

// RegisterFile is the file in an installation's folder that names its nodes.
const RegisterFile = "installation.toml"

// maxRegister is far above the size of a register (bytes), of which a node takes 200.
const maxRegister = 4 << 20

// NodeIDs returns the nodes of these roles, or of all roles, as far as files at hand tell: the register of an
// installation whose folder is the current one, or that of the configuration file or one above it. It is for
// completion, and asks nobody.
func NodeIDs(file string, roles ...string) []string {
	dirs := []string{"."}
	if file != "" {
		dirs = append(dirs, filepath.Dir(file), filepath.Join(filepath.Dir(file), ".."))
	}
	for _, dir := range dirs {
		if ids := InstalledIDs(dir, roles...); len(ids) > 0 {
			return ids
		}
	}
	return configuredID(file, roles)
}

// InstalledIDs returns the nodes of these roles, or of all roles, that the register in an installation's folder
// names. It returns none where the register cannot be read.
func InstalledIDs(dir string, roles ...string) (ids []string) {
	var register struct {
		Node []struct{ ID, Role string }
	}
	if err := decodeFile(filepath.Join(dir, RegisterFile), &register); err != nil {
		return nil
	}
	for _, n := range register.Node {
		if broker.CheckNodeID(n.ID) == nil && (len(roles) == 0 || slices.Contains(roles, n.Role)) {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// configuredID returns the node of a configuration file, if it is of one of these roles.
func configuredID(file string, roles []string) []string {
	var document struct{ Node struct{ ID string } }
	if err := decodeFile(file, &document); err != nil || broker.CheckNodeID(document.Node.ID) != nil {
		return nil
	}
	found, err := RolesIn(file)
	is := func(role string) bool { return slices.Contains(roles, role) }
	if err != nil || len(roles) > 0 && !slices.ContainsFunc(found, is) {
		return nil
	}
	return []string{document.Node.ID}
}

func decodeFile(file string, into any) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRegister {
		return errors.New(file + " is no file of this program")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return toml.Unmarshal(text, into)
}
