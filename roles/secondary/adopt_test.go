package secondary

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/roletest"
)

// beside is an applier, its zone source, and the PowerDNS that it gives zones to.
type beside struct {
	*applier
	server *local.Server
}

func newBeside(t *testing.T, backend local.Backend, stored *zone.Zone) beside {
	t.Helper()
	source := openSource(t, stored)
	loopback, err := transfer.NewServer(transfer.Config{Listen: "127.0.0.1:0", OnTransfer: source.transferred}, source)
	must.OK(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loopback.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	server := roletest.StartPowerDNS(t, local.Options{Backend: backend})
	api, err := server.Client()
	must.OK(t, err)
	return beside{newApplier(api, server.DNSAddr, loopback.Addr().String(), source, config.SecondaryConfig{}, zerolog.Nop()), server}
}

// take has PowerDNS take a version.
func (b beside) take(ctx context.Context, z *zone.Zone) error {
	v, withdraw := b.source.stage(z)
	defer withdraw()
	err := b.transfer(ctx, v, nil)
	if err == nil {
		b.source.committed(z)
	}
	return err
}

// wantServed wants the version to be what PowerDNS has, all that it obeys of it included.
func (b beside) wantServed(t *testing.T, what string, z *zone.Zone) {
	t.Helper()
	err := errors.Join(b.proveState(t.Context(), z), transfer.ProveAll(t.Context(), b.dns, z))
	if err == nil {
		err = transfer.ProveAnswers(t.Context(), b.dns, z, z.Sample(0, 1, z.Len()))
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// request makes a call that the client does not know. SQLite may be locked by a transfer.
func (b beside) request(t *testing.T, method, path, body string) {
	t.Helper()
	url := b.server.APIURL + "/api/v1/servers/localhost" + path
	must.Eventually(t, func() error {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		must.OK(t, err)
		req.Header.Set("X-API-Key", b.server.APIKey.Reveal())
		resp, err := http.DefaultClient.Do(req)
		must.OK(t, err)
		resp.Body.Close()
		if resp.StatusCode > 299 {
			return fmt.Errorf("%s %s %s: %s", method, path, body, resp.Status)
		}
		return nil
	})
}

func (b beside) setMetadata(t *testing.T, name zone.Name, kind string, values ...string) {
	t.Helper()
	args := append([]string{"--config-dir=" + b.server.Dir, "set-meta", name.String(), kind}, values...)
	if out, err := exec.Command("pdnsutil", args...).CombinedOutput(); err != nil {
		t.Fatalf("pdnsutil %v: %v: %s", args, err, out)
	}
}

// withoutTexts is a script that PowerDNS runs over each record that it transfers.
const withoutTexts = `function axfrfilter(remoteip, zone, record)
  if record:qtype() == pdns.TXT then return 0, {} end
  return -1, {}
end
`

const csk = `{"keytype":"csk","active":true}`

// spoiled are what somebody may have done to a zone at a secondary, so that changes do not come, or are served
// otherwise.
func (b beside) spoiled(t *testing.T, name zone.Name) map[string]func() {
	t.Helper()
	script := filepath.Join(t.TempDir(), "texts.lua")
	must.OK(t, os.WriteFile(script, []byte(withoutTexts), 0o644))
	b.request(t, http.MethodPost, "/tsigkeys", `{"name":"mig","algorithm":"hmac-sha256"}`)
	put := func(body string) func() { return func() { b.request(t, http.MethodPut, "/zones/"+name.ID(), body) } }
	set := func(kind, value string) func() { return func() { b.setMetadata(t, name, kind, value) } }
	call := func(kind, value string) func() {
		return func() { must.OK(t, b.api.SetMetadata(t.Context(), name, kind, []string{value})) }
	}
	return map[string]func(){
		"masters":                      put(`{"masters":["127.0.0.2:1"]}`),
		"AXFR-MASTER-TSIG":             put(`{"slave_tsig_key_ids":["mig."]}`),
		"AXFR-SOURCE":                  call("AXFR-SOURCE", "192.0.2.1"),
		"IXFR":                         call("IXFR", "1"),
		"LUA-AXFR-SCRIPT":              set("LUA-AXFR-SCRIPT", script),
		"LUA-AXFR-SCRIPT=/nowhere.lua": set("LUA-AXFR-SCRIPT", "/nowhere.lua"),
		"SOA-EDIT=INCEPTION-INCREMENT": put(`{"soa_edit":"INCEPTION-INCREMENT"}`),
		"SOA-EDIT= ":                   put(`{"soa_edit":""}`),
		"keys":                         func() { b.request(t, http.MethodPost, "/zones/"+name.ID()+"/cryptokeys", csk) },
		"PUBLISH-CDS":                  call("PUBLISH-CDS", "0"),
		"NSEC3PARAM":                   set("NSEC3PARAM", "1 0 0 ab"),
		"NSEC3NARROW":                  set("NSEC3NARROW", "1"),
		"PRESIGNED=1":                  set("PRESIGNED", "1"),
		"PRESIGNED=0":                  set("PRESIGNED", "0"),
	}
}

// Zones that others made, and zones of this role that others changed, come to be what they must be, with what is theirs
// kept: when they are adopted, when they are looked at, and when a change does not come.
func TestZonesAreOursInAllThatIsObeyed(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			contents := contentsOfEveryKind(t)
			name := contents["plain"].Name()
			b := newBeside(t, backend, contents["plain"])
			for what, spoil := range b.spoiled(t, name) {
				for kind, z := range contents {
					if kind != "plain" && !aboutDenial(what) {
						continue
					}
					b.createForeign(t, name)
					spoil()
					must.OK(t, b.take(t.Context(), z))
					b.wantServed(t, kind+", adopted with "+what, z)
					spoil()
					if right := "PRESIGNED=1"; what != right && kind != "plain" || what != "PRESIGNED=0" && kind == "plain" {
						setting, _, _ := strings.Cut(what, "=")
						wantReason(t, b.proveState(t.Context(), z), transfer.ErrNotServed.Error(), setting+"=")
					}
					b.forget(name)
					must.OK(t, b.take(t.Context(), z))
					b.wantServed(t, kind+", put right of "+what, z)
					b.deleteForeign(t, name)
				}
			}
			if _, err := b.api.Zone(t.Context(), probeZone); !errors.Is(err, powerdns.ErrNotFound) {
				t.Errorf("the zone of the probe is left: %v", err)
			}
		})
	}
}

