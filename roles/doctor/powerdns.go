package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/origin"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

// powerdns looks at the PowerDNS beside the role: its API, its settings, its DNS, and its zones.
func (e *examination) powerdns(ctx context.Context, before findings) (f findings) {
	if !e.besidePowerDNS() || before.failedIn("powerdns") {
		return nil
	}
	cfg := e.cfg.PowerDNS
	cfg.Timeout, cfg.ListTimeout = min(cfg.Timeout, patience), min(cfg.ListTimeout, patience)
	if e.role == health.RoleProxy {
		cfg.APIKey, cfg.APIKeyFile = "-", "" // each client brings its own
	}
	api, err := powerdns.NewClient(cfg)
	if err != nil {
		f.fail("powerdns.api", cfg.APIURL, err.Error(), "correct the section [powerdns] of the configuration")
		return f
	}
	if e.role == health.RoleProxy {
		f.apiAnswers(ctx, api, cfg.APIURL)
		return f
	}
	n := examined{role: e.role, api: api, url: cfg.APIURL, dns: cfg.DNSAddress}
	if n.server(ctx, &f) && n.settings(ctx, &f) {
		n.zones(ctx, &f)
	} else {
		n.answers(ctx, &f)
	}
	if e.role == health.RoleSecondary {
		f.public(ctx, e.cfg.Secondary.PublicAddresses)
	}
	return f
}

