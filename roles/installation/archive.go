package installation

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"pdns-distribute/roles/host"
)

// archives are the folders of all nodes, each in one file for "install" on the node's host: what a folder below dir
// holds, and what files put in its place. Where the folders are already in their places there are none.
func (r register) archives(dir string, files []initFile) (packed []initFile, err error) {
	if r.Home == dir {
		return nil, nil
	}
	for _, m := range r.Nodes {
		held, err := host.ReadFolder(filepath.Join(dir, m.ID))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, f := range files {
			name, is := strings.CutPrefix(f.name, m.ID+"/")
			if !is {
				continue
			}
			held = slices.DeleteFunc(held, func(other host.File) bool { return other.Name == name })
			held = append(held, host.File{Name: name, Content: f.content, Mode: f.mode})
		}
		content, err := host.Pack(m.ID, held)
		if err != nil {
			return nil, err
		}
		packed = append(packed, initFile{host.Archive(m.ID), content, secret})
	}
	return packed, nil
}
