package fleet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/roles/fleet"
)

// damage is what is done to a file of a role that does not run.
type damage struct{ role, file, what string }

// some are done with each run of the tests, the others by `make test-damage`.
var (
	some = []damage{
		{"ns1", "state/zones.db", "cut half"}, {fleet.Broker, "store/jetstream/CORE/streams/PDNS_ZONE/msgs/*.blk", "flipped bit"},
	}
	damagedFiles = map[string][]string{
		"ns1": {"state/zones.db"}, fleet.Proxy: {"state/pending"},
		fleet.Broker: {
			"store/jetstream/CORE/streams/PDNS_ZONE/msgs/*.blk", "store/jetstream/CORE/streams/PDNS_TOUCH/msgs/*.blk",
			"store/jetstream/CORE/streams/PDNS_BLOB/msgs/*.blk", "store/jetstream/CORE/streams/PDNS_ZONE/msgs/index.db",
			"store/jetstream/CORE/streams/PDNS_ZONE/meta.inf", "store/jetstream/CORE/streams/PDNS_ZONE/obs/*/o.dat",
			"store/jetstream/CORE/streams/KV_pdns_lease/msgs/*.blk", "store/counts.json", "store/restarts.json",
		},
	}
	damages = map[string]func(r *rand.Rand, text []byte) []byte{
		"flipped bit": func(r *rand.Rand, text []byte) []byte {
			text[r.IntN(len(text))] ^= 1 << r.IntN(8)
			return text
		},
		"cut half": func(_ *rand.Rand, text []byte) []byte { return text[:len(text)/2] },
		"zeroed page": func(r *rand.Rand, text []byte) []byte {
			at := r.IntN(len(text)) / 4096 * 4096
			clear(text[at:min(at+4096, len(text))])
			return text
		},
		"emptied": func(*rand.Rand, []byte) []byte { return nil },
	}
)

const damagedZones = 20

// Each damaged file is found when its role is started, and repaired: everything is as in PowerDNS, all zones can be
// changed, and nothing but the warning is left.
func TestDamagedCopies(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Secondaries: []local.Backend{local.LMDB}})
	i.spoiled = true
	must.OK(t, createMany(i.ctx, i.api, "damaged", damagedZones, 4))
	i.eventually("created", i.allSame)
	rounds, _ := strconv.Atoi(os.Getenv("DAMAGE_ROUNDS"))
	if rounds == 0 {
		for n, d := range some {
			i.damaged(d, uint64(n))
		}
		return
	}
	for seed := range uint64(rounds) {
		for role, files := range damagedFiles {
			for _, file := range files {
				for what := range damages {
					i.damaged(damage{role, file, what}, seed)
				}
			}
		}
	}
}

func (i *harness) damaged(d damage, seed uint64) {
	i.t.Helper()
	what := fmt.Sprintf("%s of %s of %s, seed %d", d.what, d.file, d.role, seed)
	must.OK(i.t, i.StopRole(d.role))
	files, err := filepath.Glob(filepath.Join(i.Install(), d.role, d.file))
	must.OK(i.t, err)
	r := rand.New(rand.NewPCG(seed, 4))
	if len(files) > 0 {
		file := files[r.IntN(len(files))]
		text, err := os.ReadFile(file)
		must.OK(i.t, err)
		if len(text) > 0 {
			must.OK(i.t, os.WriteFile(file, damages[d.what](r, text), 0o600))
		}
	}
	i.startAgain(d.role)
	for n := range damagedZones {
		name := numbered("damaged", n)
		must.OK(i.t, i.api.Patch(i.ctx, name, []powerdns.RRset{text(name, what)}))
	}
	i.eventually("the same: "+what, i.allSame)
	i.eventually("all are held: "+what, func(context.Context) error { return i.holds("ns1", damagedZones) })
	i.eventually("nothing is left: "+what, func(ctx context.Context) error {
		s, err := i.status(ctx)
		for _, a := range s.Alarms {
			if a.Kind != "repaired" {
				return fmt.Errorf("%+v", a)
			}
		}
		return err
	})
}

// startAgain starts a role as systemd does: again, where it ends to be started anew.
func (i *harness) startAgain(role string) {
	i.t.Helper()
	var err error
	for range 4 {
		if err = i.StartRole(i.ctx, role); err == nil || !strings.Contains(err.Error(), "damaged") {
			break
		}
		i.t.Log(err)
	}
	must.OK(i.t, err)
}