// public looks at where the world asks. From this host that may work though a firewall keeps others out, and the
// other way round: the health role knows better.
func (f *findings) public(ctx context.Context, addresses []string) {
	const name = "powerdns.public"
	if len(addresses) == 0 {
		f.warn(name, "secondary.public_addresses", "none is set: the health role cannot ask this PowerDNS as the world does",
			`set it to where PowerDNS answers the world, such as ["192.0.2.53:53"]`)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, address := range addresses {
		silent := ""
		for way, tcp := range map[string]bool{"UDP": false, "TCP": true} {
			if _, err := transfer.Probe(ctx, address, zone.Root, tcp); errors.Is(err, transfer.ErrSilent) {
				silent = way + ": " + err.Error()
			}
		}
		if silent == "" {
			f.ok(name, address, "answers by UDP and by TCP, asked from here")
			continue
		}
		f.warn(name, address, "asked from here it does not answer by "+silent,
			"see that PowerDNS listens there (local-address of pdns.conf), that no firewall is in the way, and that secondary.public_addresses is right")
	}
}

// apiAnswers is all that a proxy needs of PowerDNS: that it is there, and asks for a key.
func (f *findings) apiAnswers(ctx context.Context, api *powerdns.Client, at string) {
	_, err := api.Server(ctx)
	if err == nil || errors.Is(err, powerdns.ErrUnauthorized) {
		f.ok("powerdns.api", at, "its API answers")
		return
	}
	f.api(at, err)
}

const startSocket = "start PowerDNS, 5.0 or later, with webserver=yes, api=yes and webserver-address set to that path; " +
	"the user of the role must be able to connect there, which takes the right to write to the socket: " +
	"add it to the socket's group; or correct powerdns.api_url"

// startAPIAt is the remedy where an API does not answer.
func startAPIAt(at string) string {
	if strings.HasPrefix(at, "unix:") {
		return startSocket
	}
	return startAPI
}

const startAPI = "start PowerDNS, with webserver=yes and api=yes, and webserver-allow-from for this host; or correct powerdns.api_url"

// api says why the API cannot be used.
func (f *findings) api(at string, err error) {
	const name = "powerdns.api"
	switch failed, _ := errors.AsType[*url.Error](err); {
	case errors.Is(err, powerdns.ErrUnauthorized):
		f.fail(name, at, "it refuses the API key",
			"make powerdns.api_key, or the content of powerdns.api_key_file, the same as api-key in pdns.conf; restart PowerDNS if that was changed since")
	case errors.Is(err, powerdns.ErrProtocol):
		f.fail(name, at, "something else than the API of a PowerDNS answers: "+err.Error(),
			"correct powerdns.api_url (webserver-address and webserver-port of pdns.conf) and powerdns.server_id")
	case failed != nil:
		f.fail(name, at, "its API does not answer: "+failed.Err.Error(), startAPIAt(at))
	default:
		f.fail(name, at, "its API fails: "+err.Error(), startAPIAt(at))
	}
}

// examined is the PowerDNS beside the role while it is examined.
type examined struct {
	role     string
	api      *powerdns.Client
	url, dns string
	conf     map[string]string
}

// server reports whether the API answers as it should, so that more can be asked.
func (n *examined) server(ctx context.Context, f *findings) bool {
	info, err := n.api.Server(ctx)
	switch {
	case err != nil:
		f.api(n.url, err)
		return false
	case info.TooOld():
		f.fail("powerdns.version", n.url, "PowerDNS "+info.Version+" is older than "+powerdns.OldestVersion,
			"upgrade it to "+powerdns.OldestVersion+" or later")
	default:
		f.ok("powerdns.api", n.url, "PowerDNS %s", info.Version)
		f.release(n.url, info)
	}
	return true
}

// release warns of a release whose maintenance has ended, and of one that is not known.
func (f *findings) release(at string, info powerdns.ServerInfo) {
	const name = "powerdns.version"
	switch r, known := info.Release(); {
	case !known:
		f.ok(name, at, "PowerDNS %s is none of the releases that this program was tested with", info.Version)
	case r.Over(time.Now()):
		f.warn(name, at, fmt.Sprintf("the maintenance of PowerDNS %s ended in %s", r.Name, r.End()),
			"upgrade it: docs/powerdns.md has which releases are maintained, and what is different in them")
	}
}

// settings are judged by what the role needs.
func (n *examined) settings(ctx context.Context, f *findings) bool {
	const name = "powerdns.settings"
	var err error
	if n.conf, err = n.api.Config(ctx); err != nil {
		f.fail(name, n.url, err.Error(), "see PowerDNS's log")
		return false
	}
	side := powerdns.Primary
	if n.role == health.RoleSecondary {
		side = powerdns.Secondary
	}
	suits := true
	for _, u := range powerdns.Judge(side, n.conf) {
		suits = suits && u.Weight == powerdns.Noted
		f.unfit(n.url, u)
	}
	if suits {
		f.ok(name, n.url, "as a %s needs them", n.role)
	}
	return true
}

// unfit says what a setting of PowerDNS does.
func (f *findings) unfit(at string, u powerdns.Unfit) {
	const name = "powerdns.settings"
	switch found := fmt.Sprintf("%s=%s: %s", u.Name, u.Value, u.Does); u.Weight {
	case powerdns.Breaking:
		f.fail(name, at, found, u.Remedy())
	case powerdns.Harmful:
		f.warn(name, at, found, u.Remedy())
	case powerdns.Noted:
		f.ok(name, at, "%s; should be %s", found, u.Should)
	}
}

// zones compares what the API lists with what DNS answers, and transfers one of them.
func (n *examined) zones(ctx context.Context, f *findings) {
	all, err := n.api.Zones(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		f.ok("powerdns.zones", n.url, "too many to list within %s: none was compared", patience)
		n.answers(ctx, f)
		return
	}
	all = powerdns.WithoutBatches(all)
	if err != nil {
		f.fail("powerdns.zones", n.url, err.Error(), "see PowerDNS's log, and that its database is well")
		n.answers(ctx, f)
		return
	}
	n.foreign(all, f)
	if !n.answers(ctx, f) {
		return
	}
	if served := n.same(ctx, n.samples(all), f); n.conf["disable-axfr"] != "yes" {
		n.transfers(ctx, served, f)
	}
}

// foreign counts zones of a secondary that are somebody's own.
func (n *examined) foreign(all []powerdns.ZoneInfo, f *findings) {
	if n.role != health.RoleSecondary {
		f.ok("powerdns.zones", n.url, "%d zones", len(all))
		return
	}
	const most = 3
	var foreign []string
	count := 0
	for _, z := range all {
		if z.Kind == powerdns.Slave {
			continue
		}
		if count++; count <= most {
			foreign = append(foreign, fmt.Sprintf("%s (%s)", z.Name, z.Kind))
		}
	}
	if count > most {
		foreign = append(foreign, "...")
	}
	if count == 0 {
		f.ok("powerdns.zones", n.url, "%d zones", len(all))
		return
	}
	f.ok("powerdns.zones", n.url, "%d zones, of them %d of other kinds than Slave, which are left alone: %s", len(all), count, strings.Join(foreign, ", "))
}

// sampled is how many zones are asked for.
const sampled = 3

// samples are zones that the role has to do with. Those with a serial come first: 0 may be one, or the lack of content.
func (n *examined) samples(all []powerdns.ZoneInfo) []powerdns.ZoneInfo {
	var with, without []powerdns.ZoneInfo
	for _, z := range all {
		own := z.Kind == powerdns.Slave
		if n.role == health.RolePrimary {
			own = z.Kind == powerdns.Native || z.Kind == powerdns.Master
		}
		switch {
		case own && z.Serial != 0:
			with = append(with, z)
		case own:
			without = append(without, z)
		}
	}
	some := append(with, without...)
	return some[:min(sampled, len(some))]
}

// answers reports whether DNS is answered at all, by UDP and by TCP.
func (n *examined) answers(ctx context.Context, f *findings) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	good := true
	for _, tcp := range []bool{false, true} {
		way := "UDP"
		if tcp {
			way = "TCP"
		}
		_, err := transfer.Serial(ctx, n.dns, zone.Root, transfer.AskOptions{TCP: tcp, Unique: true})
		if err == nil || errors.Is(err, transfer.ErrRefused) || errors.Is(err, transfer.ErrNoSOA) {
			continue
		}
		good = false
		f.fail("powerdns.dns", n.dns, "no answer by "+way+": "+err.Error(),
			"set powerdns.dns_address to an address where this PowerDNS answers (local-address and local-port of pdns.conf), and let "+way+" through to it")
	}
	if good {
		f.ok("powerdns.dns", n.dns, "answers by UDP and by TCP")
	}
	return good
}

