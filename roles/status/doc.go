// Package status is what is shown of an installation: the document that the health role answers and the command
// status prints, and what the health role that leads answers to commands.
//
//   - document.go: [Document], the board with alarms and comparisons; read.go: [Read] asks the brokers for it
//   - print.go: how it is printed for a person; alarms.go: its alarms, by cause; screen.go: all of it within a terminal
//   - leader.go: [AskLeader], [LeaderRequest] and [LeaderAnswer]: what commands ask of the health role that leads
//   - report.go: [NodeReport] and [SourceReport], what comparisons came to; compared.go: how they are printed
package status
