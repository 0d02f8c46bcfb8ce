package broker

// Streams and consumers say what they are to whoever looks with the nats tool: in their description, and in metadata
// with these keys. Nothing goes by it, and what an earlier version made stays as it is.
const (
	metaWrites = "pdns-distribute.writes" // who writes into the stream
	metaReads  = "pdns-distribute.reads"  // who reads it
	metaLost   = "pdns-distribute.lost"   // what becomes of it where it is lost
	metaNode   = "pdns-distribute.node"   // whose the consumer is
	metaRole   = "pdns-distribute.role"
)

// about describes a stream.
func about(writes, reads, lost string) map[string]string {
	return map[string]string{metaWrites: writes, metaReads: reads, metaLost: lost}
}

// aboutNode describes a consumer.
func aboutNode(role Role, node string) map[string]string {
	return map[string]string{metaNode: node, metaRole: string(role)}
}