// aboutDenial says what depends on the content.
func aboutDenial(what string) bool {
	return what == "keys" || strings.Contains(what, "NSEC3") || strings.Contains(what, "PRESIGNED")
}

// createForeign makes a secondary zone of another master, with what is nobody's business here.
func (b beside) createForeign(t *testing.T, name zone.Name) {
	t.Helper()
	must.OK(t, b.api.CreateZoneWith(t.Context(), powerdns.ZoneSpec{
		Name: name, Kind: powerdns.Slave, Masters: []string{"192.0.2.1"}, SOAEditAPI: "DEFAULT",
	}))
	b.request(t, http.MethodPut, "/zones/"+name.ID(), `{"account":"customer7"}`)
	must.OK(t, b.api.SetMetadata(t.Context(), name, "ALSO-NOTIFY", []string{"192.0.2.7"}))
}

// deleteForeign wants that to be left.
func (b beside) deleteForeign(t *testing.T, name zone.Name) {
	t.Helper()
	state, err := b.api.ZoneState(t.Context(), name)
	if must.OK(t, err); state.Account != "customer7" || fmt.Sprint(state.Kept()) != "map[ALSO-NOTIFY:[192.0.2.7]]" {
		t.Errorf("what is not ours is lost: %+v", state)
	}
	must.OK(t, b.delete(t.Context(), name))
	b.forget(name)
}

