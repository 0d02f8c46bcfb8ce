// Package broker is everything the program knows of NATS: the connection, the subjects and streams, the queues and
// feeds on them, and the embedded server. It carries bytes and headers and knows no DNS beyond the name of a zone.
//
// How it works, written for nats-server v2.15.2 and nats.go v1.55.0:
//
//   - Connect gives a [Conn], which connects over TLS with credentials only, and reconnects for ever.
//   - [Conn.EnsureStreams] lays out the streams; the primary calls it at each connection, since a broker may be wiped.
//   - Touches ("this zone may have changed") are a work queue with one touch per zone and sender: [Conn.PublishTouch],
//     [Conn.Touches].
//   - States are the last value per zone, written by compare-and-set: [Conn.PublishState], [Conn.LastState],
//     [Conn.WatchStates].
//   - Blobs are immutable and named by their SHA-256; large states refer to them: [Conn.PutBlobs], [Conn.GetBlob].
//   - A secondary follows the states through a durable consumer of its own, which a primary provisions for it:
//     [Conn.ProvisionFeed], [Conn.Feed]; [Conn.Feeds] shows how far behind each is.
//   - Presences are kept in memory for two minutes; notices are not kept.
//   - Four accounts part the roles: CORE (primaries) owns the streams; HEALTH (health roles), API (proxies) and SEC
//     (secondaries) reach only the subjects exported to them. Inside one account NATS permissions are no boundary.
//
// [Server] is the embedded nats-server, which proves itself and repairs its store. [Diagnose] finds out what a node can
// do at a broker.
package broker
