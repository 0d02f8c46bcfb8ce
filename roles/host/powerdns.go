package host

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// snippetName is what the node's lines are called where PowerDNS includes them.
const snippetName = "pdns-distribute.conf"

var (
	includeLine = regexp.MustCompile(`(?m)^[ \t]*include-dir[ \t]*=[ \t]*(\S+)`)
	resolverOf  = regexp.MustCompile(`(?m)^[ \t]*resolver[ \t]*=[ \t]*(\S+)`)
	keyLine     = regexp.MustCompile(`(?m)^[ \t]*api-key[ \t]*=[ \t]*(\S+).*\n?`)
)

// powerDNS is the configuration of the PowerDNS on a host, as far as it concerns a node beside it.
type powerDNS struct {
	main    string // pdns.conf
	include string // the folder that it includes; "" if there is none
	mode    fs.FileMode
	uid     int // the owner and the group of pdns.conf
	gid     int
	key     string // api-key, if it has one already
	keyIn   string // the file that says so

	resolver string // whom it asks for the targets of ALIAS records, host or host:port; "" if nobody
}

// powerDNS looks where Debian and the packages of PowerDNS have it.
func (h host) powerDNS() (p powerDNS, err error) {
	for _, p.main = range []string{"/etc/powerdns/pdns.conf", "/etc/pdns/pdns.conf"} {
		text, err := os.ReadFile(h.at(p.main))
		if err != nil {
			continue
		}
		info, err := os.Stat(h.at(p.main))
		if err != nil {
			return p, err
		}
		p.mode = info.Mode().Perm() &^ 0o027
		if info.Mode().Perm()&0o040 != 0 {
			p.mode |= 0o040 // for the group that PowerDNS runs as
		}
		p.uid, p.gid = ownerOf(info)
		p.read(p.main, text)
		if found := includeLine.FindSubmatch(text); found != nil {
			p.include = string(found[1])
			return p, h.readIncluded(&p)
		}
		return p, nil
	}
	return powerDNS{}, nil
}

// readIncluded reads the files that are included. The last value of a setting counts, as it does for PowerDNS.
func (h host) readIncluded(p *powerDNS) error {
	files, err := filepath.Glob(filepath.Join(h.at(p.include), "*.conf"))
	for _, file := range files {
		if filepath.Base(file) == snippetName {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p.read(filepath.Join(p.include, filepath.Base(file)), text)
	}
	return err
}

func (p *powerDNS) read(file string, text []byte) {
	if all := resolverOf.FindAllSubmatch(text, -1); all != nil {
		p.resolver = string(all[len(all)-1][1])
	}
	if all := keyLine.FindAllSubmatch(text, -1); all != nil {
		p.key, p.keyIn = string(all[len(all)-1][1]), file
	}
}

// adapt gives a node the API key that PowerDNS has already, and takes the node's own out of the lines for PowerDNS: two
// keys would shut out whoever uses the first.
func (p powerDNS) adapt(n *Node) (note string) {
	own, snippet := n.file(APIKeyFile), n.file(SnippetFile)
	if own == nil || snippet == nil || p.key == "" || p.key == strings.TrimSpace(string(own.Content)) {
		return ""
	}
	snippet.Content = keyLine.ReplaceAll(snippet.Content, nil)
	if strings.HasPrefix(p.key, "$") {
		return fmt.Sprintf("%s has an API key, as a hash: write the key itself into %s of %s", p.keyIn, APIKeyFile, n.ID)
	}
	own.Content = []byte(p.key + "\n")
	return fmt.Sprintf("PowerDNS keeps the API key that it has in %s, and %s uses that one", p.keyIn, n.ID)
}

// sameLines reports whether a file has what the node's lines say.
func sameLines(file string, snippet []byte) bool {
	has, err := os.ReadFile(file)
	return err == nil && bytes.Equal(has, snippet)
}