// A zone of this role that takes no changes any more is put right by the change that does not come.
func TestFailedProofLooksAtTheZone(t *testing.T) {
	contents := contentsOfEveryKind(t)
	name := contents["plain"].Name()
	for _, what := range []string{"keys", "AXFR-MASTER-TSIG", "AXFR-SOURCE"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBeside(t, local.SQLite, contents["plain"])
			must.OK(t, b.take(t.Context(), contents["nsec3"]))
			b.spoiled(t, name)[what]()
			must.OK(t, b.take(t.Context(), contents["plain"]))
			b.wantServed(t, what, contents["plain"])
		})
	}
}

// What cannot be put right is left as it is, and named with what to do.
func TestZonesThatCannotBePutRight(t *testing.T) {
	contents := contentsOfEveryKind(t)
	name := contents["plain"].Name()
	b := newBeside(t, local.SQLite, contents["plain"])
	must.OK(t, b.take(t.Context(), contents["plain"]))
	b.setMetadata(t, name, "LUA-AXFR-SCRIPT", "/nowhere.lua")
	b.forget(name)

	unreachable := newApplier(b.api, b.dns, "127.0.0.1:1", b.source, config.SecondaryConfig{}, zerolog.Nop())
	err := beside{unreachable, b.server}.take(t.Context(), contents["nsec"])
	wantReason(t, err, "LUA-AXFR-SCRIPT=/nowhere.lua", "not made anew while PowerDNS takes no zones from this role")

	b.setMetadata(t, name, "ENABLE-LUA-RECORDS", "1")
	err = b.take(t.Context(), contents["nsec"])
	wantReason(t, err, "LUA-AXFR-SCRIPT=/nowhere.lua", "pdnsutil set-meta", "pdns-distribute sync staged.example.")
	must.OK(t, transfer.ProveAll(t.Context(), b.dns, contents["plain"]))
	reason := b.explain(t.Context(), contents["nsec"], transfer.ErrNotServed)
	wantReason(t, reason, "LUA-AXFR-SCRIPT=/nowhere.lua", "PRESIGNED=unset")
	if reason = b.explain(t.Context(), contents["nsec"], errNotTaken); strings.Contains(reason.Error(), "PRESIGNED") {
		t.Errorf("the content was not taken, and the reason is sought in what comes with it: %v", reason)
	}

	b.setMetadata(t, name, "LUA-AXFR-SCRIPT") // what the reason says
	must.OK(t, b.take(t.Context(), contents["nsec"]))
	b.wantServed(t, "put right by hand", contents["nsec"])
}

// What PowerDNS leaves out of its transfers without direct-dnskey, and answers, is proven by questions.
func TestKeysAsRecords(t *testing.T) {
	primary := roletest.StartPowerDNS(t, local.Options{Primary: true, Settings: map[string]string{"direct-dnskey": "yes"}})
	api, err := primary.Client()
	must.OK(t, err)
	spec := roletest.NativeZone(zone.MustParseName("keys.example"))
	digest := strings.Repeat("0123456789abcdef", 4)
	spec.RRsets = []powerdns.RRset{
		{Name: spec.Name, Type: "CDS", TTL: 60, Content: []string{"1 13 2 " + digest, "2 13 2 " + digest}},
		{Name: spec.Name, Type: "CDNSKEY", TTL: 60, Content: []string{"257 3 13 MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}},
	}
	must.OK(t, api.CreateZoneWith(t.Context(), spec))
	z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: primary.DNSAddr}, spec.Name)
	must.OK(t, err)
	if sets := z.Len(); sets != 5 { // SOA, NS, two CDS, CDNSKEY
		t.Fatalf("the primary gives %d records", sets)
	}
	b := newBeside(t, local.SQLite, z)
	must.OK(t, b.take(t.Context(), z))
	b.wantServed(t, "records like keys", z)
	b.request(t, http.MethodPatch, "/zones/"+z.Name().ID(), `{"rrsets":[{"name":"keys.example.","type":"CDS","changetype":"DELETE"}]}`)
	if err := transfer.ProveAll(t.Context(), b.dns, z); !errors.Is(err, transfer.ErrNotServed) {
		t.Errorf("without CDS: %v", err)
	}
}

