package node

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// BesideOf names the PowerDNS with this API so that two nodes give it the same name only if they mean the same one:
// it is on the loopback of one host. Any other has a name that is like no other.
func BesideOf(apiURL, instance string) string {
	u, err := url.Parse(apiURL)
	boot, bootErr := os.ReadFile("/proc/sys/kernel/random/boot_id")
	network, networkErr := os.Readlink("/proc/self/ns/net") // a container has a loopback of its own
	if err != nil || bootErr != nil || networkErr != nil || !net.ParseIP(u.Hostname()).IsLoopback() {
		return strings.ToLower(instance)
	}
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %s %s", boot, network, u)))[:32]
}
