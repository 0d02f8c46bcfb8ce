package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxCryptokeys is how long an answer with DNSSEC keys may be in bytes. One key takes some 2 KB.
const maxCryptokeys = 4 << 20

// showsPrivateKeys reports whether PowerDNS's answer to this path may hold private keys: those of cryptokeys do, of one
// key and, in the answer to its creation, of a new one. It goes by the name of the field, however it is spelt, so that
// no way around it is found in how a path is read.
func showsPrivateKeys(escapedPath string) bool {
	return strings.Contains(spelledOut(escapedPath), "cryptokeys")
}

// spelledOut is a path in lower case without percent signs, those that were encoded themselves included.
func spelledOut(escapedPath string) string { return strings.ToLower(decodedWholly(escapedPath)) }

// withoutPrivateKeys takes each member privatekey out of PowerDNS's answer. One that cannot be read is an error.
func withoutPrivateKeys(res *http.Response) error {
	if res.StatusCode >= 300 || res.Request != nil && res.Request.Method == http.MethodHead {
		return nil
	}
	if err := plainEncoding(res); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxCryptokeys+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxCryptokeys:
		return fmt.Errorf("the answer has more than %d bytes and cannot be checked for private keys", maxCryptokeys)
	case len(bytes.TrimSpace(text)) > 0:
		if text, err = cutPrivateKeys(text); err != nil {
			return err
		}
	}
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(text))
	if res.StatusCode != http.StatusNoContent {
		res.ContentLength = int64(len(text))
		res.Header.Set("Content-Length", strconv.Itoa(len(text)))
	}
	return nil
}

func cutPrivateKeys(text []byte) ([]byte, error) {
	value, err := decodeStrictly(text)
	if err != nil {
		return nil, errors.New("the answer is not JSON and cannot be checked for private keys")
	}
	cutMember(value, "privatekey")
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func cutMember(value any, name string) {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			if strings.EqualFold(key, name) {
				delete(v, key)
			} else {
				cutMember(below, name)
			}
		}
	case []any:
		for _, item := range v {
			cutMember(item, name)
		}
	}
}
