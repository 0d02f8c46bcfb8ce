package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"pdns-distribute/powerdns/zone"
	"pdns-distribute/proxy"
	"pdns-distribute/roles/fleet"
)

// answerPatience is how long a client waits for an answer, longer than any that is held.
const answerPatience = 45 * time.Second

// entrance is a way to the API: a proxy, or PowerDNS itself.
type entrance struct {
	id, base, key string
	client        *http.Client
}

// entrances are all ways in.
type entrances struct {
	proxies []entrance
	direct  entrance // PowerDNS itself
}

func entrancesOf(f *fleet.Fleet) (all entrances, err error) {
	for _, id := range f.Roles() {
		if !strings.HasPrefix(id, "proxy") {
			continue
		}
		base, cert := f.ProxyAt(id)
		pem, err := os.ReadFile(cert)
		if err != nil {
			return all, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 64}
		all.proxies = append(all.proxies, entrance{id, base, f.Primary.APIKey.Reveal(), &http.Client{Transport: transport, Timeout: answerPatience}})
	}
	plain := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: answerPatience}
	all.direct = entrance{"PowerDNS", f.Primary.APIURL, f.Primary.APIKey.Reveal(), plain}
	return all, nil
}

// request is one to the API.
type request struct {
	method, path string
	body         any
	wait         time.Duration // to be held for so long
}

// answer is what came of it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (e entrance) do(ctx context.Context, r request) (a answer, err error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return a, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, e.base+r.path, body)
	if err != nil {
		return a, err
	}
	req.Header.Set("X-API-Key", e.key)
	if r.wait > 0 {
		req.Header.Set("Prefer", fmt.Sprintf("wait=%d", int(r.wait.Seconds())))
	}
	res, err := e.client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(res.Body)
	return a, err
}

func (e entrance) get(ctx context.Context, path string, to any) (status int, err error) {
	a, err := e.do(ctx, request{method: http.MethodGet, path: path})
	if err != nil || a.status != http.StatusOK {
		return a.status, err
	}
	return a.status, json.Unmarshal(a.body, to)
}

const server = "/api/v1/servers/localhost"

func zonePath(name zone.Name) string { return server + "/zones/" + name.ID() }

// inSync tells whether an answer says that all secondaries serve a write.
func (a answer) inSync(secondaries int) bool {
	return a.header.Get(proxy.HeaderStatus) == proxy.StatusInSync && a.header.Get(proxy.HeaderServed) == fmt.Sprintf("%d/%d", secondaries, secondaries)
}

// held is what a proxy tells of a change.
type held struct {
	Status      string `json:"status"`
	Secondaries []struct {
		Node   string `json:"node"`
		InSync bool   `json:"in_sync"`
	} `json:"secondaries"`
}

// hold asks a proxy for a change until it is in sync, or the time is up.
func (e entrance) hold(ctx context.Context, change string, wait time.Duration, secondaries int) (bool, error) {
	var h held
	a, err := e.do(ctx, request{method: http.MethodGet, path: "/distribute/v1/changes/" + change, wait: wait})
	if err != nil {
		return false, err
	}
	if a.status != http.StatusOK {
		return false, fmt.Errorf("change %s: %d: %s", change, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &h); err != nil {
		return false, err
	}
	return h.Status == proxy.StatusInSync && len(h.Secondaries) == secondaries, nil
}

// zoneDocument is a zone as the API shows it.
type zoneDocument struct {
	Kind         string `json:"kind"`
	DNSSEC       bool   `json:"dnssec"`
	NSEC3Param   string `json:"nsec3param"`
	EditedSerial uint32 `json:"edited_serial"`
	RRsets       []rrsetDocument
}

type rrsetDocument struct {
	Name    string
	Type    string
	Records []struct{ Content string }
}

// cryptokey is a key as the API shows it.
type cryptokey struct {
	ID        int  `json:"id"`
	Active    bool `json:"active"`
	Published bool `json:"published"`
}

// look reads what the primary PowerDNS has of a zone, past proxies and relays.
func (e entrance) look(ctx context.Context, name zone.Name) (v version, err error) {
	v.tags = map[string]int{}
	var doc zoneDocument
	status, err := e.get(ctx, zonePath(name), &doc)
	if err != nil || status == http.StatusNotFound {
		return v, err
	}
	if status != http.StatusOK {
		return v, fmt.Errorf("zone %s: status %d", name, status)
	}
	v.exists, v.signed, v.serial = true, doc.DNSSEC, doc.EditedSerial
	v.distributed = doc.Kind == "Native" || doc.Kind == "Master"
	if v.signed {
		v.nsec3 = doc.NSEC3Param
	}
	v.fragment = !slices.ContainsFunc(doc.RRsets, func(set rrsetDocument) bool { return set.Type == "SOA" })
	v.readTags(name, doc)
	var cds struct{ Metadata []string }
	if _, err := e.get(ctx, zonePath(name)+"/metadata/PUBLISH-CDS", &cds); err != nil {
		return v, err
	}
	v.cds = len(cds.Metadata) > 0
	v.keys, err = e.publishedKeys(ctx, name, v.signed)
	return v, err
}

func (v *version) readTags(name zone.Name, doc zoneDocument) {
	for _, set := range doc.RRsets {
		label := strings.TrimSuffix(strings.TrimSuffix(set.Name, name.String()), ".")
		if set.Type == "SOA" || label == "" && set.Type == "NS" || len(set.Records) == 0 {
			continue
		}
		if strings.HasPrefix(label, "h") && set.Type == "A" {
			label = fillKey
			v.fill++
		}
		v.tags[label] = tagOf(set.Records[0].Content)
	}
}

var (
	tagText  = regexp.MustCompile(`v ?(\d+)`)
	tagBytes = regexp.MustCompile(`^10\.(\d+)\.(\d+)\.(\d+)$`)
)

// tagOf reads the tag out of a record in presentation form.
func tagOf(content string) int {
	if m := tagBytes.FindStringSubmatch(content); m != nil {
		return number(m[1])<<16 | number(m[2])<<8 | number(m[3])
	}
	if m := tagText.FindStringSubmatch(content); m != nil {
		return number(m[1])
	}
	return -1
}

func (e entrance) cryptokeys(ctx context.Context, name zone.Name) (keys []cryptokey, err error) {
	_, err = e.get(ctx, zonePath(name)+"/cryptokeys", &keys)
	return keys, err
}

func (e entrance) publishedKeys(ctx context.Context, name zone.Name, signed bool) (n int, err error) {
	if !signed {
		return 0, nil
	}
	keys, err := e.cryptokeys(ctx, name)
	for _, k := range keys {
		if k.Published {
			n++
		}
	}
	return n, err
}
