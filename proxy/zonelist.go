package proxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"pdns-distribute/powerdns/zone"
)

// maxListed is how long one zone's entry in a listing may be in bytes. PowerDNS needs some 400.
const maxListed = 64 << 10

// filterListing leaves in PowerDNS's answer to GET /zones the zones that the client may see, as the answer is read. An
// answer that is no plain list of zones is an error, at once or when the body is read so far.
func filterListing(res *http.Response, visible func(zone.Name) bool) error {
	if res.StatusCode != http.StatusOK {
		return nil
	}
	if err := plainEncoding(res); err != nil {
		return err
	}
	from := &io.LimitedReader{R: res.Body, N: maxListed}
	list := &listing{from: from, in: json.NewDecoder(from), visible: visible}
	if open, err := list.in.Token(); err != nil || open != json.Delim('[') {
		return errors.New("the answer is no list of zones")
	}
	list.text = []byte("[")
	res.Body = struct {
		io.Reader
		io.Closer
	}{list, res.Body}
	res.ContentLength = -1
	res.Header.Del("Content-Length")
	return nil
}

// plainEncoding refuses an answer that cannot be read here. PowerDNS compresses none.
func plainEncoding(res *http.Response) error {
	if coding := res.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return fmt.Errorf("the answer is encoded as %.20q and cannot be checked", coding)
	}
	return nil
}

// listing reads a list of zones, and gives out what of it is visible.
type listing struct {
	from    *io.LimitedReader // refilled for each entry
	in      *json.Decoder
	visible func(zone.Name) bool

	text []byte // to be given out
	some bool   // entries are before it
	err  error  // io.EOF once the list is at its end
}

// Read fills p, as long as there is more: each piece goes to the client by itself.
func (l *listing) Read(p []byte) (int, error) {
	for len(l.text) < len(p) && l.err == nil {
		l.err = l.next()
	}
	if len(l.text) == 0 {
		return 0, l.err
	}
	n := copy(p, l.text)
	l.text = l.text[n:]
	return n, nil
}

// next reads one entry, or the end of the list.
func (l *listing) next() error {
	l.from.N = maxListed
	if !l.in.More() {
		if _, err := l.in.Token(); err != nil {
			return fmt.Errorf("the list of zones breaks off: %w", err)
		}
		l.text = append(l.text, ']')
		return io.EOF
	}
	var entry json.RawMessage
	if err := l.in.Decode(&entry); err != nil {
		return fmt.Errorf("the list of zones breaks off: %w", err)
	}
	if !l.mayShow(entry) {
		return nil
	}
	if l.some {
		l.text = append(l.text, ", "...)
	}
	l.some = true
	l.text = append(l.text, entry...)
	return nil
}

// mayShow leaves out what names no zone, such as the variants of PowerDNS 5, which are not distributed.
func (l *listing) mayShow(entry json.RawMessage) bool {
	var named struct {
		Name zone.Name `json:"name"`
	}
	return json.Unmarshal(entry, &named) == nil && named.Name != "" && l.visible(named.Name)
}