// A zone that was deleted to be made anew, and could not be created, gets back what was somebody else's when it can be:
// unless it was removed meanwhile.
func TestMadeAnewLater(t *testing.T) {
	contents := contentsOfEveryKind(t)
	z := contents["plain"]
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprintf("removed %v", removed), func(t *testing.T) {
			t.Parallel()
			b := newBeside(t, local.SQLite, z)
			b.createForeign(t, z.Name())
			b.setMetadata(t, z.Name(), "LUA-AXFR-SCRIPT", "/nowhere.lua")
			b.reached.Store(true)
			recovers := b.refuseCreations(t)
			wantReason(t, b.take(t.Context(), z), "was deleted in PowerDNS here to be made anew")
			recovers()
			if removed {
				must.OK(t, b.remove(t.Context(), z.Name(), b.source, nil))
			}
			must.OK(t, b.take(t.Context(), z))
			b.wantServed(t, "made anew", z)
			if !removed {
				b.deleteForeign(t, z.Name())
			} else if state, err := b.api.ZoneState(t.Context(), z.Name()); err != nil || state.Account != "" {
				t.Errorf("a new zone has what another one of its name had: %+v, %v", state, err)
			}
		})
	}
}

// refuseCreations has PowerDNS's API answer 500 where a zone is to be created after another one was deleted.
func (b *beside) refuseCreations(t *testing.T) (recovers func()) {
	t.Helper()
	at, err := url.Parse(b.server.APIURL)
	must.OK(t, err)
	var deleted, well atomic.Bool
	powerDNS := httputil.NewSingleHostReverseProxy(at)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && deleted.Load() && !well.Load() {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		deleted.CompareAndSwap(false, r.Method == http.MethodDelete && strings.Count(r.URL.Path, "/") == 6)
		powerDNS.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	cfg := b.server.Config()
	cfg.APIURL = front.URL
	b.api, err = powerdns.NewClient(cfg)
	must.OK(t, err)
	return func() { well.Store(true) }
}

func wantReason(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the reason does not say %q: %v", part, err)
		}
	}
}

// contentsOfEveryKind are versions of a zone that differ in how they deny, each with a higher serial.
func contentsOfEveryKind(t *testing.T) map[string]*zone.Zone {
	t.Helper()
	primary := roletest.StartPowerDNS(t, local.Options{Primary: true})
	api, err := primary.Client()
	must.OK(t, err)
	name := zone.MustParseName("staged.example")
	spec := roletest.NativeZone(name)
	spec.SOAEditAPI, spec.RRsets = "INCREASE", roletest.RandomTexts(name)[:5]
	must.OK(t, api.CreateZoneWith(t.Context(), spec))
	contents := map[string]*zone.Zone{}
	for n, kind := range []string{"plain", "nsec", "nsec3"} {
		switch b := (beside{server: primary}); kind {
		case "nsec":
			b.request(t, http.MethodPut, "/zones/"+name.ID(), `{"dnssec":true}`)
		case "nsec3":
			must.OK(t, api.SetNSEC3Param(t.Context(), name, "1 0 0 -"))
		}
		must.OK(t, api.Patch(t.Context(), name, roletest.RandomTexts(name)[n:n+1]))
		must.OK(t, api.Rectify(t.Context(), name))
		contents[kind], err = transfer.Fetch(t.Context(), transfer.FetchOptions{Address: primary.DNSAddr}, name)
		must.OK(t, err)
	}
	return contents
}