// same reports whether the server that answers DNS is the one whose API was asked, by [origin.Reader.Prove] and by
// serials of zones, and returns those zones that it serves.
func (n *examined) same(ctx context.Context, samples []powerdns.ZoneInfo, f *findings) (served []zone.Name) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const name, remedy = "powerdns.same", "set powerdns.dns_address and powerdns.api_url to one and the same PowerDNS"
	if other, is := errors.AsType[*origin.OtherError](origin.New(n.api, n.dns, transferLimit).Prove(ctx)); is {
		f.fail(name, n.dns, other.Found, other.Remedy)
		return nil
	}
	var differs error
	for _, z := range samples {
		if err := n.compare(ctx, z.Name); err == nil {
			served = append(served, z.Name)
		} else if z.Serial != 0 {
			differs = err
		}
	}
	switch {
	case len(served) > 0:
		f.ok(name, n.dns, "answers with the serial that the API has, for %s", served[0])
	case differs != nil:
		f.fail(name, n.dns, "it does not answer with what the API at "+n.url+" has: "+differs.Error(), remedy)
	default:
		f.ok(name, n.dns, "no zone with content is there yet to compare")
	}
	return served
}

// compare asks for the serial between two looks at the API: the zone may be edited meanwhile.
func (n *examined) compare(ctx context.Context, name zone.Name) error {
	before, err := n.api.Zone(ctx, name)
	if err != nil {
		return err
	}
	answered, err := transfer.Serial(ctx, n.dns, name, transfer.AskOptions{Unique: true})
	if err != nil {
		return err
	}
	after, err := n.api.Zone(ctx, name)
	if err != nil {
		return err
	}
	if answered != after.EditedSerial && (zone.SerialNewer(before.EditedSerial, answered) || zone.SerialNewer(answered, after.EditedSerial)) {
		return fmt.Errorf("zone %s has serial %d there, and %d here", name, after.EditedSerial, answered)
	}
	return nil
}

// transferLimit is how much of a zone is enough to know that it may be transferred, in bytes.
const transferLimit = 1 << 20

// transfers tries zones until one can be transferred.
func (n *examined) transfers(ctx context.Context, served []zone.Name, f *findings) {
	const name = "powerdns.axfr"
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var refused error
	for _, z := range served {
		_, err := transfer.Fetch(ctx, transfer.FetchOptions{Address: n.dns, Limit: transferLimit}, z)
		if err == nil || errors.Is(err, transfer.ErrTooLarge) {
			f.ok(name, n.dns, "zones can be transferred from here: %s", z)
			return
		}
		refused = err
	}
	if refused != nil {
		f.fail(name, n.dns, "zones cannot be transferred from here: "+refused.Error(),
			"let this host transfer by allow-axfr-ips in pdns.conf (127.0.0.0/8,::1 for loopback), and restart PowerDNS")
	}
}
