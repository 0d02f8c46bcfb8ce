package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/local/localtest"
)

// Since 5.0 PowerDNS has variants of zones, and views and networks that choose among them. A scoped key reaches none of
// it, however much else it may do, and sees no variant; who has PowerDNS's key has all zones looked at.
func TestVariantsAndScopedKeys(t *testing.T) {
	s, err := localtest.TryStart(t, local.Options{
		Primary: true, Backend: local.LMDB, Settings: map[string]string{"views": "yes"},
	})
	if err != nil {
		t.Skip("this PowerDNS does not know the setting views: ", err)
	}
	key, secret := newKey(Key{ID: "all", Zones: []string{"*"}, Verbs: verbs, DeletesPerHour: 100, Rate: 1000})
	k := startKeyed(t, s.APIURL, func() (string, error) { return s.APIKey.Reveal(), nil }, nil, key)
	const variant = "example.org..internal"
	create := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"kind":"Native","nameservers":["ns.example.net."]}`, name)
	}
	direct(t, s, "POST", zonesPath, create("example.org."), http.StatusCreated)
	a := k.ask(t, s.APIKey.Reveal(), "POST", zonesPath, create(variant))
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	k.queue.want(t, "sweep")
	before := direct(t, s, "GET", zonesPath, "", http.StatusOK) + direct(t, s, "GET", zonesPath+"/"+variant, "", http.StatusOK)
	set := rrsets(txt("www.example.org."))
	for _, c := range []struct{ method, target, body string }{
		{"GET", zonesPath + "/" + variant, ""},
		{"PATCH", zonesPath + "/" + variant, set}, {"DELETE", zonesPath + "/" + variant, ""},
		{"PATCH", zonesPath + "/example.org=2E=2Einternal", set},
		{"PATCH", zonesPath + "/example.org.%2Einternal", set},
		{"PATCH", zonesPath + `/example.org=5C..internal`, set},
		{"PATCH", zonesPath + "/example.org%252E.internal", set},
		{"PUT", zonesPath + "/" + variant + "/rectify", ""},
		{"POST", zonesPath + "/" + variant + "/cryptokeys", "{}"},
		{"POST", zonesPath, create("example.net..internal")}, {"POST", zonesPath, create("example.net..internal.")},
		{"GET", serverPath + "/views", ""}, {"POST", serverPath + "/views/int", `{"name":"` + variant + `"}`},
		{"DELETE", serverPath + "/views/int/" + variant, ""}, {"GET", serverPath + "/networks", ""},
		{"PUT", serverPath + "/networks/127.0.0.0/8", `{"view":"int"}`}, {"GET", serverPath + "/search-data?q=*", ""},
		{"GET", serverPath + "/autoprimaries", ""},
		{"POST", serverPath + "/autoprimaries", `{"ip":"192.0.2.1","nameserver":"ns.example.net"}`},
	} {
		if a := k.ask(t, secret, c.method, c.target, c.body); a.status != 403 && a.status != 404 {
			t.Errorf("%s %s: %d %s", c.method, c.target, a.status, a.body)
		}
	}
	list := k.ask(t, secret, "GET", zonesPath, "").body
	if strings.Contains(list, "internal") || !strings.Contains(list, "example.org.") {
		t.Errorf("listed: %s", list)
	}
	after := direct(t, s, "GET", zonesPath, "", http.StatusOK) + direct(t, s, "GET", zonesPath+"/"+variant, "", http.StatusOK)
	if after != before {
		t.Errorf("%s\nbecame %s", before, after)
	}
	k.queue.want(t)
	if a := k.ask(t, s.APIKey.Reveal(), "PATCH", zonesPath+"/"+variant, set); a.status != http.StatusNoContent {
		t.Errorf("PowerDNS's own key: %d %s", a.status, a.body)
	}
	k.queue.want(t, "sweep")
}
