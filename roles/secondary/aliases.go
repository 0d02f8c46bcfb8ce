package secondary

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/store"
	"pdns-distribute/powerdns/zone"
)

// PowerDNS follows an alias into its other zones, and keeps what it found there under the alias's name. A purge of
// the names of the zone that changed does not reach that: where an alias leads into it, all is purged.

// aliases knows into which zones those of others lead. It may know more than there are, never less.
type aliases struct {
	mu sync.Mutex

	// Under mu.
	targets map[zone.Name]map[zone.Name]bool // by zone, see targetsOf
	into    map[zone.Name]int                // how many zones lead to this name or below it
	learnt  bool                             // all zones of the store were looked at

	computed map[zone.Name]zone.Computed // unsigned zones with ALIAS or LUA records
}

func newAliases() *aliases {
	return &aliases{
		targets: map[zone.Name]map[zone.Name]bool{}, into: map[zone.Name]int{}, computed: map[zone.Name]zone.Computed{},
	}
}

// leadInto reports whether an alias of another zone leads into this one.
func (a *aliases) leadInto(name zone.Name) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.learnt || a.into[name] > 0
}

// add notes the aliases of a version beside those that are known: PowerDNS may answer with either.
func (a *aliases) add(z *zone.Zone) {
	found, computed := targetsOf(z), z.Computed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addLocked(z.Name(), found)
	a.compute(z, computed)
}

// compute notes ALIAS and LUA records, under mu. In a signed zone no setting of a secondary helps.
func (a *aliases) compute(z *zone.Zone, computed zone.Computed) {
	delete(a.computed, z.Name())
	if computed.Any() && !z.Signed() {
		a.computed[z.Name()] = computed
	}
}

func (a *aliases) addLocked(name zone.Name, found map[zone.Name]bool) {
	if len(found) > 0 && a.targets[name] == nil {
		a.targets[name] = map[zone.Name]bool{}
	}
	for target := range found {
		if !a.targets[name][target] {
			a.targets[name][target] = true
			a.into[target]++
		}
	}
}

// set notes that PowerDNS answers with this version alone.
func (a *aliases) set(z *zone.Zone) {
	found, computed := targetsOf(z), z.Computed()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropLocked(z.Name())
	a.addLocked(z.Name(), found)
	a.compute(z, computed)
}

// drop notes that the zone is gone.
func (a *aliases) drop(name zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dropLocked(name)
}

func (a *aliases) dropLocked(name zone.Name) {
	for target := range a.targets[name] {
		if a.into[target]--; a.into[target] == 0 {
			delete(a.into, target)
		}
	}
	delete(a.targets, name)
	delete(a.computed, name)
}

// targetsOf are the names that the zone's aliases lead to, and those above. Names that the zone itself answers for
// are left out: where a target lies in the zone, those from its apex up.
func targetsOf(z *zone.Zone) map[zone.Name]bool {
	found := map[zone.Name]bool{}
	for target := range z.Aliases() {
		inside := target.Under(z.Name())
		for name := target; !inside || name != z.Name(); name = name.Parent() {
			found[name] = true
			if name == zone.Root {
				break
			}
		}
	}
	return found
}

// learn looks at all zones of the store once. Until then every change purges all.
func (a *aliases) learn(ctx context.Context, from *store.Store, log zerolog.Logger) error {
	for state, err := range from.States() {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || state.Gone {
			continue
		}
		z, err := from.Zone(state.Name)
		if err != nil {
			log.Debug().Err(err).Stringer("zone", state.Name).
				Msg("failed to read the zone's aliases; its next change shows them")
			continue
		}
		a.add(z)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.learnt = true
	return nil
}

// countComputed returns the unsigned zones with ALIAS and with LUA records.
func (a *aliases) countComputed() (ofAlias, ofLua health.Some) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, computed := range a.computed {
		if computed.Alias {
			ofAlias.Add(name)
		}
		if computed.Lua {
			ofLua.Add(name)
		}
	}
	return ofAlias, ofLua
}

// unanswered returns the settings of PowerDNS that keep it from answering ALIAS and LUA records of unsigned zones.
func unanswered(settings map[string]string, ofAlias, ofLua health.Some) (unfit []string) {
	note := func(setting, should, types string, of health.Some) {
		unfit = append(unfit, fmt.Sprintf("PowerDNS runs with %s=%s (should be %s: "+
			"names with %s records are not answered; unsigned zones have such (%d), the first is %s)",
			setting, settings[setting], should, types, of.Zones, of.First))
	}
	resolver := settings["resolver"]
	switch {
	case ofAlias.Zones == 0:
	case settings["expand-alias"] != "yes":
		note("expand-alias", "yes, with resolver", "ALIAS", ofAlias)
	case resolver == "" || resolver == "no":
		note("resolver", "the address of a resolver", "ALIAS", ofAlias)
	}
	if ofLua.Zones > 0 && settings["enable-lua-records"] == "no" {
		note("enable-lua-records", "yes or shared", "LUA", ofLua)
	}
	return unfit
}
