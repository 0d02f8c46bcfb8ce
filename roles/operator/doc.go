// Package operator is the commands that a person runs against a running installation. All but leave and healthcheck
// connect to the broker with the credentials of a role, see connect.go.
//
//   - status.go: [Status] prints how the installation is; zonestatus.go and zonesources.go: how single zones are
//   - sync.go: [Sync] has zones published and applied again, or nodes compared; confirm.go: held deletions are
//     confirmed
//   - forget.go: [Forget] deregisters nodes permanently
//   - leave.go: [Leave] makes the zones of a secondary plain ones of another master; turn.go: one zone after the other
//   - healthcheck.go: [Healthcheck] asks the role on this host whether it is alive
package operator
