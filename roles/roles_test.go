package roles

import (
	"testing"

	"pdns-distribute/broker"
	"pdns-distribute/health"
)

// Packages broker and health do not know each other, and mean the same roles.
func TestRolesAreNamedAlike(t *testing.T) {
	for at, as := range map[broker.Role]string{
		broker.RolePrimary: health.RolePrimary, broker.RoleSecondary: health.RoleSecondary, broker.RoleProxy: health.RoleProxy,
		broker.RoleHealth: health.RoleHealth, broker.RoleBroker: health.RoleBroker,
	} {
		if string(at) != as {
			t.Errorf("the broker's %q is %q in presences", at, as)
		}
	}
}
