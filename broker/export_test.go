package broker

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// NATS gives tests the connection itself, to do what the package wouldn't.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// JetStream gives tests the API itself.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

func StateSubject(n zone.Name) (string, error) { return zoneSubject(statePrefix, n) }

func StateSubjectZone(s string) (zone.Name, error) { return subjectZone(statePrefix, s) }
