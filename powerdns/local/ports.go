package local

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

const host = "127.0.0.1"

// Ports are taken from below the range that Linux gives to outgoing connections (32768 and up), so that no such
// connection sits on a server's port when the server is started again.
const (
	lowestPort  = 12000
	highestPort = 32000
)

// FreeAddress returns a loopback address whose port is free for UDP and TCP at this moment.
func FreeAddress() (string, error) {
	for range 1000 {
		addr := net.JoinHostPort(host, strconv.Itoa(lowestPort+rand.IntN(highestPort-lowestPort)))
		if isFree(addr) {
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
