package powerdns_test

import (
	"maps"
	"testing"

	"pdns-distribute/powerdns"
)

func TestUnfitSettings(t *testing.T) {
	// As PowerDNS 4.7 gives them: a former name of a setting may stand beside the present one.
	secondary := map[string]string{
		"query-cache-ttl": "0", "negquery-cache-ttl": "0", "zone-metadata-cache-ttl": "0", "disable-axfr": "no", "secondary": "yes", "slave": "no", "autosecondary": "no", "superslave": "no",
	}
	primary := map[string]string{"disable-axfr": "no", "allow-axfr-ips": "127.0.0.0/8,::1", "outgoing-axfr-expand-alias": "no"}
	for _, c := range []struct {
		judge     func(map[string]string) []powerdns.Unfit
		fit       map[string]string
		key, to   string
		want      string
		breaks    bool
		keepCache bool
	}{
		{powerdns.UnfitForSecondary, secondary, "query-cache-ttl", "20", "query-cache-ttl=20 (should be 0)", false, true},
		{powerdns.UnfitForSecondary, secondary, "zone-metadata-cache-ttl", "60", "zone-metadata-cache-ttl=60 (should be 0)", false, false},
		{powerdns.UnfitForSecondary, secondary, "secondary", "no", "secondary=no (should be yes: it takes no zones)", true, false},
		{powerdns.UnfitForSecondary, secondary, "autosecondary", "yes", "autosecondary=yes (should be no: others than this role could make zones here)", false, false},
		{powerdns.UnfitForSecondary, secondary, "superslave", "yes", "", false, false}, // it follows the newer name
		{powerdns.UnfitForSecondary, secondary, "views", "yes", "views=yes (should be no: networks that are mapped to a view get other zones than those that are distributed, and nothing shows it)", false, false},
		{powerdns.UnfitForSecondary, secondary, "lua-axfr-script", "/etc/a.lua", "lua-axfr-script=/etc/a.lua (should be empty: it alters zones while they are taken, and they are not what was published)", true, false},
		{powerdns.UnfitForSecondary, secondary, "max-ent-entries", "10", "max-ent-entries=10 (should be 100000: names that only have names below them are answered NXDOMAIN in zones with more of them)", false, false},
		{powerdns.UnfitForSecondary, secondary, "max-ent-entries", "100000", "", false, false},
		{powerdns.UnfitForSecondary, secondary, "xfr-max-received-mbytes", "10", "xfr-max-received-mbytes=10 (should be 100 or more, and more than the largest zone has: larger zones are not taken)", false, false},
		{powerdns.UnfitForSecondary, secondary, "webserver-max-concurrent-connections", "20", "webserver-max-concurrent-connections=20 (should be 100: calls of the role are dropped unanswered under load)", false, false},
		{powerdns.UnfitForSecondary, secondary, "unknown", "1", "", false, false},
		{powerdns.UnfitForPrimary, primary, "disable-axfr", "yes", "disable-axfr=yes (should be no, with allow-axfr-ips for the primary role: no zone can be published)", true, false},
		{powerdns.UnfitForPrimary, primary, "allow-axfr-ips", "192.0.2.0/24, 10.0.0.1", "allow-axfr-ips=192.0.2.0/24, 10.0.0.1 (should be 127.0.0.0/8,::1, or whatever the primary role transfers from: it leaves out loopback)", false, false},
		{powerdns.UnfitForPrimary, primary, "allow-axfr-ips", "192.0.2.0/24 127.0.0.1", "", false, false},
		{powerdns.UnfitForPrimary, primary, "query-cache-ttl", "20", "", false, false},
	} {
		settings := maps.Clone(c.fit)
		if got := c.judge(settings); len(got) > 0 {
			t.Errorf("%v is fit: %v", settings, got)
		}
		settings[c.key] = c.to
		got := c.judge(settings)
		text := ""
		for _, u := range got {
			text += u.String()
		}
		if text != c.want || c.want != "" && got[0].Breaks != c.breaks {
			t.Errorf("%s=%s: %q, %+v", c.key, c.to, text, got)
		}
		if c.fit["secondary"] != "" && powerdns.KeepsAnswers(settings) != c.keepCache {
			t.Errorf("%s=%s: keeps answers: %v", c.key, c.to, !c.keepCache)
		}
	}
	former := maps.Clone(secondary)
	former["secondary"], former["slave"] = "no", "yes"
	if got := powerdns.UnfitForSecondary(former); len(got) > 0 {
		t.Error(got)
	}
}

func TestTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"4.6.4": true, "4.7.0": false, "4.7.3": false, "4.10.0-rc1": false, "5.1.4": false, "3.4": true, "0.0.1234.master": false, "git-abc": false, "": false,
	} {
		if got := (powerdns.ServerInfo{Version: version}).TooOld(); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
