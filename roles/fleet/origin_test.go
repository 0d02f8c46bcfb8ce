package fleet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// turnout leads DNS by UDP and TCP to one of several servers.
type turnout struct {
	address string
	to      atomic.Pointer[string]
}

func newTurnout(t *testing.T, to string) *turnout {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must.OK(t, err)
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	must.OK(t, err)
	o := &turnout{address: listener.Addr().String()}
	o.to.Store(&to)
	t.Cleanup(func() {
		listener.Close()
		packets.Close()
	})
	go o.streams(listener)
	go o.packets(packets)
	return o
}

func (o *turnout) streams(listener net.Listener) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", *o.to.Load())
			if err != nil {
				return
			}
			defer out.Close()
			go io.Copy(out, in)
			io.Copy(in, out)
		}()
	}
}

func (o *turnout) packets(conn net.PacketConn) {
	for {
		packet := make([]byte, 4<<10)
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		go func() {
			out, err := net.Dial("udp", *o.to.Load())
			if err != nil {
				return
			}
			defer out.Close()
			out.Write(packet[:n])
			if n, err := out.Read(packet); err == nil {
				conn.WriteTo(packet[:n], from)
			}
		}()
	}
}

// says waits until the role is not ready for a reason of PowerDNS's with these parts.
func (i *harness) says(id string, parts ...string) {
	i.t.Helper()
	i.eventually(id+" says why", func(context.Context) error {
		if err := i.notReady(id, "powerdns"); err != nil {
			return err
		}
		body, err := get("http://" + i.Observe(id) + "/readyz")
		for _, part := range parts {
			if err == nil && !bytes.Contains(body, []byte(part)) {
				err = fmt.Errorf("%s, and not %q", body, part)
			}
		}
		return err
	})
}

func (i *harness) wantTexts(what string, name zone.Name, text string) {
	i.t.Helper()
	if got := i.texts(name); !slices.Equal(got, []string{text, text}) {
		i.t.Errorf("%s: the secondaries answer %q, want %q", what, got, text)
	}
}

// Another server comes to answer at powerdns.dns_address while the primary runs, with the same zones, and whatever it
// has of them: nothing of it is published, nothing goes away, and all is well once the right one is back.
func TestAnotherServerAnswersForThePrimary(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(nil)})
	other, err := local.Start(i.ctx, local.Options{Dir: t.TempDir(), Primary: true})
	must.OK(t, err)
	t.Cleanup(other.Stop)
	wrong, err := other.Client()
	must.OK(t, err)
	way := newTurnout(t, i.Primary.DNSAddr)
	i.set(fleet.Primary, "powerdns.dns_address", way.address)
	i.restart(fleet.Primary)

	names := []zone.Name{numbered("tied", 0), numbered("tied", 1), numbered("tied", 2)} // none, the same serial, a newer one
	for n, name := range names {
		must.OK(t, i.api.CreateZoneWith(i.ctx, spec(name, text(name, "right"))))
		if n > 0 {
			must.OK(t, wrong.CreateZoneWith(i.ctx, spec(name, text(name, "wrong"))))
		}
	}
	for range 2 { // newer than the right one is after its edit: the same SOA would tie the content to the zone
		must.OK(t, wrong.Patch(i.ctx, names[2], []powerdns.RRset{text(names[2], "wrong and newer")}))
	}
	for _, name := range names {
		i.prefer("wait=60", "PUT", zonesPath+"/"+name.ID()+"/notify", "").held(t, 200, proxy.StatusInSync, "2/2")
	}
	way.to.Store(&other.DNSAddr)
	for n, name := range names {
		a := i.prefer("wait=1", "PATCH", zonesPath+"/"+name.ID(), patchText(name, fmt.Sprint("edit ", n)))
		if status := a.header.Get(proxy.HeaderStatus); status != proxy.StatusPending {
			t.Errorf("%s: the edit is %s", name, status)
		}
	}
	i.says(fleet.Primary, "did not reach that PowerDNS", way.address, "set powerdns.dns_address")
	if checks, _ := i.examine(fleet.Primary, nil); !slices.Contains(notOK(checks), "fail powerdns.same") {
		t.Errorf("the doctor finds %v", notOK(checks))
	}
	for _, name := range names {
		i.wantTexts("while another server answers", name, "right")
	}
	way.to.Store(&i.Primary.DNSAddr)
	for n, name := range names {
		i.prefer("wait=60", "PUT", zonesPath+"/"+name.ID()+"/notify", "").held(t, 200, proxy.StatusInSync, "2/2")
		i.wantTexts("once the right one answers", name, fmt.Sprint("edit ", n))
	}
	i.noAlarms()
}

// withViews skips the test where PowerDNS has none.
func withViews(t *testing.T) fleet.Options {
	t.Helper()
	settings := map[string]string{"views": "yes"}
	s, err := local.Start(t.Context(), local.Options{Dir: t.TempDir(), Primary: true, Backend: local.LMDB, Settings: settings})
	if err != nil {
		t.Skip("this PowerDNS does not know the setting views: ", err)
	}
	s.Stop()
	return fleet.Options{Primary: local.LMDB, OfPrimary: settings, Set: quick(nil)}
}

