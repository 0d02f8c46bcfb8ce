package node

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pdns-distribute/powerdns"
)

// BesideOf names the PowerDNS with this API so that two nodes give it the same name only if they mean the same one:
// it is on the loopback of one host, or its socket lies in one folder. Any other has a name that is like no other.
func BesideOf(apiURL, instance string) string {
	place, err := placeOf(apiURL)
	boot, bootErr := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || bootErr != nil {
		return strings.ToLower(instance)
	}
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %s", boot, place)))[:32]
}

var errElsewhere = errors.New("not on this host")

// placeOf tells one PowerDNS on this host from another: a container has a loopback, and folders, of its own.
func placeOf(apiURL string) (string, error) {
	endpoint, err := powerdns.ParseEndpoint(apiURL)
	if err != nil {
		return "", err
	}
	if socket := endpoint.Socket(); socket != "" {
		var folder syscall.Stat_t
		err := syscall.Stat(filepath.Dir(socket), &folder)
		return fmt.Sprint(folder.Dev, " ", folder.Ino, " ", filepath.Base(socket)), err
	}
	if !net.ParseIP(endpoint.Hostname()).IsLoopback() {
		return "", errElsewhere
	}
	network, err := os.Readlink("/proc/self/ns/net")
	return network + " " + endpoint.String(), err
}
