package powerdns_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

const master = "127.0.0.1:5300"

type deviation struct{ what, put, metadata, value string }

// What somebody else may have done to a zone at a secondary, by the name that operators know it by: a body for the
// zone's PUT or its metadata, and whether the API lets one put it right.
var deviations = []deviation{
	{"kind", `{"kind":"Master"}`, "", ""},
	{"masters", `{"masters":["127.0.0.1:5300","192.0.2.1"]}`, "", ""},
	{"SOA-EDIT", `{"soa_edit":"INCEPTION-INCREMENT"}`, "", ""},
	{"SOA-EDIT", `{"soa_edit":""}`, "", ""}, // as earlier versions of the program made it
	{"SOA-EDIT-API", `{"soa_edit_api":"INCREASE"}`, "", ""},
	{"API-RECTIFY", `{"api_rectify":true}`, "", ""},
	{"keys", `{"dnssec":true}`, "", ""},
	{"NSEC3PARAM", `{"dnssec":true,"nsec3param":"1 0 0 ab"}`, "", ""},
	{"NSEC3NARROW", `{"dnssec":true,"nsec3param":"1 0 0 ab","nsec3narrow":true}`, "", ""},
	{"AXFR-MASTER-TSIG", `{"slave_tsig_key_ids":["mig."]}`, "", ""},
	{"AXFR-SOURCE", "", "AXFR-SOURCE", "192.0.2.1"},
	{"IXFR", "", "IXFR", "1"},
	{"PUBLISH-CDS", "", "PUBLISH-CDS", "0"},
	{"PUBLISH-CDNSKEY", "", "PUBLISH-CDNSKEY", "0"},
}

// kept is metadata that stays as it is.
var kept = map[string]string{
	"ALLOW-AXFR-FROM": "192.0.2.0/24", "ALSO-NOTIFY": "192.0.2.1", "SLAVE-RENOTIFY": "1",
	"ALLOW-DNSUPDATE-FROM": "192.0.2.0/24", "FORWARD-DNSUPDATE": "1", "NOTIFY-DNSUPDATE": "1",
	"SOA-EDIT-DNSUPDATE": "INCREASE", "GSS-ALLOW-AXFR-PRINCIPAL": "u@R", "GSS-ACCEPTOR-PRINCIPAL": "DNS/h@R",
	"X-OURS": "anything",
}

func checkSecondaryZone(t *testing.T, s *local.Server, c *powerdns.Client) {
	name, want := zone.MustParseName("state.example"), powerdns.SecondaryZone{Master: master}
	must.OK(t, c.CreateZone(t.Context(), name, powerdns.Slave, []string{master}))
	wantDeviations(t, c, name, want)
	call(t, s, http.MethodPost, "/tsigkeys", `{"name":"mig","algorithm":"hmac-sha256"}`)
	call(t, s, http.MethodPut, "/zones/state.example.", `{"account":"customer7","master_tsig_key_ids":["mig."]}`)
	for kind, value := range kept {
		must.OK(t, c.SetMetadata(t.Context(), name, kind, []string{value}))
	}
	wantDeviations(t, c, name, want)
	before, err := c.ZoneState(t.Context(), name)
	must.OK(t, err)
	for _, d := range deviationsOf(t, s, c, name) {
		if d.put != "" {
			call(t, s, http.MethodPut, "/zones/state.example.", d.put)
		} else {
			must.OK(t, c.SetMetadata(t.Context(), name, d.metadata, []string{d.value}))
		}
		state := wantDeviations(t, c, name, want, d.what)
		must.OK(t, c.Correct(t.Context(), state, want, state.Deviations(want)))
		wantDeviations(t, c, name, want)
	}
	after, err := c.ZoneState(t.Context(), name)
	must.OK(t, err)
	if fmt.Sprint(after) != fmt.Sprint(before) || len(after.Kept()) != len(kept)+1 {
		t.Errorf("what is somebody else's was %+v\nand is %+v", before, after)
	}
}

// checkSecondaryAnew: a script cannot be removed by the API. What the zone has besides is written again where it can
// be.
func checkSecondaryAnew(t *testing.T, s *local.Server, c *powerdns.Client) {
	name, want := zone.MustParseName("anew.example"), powerdns.SecondaryZone{Master: master}
	must.OK(t, c.CreateZone(t.Context(), name, powerdns.Slave, []string{master}))
	call(t, s, http.MethodPut, "/zones/anew.example.", `{"account":"customer7"}`)
	must.OK(t, c.SetMetadata(t.Context(), name, "ALSO-NOTIFY", []string{"192.0.2.1"}))
	pdnsutil(t, s, "set-meta", "anew.example", "LUA-AXFR-SCRIPT", "/nowhere.lua")
	state := wantDeviations(t, c, name, want, "LUA-AXFR-SCRIPT")
	wantError(t, c.Correct(t.Context(), state, want, state.Deviations(want)), powerdns.ErrRejected)
	must.OK(t, c.Restore(t.Context(), state))
	must.OK(t, c.DeleteZone(t.Context(), name))
	must.OK(t, c.CreateZone(t.Context(), name, powerdns.Slave, []string{master}))
	must.OK(t, c.Restore(t.Context(), state))
	again := wantDeviations(t, c, name, want)
	if again.Account != "customer7" || fmt.Sprint(again.Kept()) != fmt.Sprint(state.Kept()) {
		t.Errorf("made anew it is %+v, and was %+v", again, state)
	}
	pdnsutil(t, s, "set-meta", "anew.example", "ENABLE-LUA-RECORDS", "1")
	wantError(t, c.Restore(t.Context(), wantDeviations(t, c, name, want)), powerdns.ErrRejected)
	pdnsutil(t, s, "set-meta", "anew.example", "LUA-AXFR-SCRIPT", "NONE")
	wantDeviations(t, c, name, want)
}

