package origin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

func start(t *testing.T, o local.Options) *local.Server {
	t.Helper()
	o.Primary = true
	s, err := localtest.TryStart(t, o)
	if err != nil && o.Settings["views"] != "" {
		t.Skip("this PowerDNS does not know the setting views: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reader reads zones with this API from that DNS.
func reader(t *testing.T, s *local.Server, address string) *origin.Reader {
	t.Helper()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	return origin.New(client, address, 0)
}

// call is a request to the API that is to succeed.
func call(t *testing.T, s *local.Server, method, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.APIURL+"/api/v1/servers/localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", s.APIKey.Reveal())
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	if a.StatusCode/100 != 2 {
		t.Fatalf("%s %s %s: %s %s", method, path, body, a.Status, text)
	}
	return string(text)
}

// create makes a zone of two records, whose edits do not move the serial. id is its name, and that of a variant.
func create(t *testing.T, s *local.Server, id, soa, address, more string) {
	t.Helper()
	name, _, variant := strings.Cut(id, "..")
	if variant {
		name += "."
	}
	call(t, s, "POST", "/zones?rrsets=false", fmt.Sprintf(`{"name":%q,"kind":"Native","soa_edit_api":"","rrsets":[`+
		`{"name":%q,"type":"SOA","ttl":300,"records":[{"content":%q,"disabled":false}]},`+
		`{"name":"www.%s","type":"A","ttl":300,"records":[{"content":%q,"disabled":false}]}]%s}`, id, name, soa, name, address, more))
}

const soa7 = "ns.example.net. host.example.net. 7 3600 600 86400 300"

var v = zone.MustParseName("v.example")

func all(powerdns.ZoneInfo) error { return nil }

func wantOther(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if !errors.Is(err, origin.ErrOther) {
		t.Fatalf("%s: %v, want ErrOther", what, err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want it to say %q", what, err, part)
		}
	}
}

// TestAnotherServer has another PowerDNS answer DNS than the API's: with no such zone, with another serial, with
// another SOA, and with all the same but the content.
func TestAnotherServer(t *testing.T) {
	t.Parallel()
	s, other := start(t, local.Options{}), start(t, local.Options{})
	for name, soa := range map[string]string{
		"same": soa7, "serial": strings.Replace(soa7, " 7 ", " 8 ", 1), "soa": strings.Replace(soa7, "host.", "joe.", 1),
	} {
		create(t, s, name+".example.", soa7, "192.0.2.1", "")
		create(t, other, name+".example.", soa, "10.0.0.1", "")
	}
	right, wrong := reader(t, s, s.DNSAddr), reader(t, s, other.DNSAddr)
	if err := right.Prove(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOther(t, "the other server", wrong.Prove(t.Context()), other.DNSAddr, "set powerdns.dns_address and powerdns.api_url")
	for name, part := range map[string]string{"serial": "a transfer gives serial 8, the API 7 before it and 7 after it", "soa": "joe.example.net."} {
		n := zone.MustParseName(name + ".example")
		if z, stored, err := right.Read(t.Context(), n, all); err != nil || stored != 7 || z.Serial() != 7 {
			t.Errorf("%s: serial %d, %v", name, stored, err)
		}
		_, _, err := wrong.Read(t.Context(), n, all)
		wantOther(t, name, err, part)
	}
	refuse := errors.New("not this one")
	if _, _, err := wrong.Read(t.Context(), zone.MustParseName("serial.example"), func(powerdns.ZoneInfo) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("what is not accepted: %v", err)
	}
	if _, _, err := right.Read(t.Context(), zone.MustParseName("none.example"), all); !errors.Is(err, powerdns.ErrNotFound) {
		t.Errorf("no such zone: %v", err)
	}
	call(t, s, "POST", "/zones", `{"name":".","kind":"Native","nameservers":["ns.example.net."]}`) // which has all names
	if err := right.Prove(t.Context()); err != nil {
		t.Errorf("with the root zone: %v", err)
	}
	silent := reader(t, s, "127.0.0.1:1")
	if err := silent.Prove(t.Context()); !errors.Is(err, powerdns.ErrUnavailable) {
		t.Errorf("nobody answers: %v", err)
	}
	if _, _, err := silent.Read(t.Context(), zone.MustParseName("same.example"), func(powerdns.ZoneInfo) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("what is not accepted, and cannot be transferred: %v", err)
	}
}

// TestMappedView maps and unmaps networks while PowerDNS runs. Both variants have the same SOA.
func TestMappedView(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"views": "yes"}
	s := start(t, local.Options{Backend: local.LMDB, Settings: settings})
	create(t, s, "v.example.", soa7, "192.0.2.1", "")
	create(t, s, "v.example..internal", soa7, "10.0.0.1", "")
	call(t, s, "POST", "/views/int", `{"name":"v.example..internal"}`)
	r := reader(t, s, s.DNSAddr)
	readable := func(what string) {
		t.Helper()
		if err := r.Prove(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if z, _, err := r.Read(t.Context(), v, all); err != nil {
			t.Errorf("%s: %v", what, err)
		} else if content := fmt.Sprint(z.RRset(zone.MustParseName("www.v.example"), 1)); !strings.Contains(content, "192.0.2.1") {
			t.Errorf("%s: %s", what, content)
		}
	}
	readable("nothing is mapped")
	for _, network := range []string{"127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0"} {
		call(t, s, "PUT", "/networks/"+network, `{"view":"int"}`)
		_, _, err := r.Read(t.Context(), v, all)
		wantOther(t, network, err, network, `"int"`, "pdnsutil network set "+network)
		wantOther(t, network, r.Prove(t.Context()))
		call(t, s, "PUT", "/networks/"+network, `{"view":""}`)
		readable(network + " is mapped no more")
	}
	call(t, s, "PUT", "/networks/192.0.2.0/24", `{"view":"int"}`)
	call(t, s, "PUT", "/networks/::/0", `{"view":"int"}`)
	readable("other networks are mapped")

	call(t, s, "PUT", "/networks/127.0.0.0/8", `{"view":"int"}`)
	settings["views"] = "no"
	must.OK(t, s.Restart(t.Context()))
	must.OK(t, r.Prove(t.Context()))
	if _, _, err := r.Read(t.Context(), v, all); !errors.Is(err, transfer.ErrRefused) { // 5.1.5 finds neither variant then
		t.Errorf("views are off: %v", err)
	}
	settings["views"] = "yes"
	must.OK(t, s.Restart(t.Context()))
	_, _, err := r.Read(t.Context(), v, all)
	wantOther(t, "views are on since a moment", err)
}

// TestOddSOAs are SOAs that PowerDNS serves in its own way, or cannot show: a zone that it serves is read.
func TestOddSOAs(t *testing.T) {
	t.Parallel()
	s := start(t, local.Options{})
	create(t, s, "v.example.", soa7, "192.0.2.1", "")
	r := reader(t, s, s.DNSAddr)
	for i, soa := range []string{
		"NS.Example.NET. Host.Example.net. %d 3600 600 86400 300", "ns.example.net. host@example.net. %d 3600 600 86400 300",
		"ns.example.net host.example.net %d 3600 600 86400 300", `ns.example.net. a\.b.example.net. %d 3600 600 86400 300`,
		`ns.example.net. "h" %d 3600 600 86400 300`,
	} {
		soa = fmt.Sprintf(soa, 100+i)
		if _, err := s.SQL(t.Context(), "update records set content='"+soa+"' where type='SOA'"); err != nil {
			t.Fatal(err)
		}
		if _, stored, err := r.Read(t.Context(), v, all); err != nil || stored != uint32(100+i) {
			t.Errorf("%s: serial %d, %v", soa, stored, err)
		}
	}
}

// TestSOAEdit has the served serial be another one than the stored one, and a clock.
func TestSOAEdit(t *testing.T) {
	t.Parallel()
	s := start(t, local.Options{})
	r := reader(t, s, s.DNSAddr)
	create(t, s, "v.example.", soa7, "192.0.2.1", `,"dnssec":true`)
	for _, edit := range []string{"INCREMENT-WEEKS", "EPOCH", "INCEPTION-INCREMENT", "NONE", ""} {
		call(t, s, "PUT", "/zones/v.example.", fmt.Sprintf(`{"soa_edit":%q}`, edit))
		if z, stored, err := r.Read(t.Context(), v, all); err != nil || stored != 7 || (edit == "EPOCH") != (z.Serial() > 1e9 && z.Serial() < 2e9) {
			t.Errorf("SOA-EDIT %q: stored %d, %v", edit, stored, err)
		}
	}
}

// TestReadAmidEdits reads a zone that is edited all the time.
func TestReadAmidEdits(t *testing.T) {
	t.Parallel()
	s := start(t, local.Options{Backend: local.LMDB}) // with SQLite one of two writers fails
	r := reader(t, s, s.DNSAddr)
	create(t, s, "v.example.", soa7, "192.0.2.1", "")
	call(t, s, "PUT", "/zones/v.example.", `{"soa_edit_api":"INCREASE"}`)
	client, err := s.Client()
	must.OK(t, err)
	ended := make(chan error, 2)
	for n := range 2 {
		go func() {
			var err error
			for i := 0; i < 100 && err == nil; i++ {
				err = client.Patch(t.Context(), v, []powerdns.RRset{{
					Name: zone.MustParseName(fmt.Sprintf("n%d.v.example", n)), Type: "A", TTL: 300, Content: []string{fmt.Sprintf("192.0.2.%d", i+1)},
				}})
			}
			ended <- err
		}()
	}
	for editors := 2; editors > 0; {
		z, stored, err := r.Read(t.Context(), v, all)
		if err != nil || zone.SerialNewer(stored, z.Serial()) {
			t.Errorf("stored serial %d: %v", stored, err)
		}
		select {
		case err := <-ended:
			must.OK(t, err)
			editors--
		default:
		}
	}
	z, stored, err := r.Read(t.Context(), v, all)
	if must.OK(t, err); stored != z.Serial() || stored < 100 {
		t.Errorf("serial %d, stored %d", z.Serial(), stored)
	}
}

// freshWrites change a zone at an unchanged serial. PowerDNS caches settings, keys and signatures for up to a minute.
var freshWrites = []struct{ what, method, path, body string }{
	{"content", "PATCH", "", `{"rrsets":[{"name":"www.v.example.","type":"A","ttl":300,"changetype":"REPLACE","records":[{"content":"192.0.2.2","disabled":false}]}]}`},
	{"SOA", "PATCH", "", `{"rrsets":[{"name":"v.example.","type":"SOA","ttl":300,"changetype":"REPLACE","records":[{"content":"ns.example.net. host.example.net. 7 3600 600 86400 301","disabled":false}]}]}`},
	{"NSEC3", "PUT", "", `{"nsec3param":"1 0 0 -"}`},
	{"salt", "PUT", "", `{"nsec3param":"1 0 0 ab"}`},
	{"NSEC", "PUT", "", `{"nsec3param":""}`},
	{"CDS", "PUT", "/metadata/PUBLISH-CDS", `{"metadata":["2"]}`},
	{"CDNSKEY", "PUT", "/metadata/PUBLISH-CDNSKEY", `{"metadata":["1"]}`},
	{"no CDS", "DELETE", "/metadata/PUBLISH-CDS", ""},
	{"another key", "POST", "/cryptokeys", `{"keytype":"csk","active":true,"algorithm":"ecdsa256"}`},
	{"key hidden", "PUT", "/cryptokeys/1", `{"active":true,"published":false}`},
	{"key shown", "PUT", "/cryptokeys/1", `{"active":true,"published":true}`},
	{"key off", "PUT", "/cryptokeys/1", `{"active":false}`},
	{"key gone", "DELETE", "/cryptokeys/1", ""},
	{"SOA-EDIT", "PUT", "", `{"soa_edit":"INCREMENT-WEEKS"}`},
	{"no SOA-EDIT", "PUT", "", `{"soa_edit":""}`},
	{"unsigned", "PUT", "", `{"dnssec":false}`},
	{"signed again", "PUT", "", `{"dnssec":true}`},
}

// TestReadAfterWrite reads right after each kind of write, while all that PowerDNS caches is of before. The read must
// be what PowerDNS gives once its caches are empty.
func TestReadAfterWrite(t *testing.T) {
	for _, backend := range []local.Backend{local.SQLite, local.LMDB} {
		t.Run(string(backend), func(t *testing.T) {
			t.Parallel()
			s := start(t, local.Options{Backend: backend})
			r := reader(t, s, s.DNSAddr)
			create(t, s, "v.example.", soa7, "192.0.2.1", `,"dnssec":true`)
			before := ""
			for _, w := range freshWrites {
				warm(t, s, r)
				call(t, s, w.method, "/zones/v.example."+w.path, w.body)
				z, _, err := r.Read(t.Context(), v, all)
				if err != nil {
					t.Fatalf("%s: %v", w.what, err)
				}
				if err := s.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				now, err := r.Transfer(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := stable(z), stable(now); got != want || got == before {
					t.Errorf("%s:\n%s\nbefore\n%s\nwithout caches\n%s", w.what, got, before, want)
				}
				before = stable(z)
			}
		})
	}
}

// warm fills PowerDNS's caches.
func warm(t *testing.T, s *local.Server, r *origin.Reader) {
	t.Helper()
	for _, typ := range []uint16{1, 2, 6, 48, 51, 59, 60, 65285} {
		for _, unique := range []bool{false, true} {
			if _, err := transfer.Ask(t.Context(), s.DNSAddr, v, typ, transfer.AskOptions{DNSSEC: true, Unique: unique}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, _, err := r.Read(t.Context(), v, all); err != nil {
		t.Fatal(err)
	}
}

// stable is the content without the bytes of signatures, which a restart makes anew.
func stable(z *zone.Zone) string {
	var text strings.Builder
	for r := range z.Records() {
		line := r.String()
		if r.Covered() != 0 {
			line = line[:strings.LastIndexByte(line, ' ')]
		}
		text.WriteString(line + "\n")
	}
	return text.String()
}
