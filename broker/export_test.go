package broker

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/powerdns/zone"
)

// NATS gives tests the connection itself, to do what the package wouldn't.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// JetStream gives tests the API itself.
func (c *Conn) JetStream() jetstream.JetStream { return c.js }

// NATS gives tests the embedded server itself.
func (s *Server) NATS() *server.Server { return s.nats }

// ProveEvery has the server prove itself more often than is good for it.
func (s *Server) ProveEvery(d time.Duration) { s.every = d }

// LeaseTTL is how long a lease lasts that nobody renews.
const LeaseTTL = leaseTTL

// OwnKey signs in as the server itself.
func (s *Server) OwnKey() nats.Option { return nats.Nkey(s.inside.public, s.inside.key.Sign) }

// Self is who the connection is.
func (c *Conn) Self() Sender { return c.self }

func StateSubject(n zone.Name) (string, error) { return zoneSubject(statePrefix, n) }

func StateSubjectZone(s string) (zone.Name, error) { return subjectZone(statePrefix, s) }
