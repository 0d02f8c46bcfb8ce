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
	touch uint64 // 0: it was pending here
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
	Node     string     `json:"node"`
	InSync   bool       `json:"in_sync"`
	Answered bool       `json:"answered"` // false: what the secondary serves is not known
	Gone     bool       `json:"gone,omitempty"`
	Serial   uint32     `json:"serial,omitempty"`
	Digest   string     `json:"digest,omitempty"` // RFC 8976 SIMPLE, SHA-384, hex
	Since    *time.Time `json:"since,omitempty"`  // when the secondary was found to serve this
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
	r.Use(hurried)
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

// hurried ends connections of clients that do not send the body that they announced, which net/http would wait for
// behind the answer, or do not take their answer. The admission's check is for what goes on to PowerDNS; which zones
// the client may know of is looked at in answerFor.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := clientOf(r.Context())
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

// apiPatience is how long nodes may take to publish what they serve, when the client does not say otherwise.
const apiPatience = time.Second

// answerFor finds out how the change stands, once it is sure that the client may know.
func (p *Proxy) answerFor(w http.ResponseWriter, r *http.Request, c change, form func(Progress) any) {
	if !admissionOf(r.Context()).covered(c.zone) { // as of a zone that never was
		answerError(w, http.StatusNotFound, http.StatusText(http.StatusNotFound))
		return
	}
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
	watch := p.tracker.watch(c.zone, false)
	defer watch.stop()
	if access == http.StatusNotFound && c.wasPending() && !watch.published(ctx) { // nothing is touched for a made-up name
		answerError(w, access, http.StatusText(access))
		return
	}
	now := p.standing(ctx, watch, c, asked)
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

// standing is how a change stands, or a zone. Nothing is known of what waits here.
func (p *Proxy) standing(ctx context.Context, w *watch, c change, patient bool) Progress {
	stored := true
	if c.wasPending() {
		c.touch, stored = p.pending.place(ctx, c)
	}
	var now Progress
	if stored && patient {
		w.ask()
		now = w.await(ctx, c.touch)
	} else {
		now = w.learn(ctx, c.touch)
	}
	if !stored || p.pending.has(c.zone) {
		now.Settled, now.Secondaries = nil, nil
	}
	return now
}

// wasPending reports whether the change's touch had no place yet when its id was made. A zone that is asked for has no
// time.
func (c change) wasPending() bool { return c.touch == 0 && !c.at.IsZero() }

// deleted reports whether there was such a zone, and is no more.
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
		if s.Applied != nil {
			a := s.Applied
			j.Answered, j.Gone, j.Serial, j.Digest, j.Since = true, a.Gone, a.Serial, a.Digest, &a.At
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

// access is PowerDNS's answer to whether the client, whom the gate let in, may read the zone: 200, 404, or what to
// refuse with.
func (p *Proxy) access(r *http.Request, name zone.Name) int {
	res, err := p.read(r, "/zones/"+name.ID()+"?rrsets=false")
	if err != nil {
		p.failed(r, err)
		return http.StatusBadGateway
	}
	admissionOf(r.Context()).heard(r, res.status)
	switch {
	case res.status == http.StatusUnprocessableEntity: // a name that PowerDNS does not take
		return http.StatusNotFound
	case res.status >= 300 && res.status < 400 || res.status >= 500:
		return http.StatusBadGateway
	}
	return res.status
}

// read asks PowerDNS with the client's key, or with the one that it stands for.
func (p *Proxy) read(r *http.Request, path string) (*refusal, error) {
	a, key := admissionOf(r.Context()), r.Header[keyHeader]
	if a.send != "" {
		key = []string{a.send}
	}
	res, err := p.gate.get(p.gate.probe+path, http.Header{keyHeader: key}, a.lane, a.from)
	if err != nil || res.status != http.StatusUnauthorized || a.renew == nil {
		return res, err
	}
	again, err := a.renew()
	if err != nil {
		return nil, err
	}
	res, err = p.gate.get(p.gate.probe+path, http.Header{keyHeader: {again}}, a.lane, a.from)
	if err == nil && res.status == http.StatusUnauthorized {
		err = errOwnKey
	}
	return res, err
}
