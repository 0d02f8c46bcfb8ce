package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pdns-distribute/powerdns/zone"
)

// The proxy's own API, below apiPath: how far the distribution of a zone or of a change is. Who asks must have a key
// with which PowerDNS lets them read the zone; the proxy asks PowerDNS with it.
const apiPath = "/distribute/v1"

// change is one write. Its id holds all that is needed to look it up, at any proxy, also after a restart.
type change struct {
	zone  zone.Name
	touch uint64 // 0: it was queued here
	at    time.Time
}

func (c change) id() string {
	return fmt.Sprintf("%d-%d-%s", c.touch, c.at.UnixMicro(), c.zone.ID())
}

func parseChange(id string) (c change, err error) {
	parts := strings.SplitN(id, "-", 3)
	if len(parts) != 3 {
		return c, fmt.Errorf("%q is no id of a change", id)
	}
	touch, err1 := strconv.ParseUint(parts[0], 10, 64)
	micro, err2 := strconv.ParseInt(parts[1], 10, 64)
	name, err3 := zone.ParseID(parts[2])
	return change{zone: name, touch: touch, at: time.UnixMicro(micro)}, errors.Join(err1, err2, err3)
}

// standingJSON and the two answers are the API's form.
type standingJSON struct {
	Node   string     `json:"node"`
	InSync bool       `json:"in_sync"`
	Told   bool       `json:"told"` // false: it has not told what it serves
	Gone   bool       `json:"gone,omitempty"`
	Serial uint32     `json:"serial,omitempty"`
	Digest string     `json:"digest,omitempty"` // RFC 8976 SIMPLE, SHA-384, hex
	Since  *time.Time `json:"since,omitempty"`  // when it was found to serve this
}

type zoneJSON struct {
	Zone        string         `json:"zone"`
	Status      string         `json:"status"`
	Gone        bool           `json:"gone,omitempty"` // there is no such zone to be distributed
	Serial      uint32         `json:"serial,omitempty"`
	Digest      string         `json:"digest,omitempty"`
	Published   *time.Time     `json:"published,omitempty"`
	Secondaries []standingJSON `json:"secondaries"`
}

type changeJSON struct {
	ID          string         `json:"id"`
	Zone        string         `json:"zone"`
	Status      string         `json:"status"`
	Accepted    time.Time      `json:"accepted"`
	InSync      *time.Time     `json:"in_sync,omitempty"` // when the last secondary was found to serve it, or a later one
	TookMS      *float64       `json:"took_ms,omitempty"`
	Secondaries []standingJSON `json:"secondaries"`
}

// api answers what is below apiPath. Nothing of it reaches PowerDNS.
func (p *Proxy) api(r chi.Router) {
	r.Use(p.withPatience)
	r.Get("/zones/{zone}", func(w http.ResponseWriter, r *http.Request) {
		name, err := zone.ParseID(pathParam(r, "zone"))
		if err != nil {
			answerError(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		p.answerFor(w, r, change{zone: name}, func(now Progress) any { return zoneAnswer(now) })
	})
	r.Get("/changes/{id}", func(w http.ResponseWriter, r *http.Request) {
		c, err := parseChange(pathParam(r, "id"))
		if err != nil {
			answerError(w, http.StatusNotFound, "there is no such change; its id is in the header "+HeaderChange+" of the answer to the write")
			return
		}
		p.answerFor(w, r, c, func(now Progress) any { return changeAnswer(c, now) })
	})
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { answerError(w, http.StatusNotFound, "Not Found") })
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "GET")
		answerError(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	})
}

// withPatience ends connections of clients that do not send the body that they announced, which net/http would wait for
// behind the answer, or do not take their answer.
func (p *Proxy) withPatience(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := newClient(w, r, p.cfg.StallTimeout)
		defer c.finish()
		c.hurry()
		next.ServeHTTP(&clientWriter{w, c}, r)
	})
}

func pathParam(r *http.Request, key string) string {
	value := chi.URLParam(r, key)
	if plain, err := url.PathUnescape(value); err == nil && r.URL.RawPath != "" {
		return plain
	}
	return value
}

