// Package zone knows what a zone is and nothing of where it comes from or goes to: it does no I/O.
//
// A [Zone] is one complete version of a zone: every record in RFC 4034 §6.2 canonical form, sorted as §6.3 says and
// without duplicates, in one block of memory that is exactly what the RFC 8976 digest is computed over. A [Builder]
// makes one out of DNS messages. Two digests name a version: [Zone.Digest] covers every record, [Zone.Stable] only
// what does not change when a signer signs the same content again.
//
// A [State] is what is published about a zone: its newest version or the notice that it is gone. Small zones are
// carried in it; of large ones it lists content-defined chunks, so that a change of one record changes one chunk.
// Decoding is strict and bounded: what it returns has been verified against the digest, and memory grows only with
// what was really sent.
package zone
