package proxy

import (
	"bytes"
	"io"
	"net/http"
)

// resending sends a request of a scoped key a second time where PowerDNS refuses its own key: it may have been
// exchanged.
type resending struct{ *upstream }

// RoundTrip returns an error that wraps errOwnKey in the place of PowerDNS's 401, which would mean to the client that
// its key is wrong.
func (t resending) RoundTrip(r *http.Request) (*http.Response, error) {
	a := admissionOf(r.Context())
	if a.renew == nil {
		return t.upstream.RoundTrip(r)
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil { // it was read before, to be checked
			return nil, clientError{err}
		}
	}
	res, err := t.send(r, a.send, body)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		return res, err
	}
	res.Body.Close()
	key, err := a.renew()
	if err != nil {
		return nil, err
	}
	res, err = t.send(r, key, body)
	if err == nil && res.StatusCode == http.StatusUnauthorized {
		res.Body.Close()
		return nil, errOwnKey
	}
	return res, err
}

func (t resending) send(r *http.Request, key string, body []byte) (*http.Response, error) {
	again := r.Clone(r.Context())
	again.Header[keyHeader] = []string{key}
	if r.Body != nil {
		again.Body = io.NopCloser(bytes.NewReader(body))
	}
	return t.upstream.RoundTrip(again)
}