// deviationsOf are those that this release and backend show.
func deviationsOf(t *testing.T, s *local.Server, c *powerdns.Client, name zone.Name) []deviation {
	list := slices.Clone(deviations)
	if c.SetMetadata(t.Context(), name, "SIGNALING-ZONE", []string{""}) == nil { // since 5.0
		list = append(list, deviation{"SIGNALING-ZONE", "", "SIGNALING-ZONE", "1"})
		must.OK(t, c.SetMetadata(t.Context(), name, "SIGNALING-ZONE", []string{}))
	}
	call(t, s, http.MethodPut, "/zones/state.example.", `{"catalog":"cat.example."}`)
	state, err := c.ZoneState(t.Context(), name)
	must.OK(t, err)
	if state.Catalog != "" { // 4.7 with gsqlite3 does not tell
		list = append(list, deviation{"catalog", `{"catalog":"cat.example."}`, "", ""})
	}
	must.OK(t, c.MakeSlave(t.Context(), name, []string{master}))
	if s.Backend == local.SQLite {
		left, err := s.SQL(t.Context(), "SELECT count(*) FROM domains WHERE name='state.example' AND catalog='cat.example'")
		must.OK(t, err)
		if strings.TrimSpace(left) != "0" {
			t.Error("the zone is a member of its catalog still")
		}
	}
	return list
}

// wantDeviations wants these to be among what deviates, and nothing where there are none.
func wantDeviations(
	t *testing.T, c *powerdns.Client, name zone.Name, want powerdns.SecondaryZone, what ...string,
) powerdns.ZoneState {
	t.Helper()
	state, err := c.ZoneState(t.Context(), name)
	must.OK(t, err)
	wrong := powerdns.Describe(state.Deviations(want))
	if len(what) == 0 && wrong != "" {
		t.Errorf("%s deviates: %s\n%+v", name, wrong, state)
	}
	for _, w := range what {
		if !strings.Contains("; "+wrong, "; "+w+"=") {
			t.Errorf("%s does not deviate by %s: %q\n%+v", name, w, wrong, state)
		}
	}
	return state
}

// What a transfer leaves of the way of denying is what the content says.
func TestDenialKeptOfTransfers(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		primary := localtest.Start(t, local.Options{Primary: true})
		edge := localtest.Start(t, local.Options{Backend: backend})
		source, secondary := clientOf(t, primary.Config()), clientOf(t, edge.Config())
		name := newZone(t, source, "denies.example", powerdns.ZoneSpec{SOAEditAPI: "INCREASE"})
		want := powerdns.SecondaryZone{Master: primary.DNSAddr}
		must.OK(t, source.Patch(t.Context(), name, []powerdns.RRset{ // what opt-out is about, and what has no records itself
			{Name: zone.MustParseName("sub.denies.example"), Type: "NS", TTL: 60, Content: []string{"ns.elsewhere.example."}},
			{Name: zone.MustParseName("low.ent.denies.example"), Type: "NS", TTL: 60, Content: []string{"ns.elsewhere.example."}},
			a(zone.MustParseName("a.b.denies.example"), "192.0.2.1"), a(zone.MustParseName("*.wild.denies.example"), "192.0.2.1"),
		}))
		must.OK(t, secondary.CreateZone(t.Context(), name, powerdns.Slave, []string{primary.DNSAddr}))
		for _, put := range []string{
			"{}", `{"dnssec":true}`, `{"nsec3param":"1 0 0 -"}`, `{"nsec3param":"1 0 5 AB12"}`, `{"nsec3param":"1 1 3 cd"}`,
			`{"nsec3param":""}`, `{"dnssec":false}`,
		} {
			call(t, primary, http.MethodPut, "/zones/denies.example.", put)
			must.OK(t, source.Patch(t.Context(), name, []powerdns.RRset{a(zone.MustParseName("www.denies.example"), "192.0.2.1")}))
			must.OK(t, source.Rectify(t.Context(), name))
			z, err := transfer.Fetch(t.Context(), transfer.FetchOptions{Address: primary.DNSAddr}, name)
			must.OK(t, err)
			want.Presigned, want.NSEC3Param = z.KeptDenial()
			must.OK(t, secondary.Retrieve(t.Context(), name))
			must.Eventually(t, func() error { // 4.9 with lmdb may answer 500 while it commits
				info, err := secondary.Zone(t.Context(), name)
				if err == nil && info.Serial != z.Serial() {
					err = fmt.Errorf("serial is %d, want %d", info.Serial, z.Serial())
				}
				return err
			})
			wantDeviations(t, secondary, name, want)
			must.OK(t, transfer.ProveAll(t.Context(), edge.DNSAddr, z))
			if want.NSEC3Param != "" {
				foreign := want
				foreign.NSEC3Param = "1 0 0 ff"
				wantDeviations(t, secondary, name, foreign, "NSEC3PARAM")
			}
		}
	}
}

// call makes a call that the client does not know.
func call(t *testing.T, s *local.Server, method, path, body string) {
	t.Helper()
	url := s.APIURL + "/api/v1/servers/localhost" + path
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must.OK(t, err)
	req.Header.Set("X-API-Key", s.APIKey.Reveal())
	resp, err := http.DefaultClient.Do(req)
	must.OK(t, err)
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		t.Fatalf("%s %s %s: %s", method, path, body, resp.Status)
	}
}

func pdnsutil(t *testing.T, s *local.Server, args ...string) {
	t.Helper()
	out, err := exec.Command("pdnsutil", slices.Concat([]string{"--config-dir=" + s.Dir}, args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("pdnsutil %v: %v: %s", args, err, out)
	}
}