// A network is mapped to a view with a variant of a zone, through the proxy and behind it, while clients write. The
// variant has the zone's own SOA. It is published by no name, and what is published stays.
func TestMappedViewIsNotPublished(t *testing.T) {
	t.Parallel()
	i := start(t, withViews(t))
	const zoneID, variant = "v.example.", "v.example..internal"
	name := zone.MustParseName(zoneID)
	create := func(id, value string) {
		t.Helper()
		a := i.prefer("", "POST", zonesPath, fmt.Sprintf(`{"name":%q,"kind":"Native","soa_edit_api":"","rrsets":[`+
			`{"name":%q,"type":"SOA","ttl":60,"records":[{"content":"ns.example.net. host.example.net. 7 3600 600 86400 60","disabled":false}]},`+
			`{"name":%q,"type":"TXT","ttl":60,"records":[{"content":"\"%s\"","disabled":false}]}]}`, id, zoneID, zoneID, value))
		if a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	create(zoneID, "public")
	create(variant, "internal")
	inSync := func(value string) {
		t.Helper()
		i.prefer("wait=60", "PATCH", zonesPath+"/"+zoneID, patchText(name, value)).held(t, 204, proxy.StatusInSync, "2/2")
		i.wantTexts("in sync", name, value)
	}
	inSync("public, too")
	must.OK(t, i.request("POST", "/api/v1/servers/localhost/views/int", fmt.Sprintf(`{"name":%q}`, variant)))
	for n, network := range []string{"127.0.0.0/8", "0.0.0.0/0"} {
		path, kept := "/networks/"+network, fmt.Sprint("kept ", n)
		inSync(kept)
		server := i.ProxyURL
		if n > 0 {
			server = i.Primary.APIURL // bypassing the proxy
		}
		i.mapNetwork(server, path, "int")
		a := i.prefer("wait=1", "PATCH", zonesPath+"/"+zoneID, patchText(name, fmt.Sprint("edit ", n)))
		if status := a.header.Get(proxy.HeaderStatus); status != proxy.StatusPending {
			t.Errorf("%s: the edit is %s", network, status)
		}
		i.says(fleet.Primary, network, `view \"int\"`, "pdnsutil network set")
		if checks, _ := i.examine(fleet.Primary, nil); !slices.Contains(notOK(checks), "fail powerdns.same") {
			t.Errorf("the doctor finds %v", notOK(checks))
		}
		i.wantTexts("while "+network+" is mapped", name, kept)
		i.mapNetwork(server, path, "")
		i.prefer("wait=60", "PUT", zonesPath+"/"+zoneID+"/notify", "").held(t, 200, proxy.StatusInSync, "2/2")
		i.wantTexts("once "+network+" is not mapped", name, fmt.Sprint("edit ", n))
	}
	for _, s := range i.Secondaries {
		client, err := s.Client()
		must.OK(t, err)
		if zones, err := client.Zones(i.ctx); err != nil || len(zones) != 1 {
			t.Errorf("%s has %v, %v", s.ID, zones, err)
		}
	}
}

// A zone whose kind is changed to one that is not distributed is not served any more when its answer says in sync, also
// where later touches of the zone have taken the place of that one.
func TestKindChangedAway(t *testing.T) {
	t.Parallel()
	i := start(t, fleet.Options{Set: quick(map[string]string{"primary.max_delete_percent": "90"})})
	must.OK(t, createMany(i.ctx, i.api, "kind", 8, 4))
	i.eventually("created", i.allSame)
	gone := func(what string, name zone.Name) {
		t.Helper()
		for _, s := range i.Secondaries {
			if err := transfer.ProveGone(i.ctx, s.DNSAddr, name); err != nil {
				t.Errorf("%s: %s: %v", what, s.ID, err)
			}
		}
	}
	for n, kind := range []string{"Producer", "Slave", "Consumer"} {
		name := numbered("kind", n)
		i.prefer("wait=60", "PUT", zonesPath+"/"+name.ID(), fmt.Sprintf(`{"kind":%q,"masters":["192.0.2.1"]}`, kind)).held(t, 204, proxy.StatusInSync, "2/2")
		gone(kind, name)
	}
	must.OK(t, i.StopRole(fleet.Primary))
	for n, kind := range []string{"Producer", "Slave", "Consumer"} {
		name := numbered("kind", 3+n)
		i.prefer("", "PUT", zonesPath+"/"+name.ID(), fmt.Sprintf(`{"kind":%q,"masters":["192.0.2.1"]}`, kind))
		i.prefer("", "PATCH", zonesPath+"/"+name.ID(), patchText(name, "later"))
	}
	must.OK(t, i.StartRole(i.ctx, fleet.Primary))
	for n := range 3 {
		name := numbered("kind", 3+n)
		i.prefer("wait=60", "PUT", zonesPath+"/"+name.ID()+"/notify", "").held(t, 200, proxy.StatusInSync, "2/2")
		gone("while the primary was away", name)
	}
}

// mapNetwork maps the network to a view at once, by the API at that address.
func (i *harness) mapNetwork(server, path, view string) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.ctx, "PUT", server+"/api/v1/servers/localhost"+path, strings.NewReader(fmt.Sprintf(`{"view":%q}`, view)))
	must.OK(i.t, err)
	req.Header.Set("X-API-Key", i.Primary.APIKey.Reveal())
	if a := i.do(req); a.status != 204 {
		i.t.Fatalf("PUT %s: %d %s", path, a.status, a.body)
	}
}
