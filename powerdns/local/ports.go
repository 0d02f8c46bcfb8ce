package local

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const host = "127.0.0.1"

// Ports are taken from below the range that Linux gives to outgoing connections (32768 and up), so that no such
// connection sits on a server's port when the server is started again.
const (
	lowestPort  = 12000
	highestPort = 32000
)

// given are the ports that this process was given, as long as there are others: whoever asked for one listens there
// only later.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreeAddress returns a loopback address whose port is free for UDP and TCP at this moment, another one each time.
func FreeAddress() (string, error) {
	given.Lock()
	defer given.Unlock()
	if len(given.ports) > (highestPort-lowestPort)/2 {
		clear(given.ports)
	}
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		if !given.ports[port] && isFree(addr) {
			given.ports[port] = true
			return addr, nil
		}
	}
	return "", errors.New("no free port on " + host)
}

func isFree(addr string) bool {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	defer udp.Close()
	return true
}
