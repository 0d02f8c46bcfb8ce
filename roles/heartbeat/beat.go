// Package heartbeat tells how new what a PowerDNS gives is, where its database is one of several that replicate each
// other.
//
// A node writes a record, its beat, to where writes go, and sees when the PowerDNS beside it gives that beat. Databases
// apply in the order of commits: once the beat is there, everything is that was committed before it was written. That
// needs no clocks, because both ends are this process.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// Zone holds the beats of all nodes. It is never distributed.
const Zone = "heartbeat.pdns-distribute.invalid."

// Name is Zone.
var Name = zone.MustParseName(Zone)

// Beat is one record of the zone: TXT "COUNT TIME INSTANCE" at NODE.Zone.
type Beat struct {
	Node     string
	Count    uint64    // how many this instance has written
	At       time.Time // when it was begun, by the node's clock, see [Heart.Stamp]
	Instance string    // of the process
}

// errBeat says that a record is no beat.
var errBeat = errors.New("no heartbeat")

func (b Beat) text() string { return fmt.Sprintf("%d %d %s", b.Count, b.At.UnixNano(), b.Instance) }

// maxField is how long a node's id and its instance may be.
const maxField = 63

func parseBeat(node, text string) (b Beat, err error) {
	fields := strings.Split(text, " ")
	if len(fields) != 3 || len(node) > maxField || len(fields[2]) > maxField {
		return b, errBeat
	}
	b = Beat{Node: node, Instance: fields[2]}
	if b.Count, err = strconv.ParseUint(fields[0], 10, 64); err != nil {
		return b, errBeat
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return b, errBeat
	}
	b.At = time.Unix(0, at).UTC()
	if b.text() != text {
		return b, errBeat
	}
	return b, nil
}

// maxBeats is how many nodes are read, and how many bytes the zone may have.
const (
	maxBeats = 64
	maxBytes = 1 << 20
)

// Read returns the beats that the PowerDNS at this address (host:port) gives by AXFR: its caches have no part in that.
func Read(ctx context.Context, address string) (beats []Beat, err error) {
	z, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: address, Limit: maxBytes}, Name)
	if err != nil {
		return nil, err
	}
	for r := range z.Records() {
		node, below := strings.CutSuffix(r.Owner().String(), "."+Zone)
		if !below || r.Type() != typeTXT {
			continue
		}
		if b, err := parseBeat(node, firstString(r.Data())); err == nil && len(beats) < maxBeats {
			beats = append(beats, b)
		}
	}
	return beats, nil
}

const typeTXT = 16

// firstString is the only one of a TXT record's strings, "" if it has others.
func firstString(data []byte) string {
	if len(data) == 0 || len(data) != 1+int(data[0]) {
		return ""
	}
	return string(data[1:])
}
