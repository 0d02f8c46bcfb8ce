// Package transfer moves whole zones by DNS, and asks the questions around that.
//
// [Fetch] takes one version of a zone from a server by AXFR (RFC 5936) and returns it complete or not at all. [Server]
// is the other side: it offers the zones of a [Source] to the PowerDNS beside it, answers the SOA questions that
// PowerDNS asks before it transfers, and refuses everything else; it is no name server for the public.
// [NotifyListener] receives NOTIFY (RFC 1996). [Ask] puts one question, to prove what a server really answers.
//
// Records are never decoded on the way: a transfer copies canonical wire form out of messages and into them. Message
// headers, questions and EDNS are read and written by hand in message.go, which all of the above share.
package transfer
