package transfer_test

import (
	"encoding/binary"
	"net"
	"testing"

	"pdns-distribute/powerdns/transfer"
)

// A barrier waits for an answer to each of its questions, and puts again what was lost: on each family of addresses.
func TestBarrier(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			asked := map[uint16]int{}
			ended := make(chan struct{})
			conn, err := net.ListenPacket("udp", listen)
			if err != nil {
				t.Skip(err)
			}
			go func() {
				defer close(ended)
				buf := make([]byte, 512)
				for {
					n, peer, err := conn.ReadFrom(buf)
					if err != nil {
						return
					}
					id := binary.BigEndian.Uint16(buf)
					if asked[id]++; asked[id] == 1 && id%3 == 0 {
						continue // lost
					}
					buf[2] |= 0x80
					conn.WriteTo(buf[:n], peer)
				}
			}()
			line := transfer.NewLine(conn.LocalAddr().String())
			defer line.Close()
			err = line.PassBarrier(t.Context(), transfer.Threads{Receivers: 1, Distributors: 3})
			conn.Close()
			<-ended
			if err != nil || len(asked) != 9 {
				t.Fatalf("error %v after %d questions", err, len(asked))
			}
			for id, times := range asked {
				if lost := id%3 == 0; (times == 2) != lost || times > 2 {
					t.Errorf("question %d was put %d times; lost: %t", id, times, lost)
				}
			}
		})
	}
}