// apiPatience is how long nodes may take to tell how they are, when the client does not say otherwise.
const apiPatience = time.Second

// answerFor finds out how the change stands, once it is sure that the client may know.
func (p *Proxy) answerFor(w http.ResponseWriter, r *http.Request, c change, form func(Progress) any) {
	access := p.access(r, c.zone)
	if access >= 400 && access != http.StatusNotFound {
		answerError(w, access, http.StatusText(access))
		return
	}
	patience, asked := preferredWait(r.Header)
	if !asked {
		patience = apiPatience
	}
	patience = min(patience, p.cfg.MaxWait)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	defer context.AfterFunc(p.stopping, cancel)()
	watch := p.tracker.watch(c.zone)
	defer watch.stop()
	now := watch.learn(ctx, c.touch, asked)
	if p.dirty.has(c.zone) {
		now.Settled, now.Secondaries = nil, nil
	}
	if access == http.StatusNotFound && !now.deleted() { // it may exist for others
		answerError(w, access, http.StatusText(access))
		return
	}
	if asked {
		w.Header().Set("Preference-Applied", fmt.Sprintf("wait=%d", int(patience.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(form(now)) // fails when the client is gone
}

// deleted tells whether there was such a zone, and is no more.
func (p Progress) deleted() bool {
	return p.Settled != nil && p.Settled.Gone && !p.Settled.Published.IsZero()
}

func answerError(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

func (p Progress) status() string {
	if p.InSync() {
		return StatusInSync
	}
	return StatusPending
}

func (p Progress) json() []standingJSON {
	list := make([]standingJSON, 0, len(p.Secondaries))
	for _, s := range p.Secondaries {
		j := standingJSON{Node: s.Node, InSync: s.InSync}
		if s.Told != nil {
			j.Told, j.Gone, j.Serial, j.Digest, j.Since = true, s.Told.Gone, s.Told.Serial, s.Told.Digest, &s.Told.At
		}
		list = append(list, j)
	}
	return list
}

func zoneAnswer(now Progress) zoneJSON {
	j := zoneJSON{Zone: now.Zone.String(), Status: now.status(), Secondaries: now.json()}
	if s := now.Settled; s != nil {
		j.Gone, j.Serial, j.Digest = s.Gone, s.Serial, s.Digest
		if !s.Published.IsZero() {
			j.Published = &s.Published
		}
	}
	return j
}

func changeAnswer(c change, now Progress) changeJSON {
	j := changeJSON{ID: c.id(), Zone: c.zone.String(), Status: now.status(), Accepted: c.at.UTC(), Secondaries: now.json()}
	if now.InSync() {
		at := now.at()
		took := max(0, float64(at.Sub(c.at))/float64(time.Millisecond)) // their clocks and ours
		j.InSync, j.TookMS = &at, &took
	}
	return j
}

// access is PowerDNS's answer to whether the client may read the zone: 200, 404, or what to refuse with.
func (p *Proxy) access(r *http.Request, name zone.Name) int {
	status := p.tryKey(r, "/zones/"+name.ID()+"?rrsets=false")
	if status == http.StatusNotFound || status == http.StatusUnprocessableEntity {
		if status = p.tryKey(r, ""); status == http.StatusOK { // the key is good, the zone isn't there
			return http.StatusNotFound
		}
	}
	return status
}

func (p *Proxy) tryKey(r *http.Request, path string) int {
	ctx, cancel := context.WithTimeout(r.Context(), p.cfg.UpstreamTimeout)
	defer cancel()
	target := "http://" + p.upstream.address + "/api/v1/servers/" + url.PathEscape(p.serverID) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return http.StatusBadGateway
	}
	for _, h := range []string{"X-Api-Key", "Authorization"} {
		req.Header[h] = r.Header[h]
	}
	res, err := p.upstream.RoundTrip(req)
	if err != nil {
		return http.StatusBadGateway
	}
	res.Body.Close()
	if res.StatusCode >= 300 && res.StatusCode < 400 || res.StatusCode >= 500 {
		return http.StatusBadGateway
	}
	return res.StatusCode
}
