package proxy

import (
	"encoding/json"
	"io"
	"strconv"

	"pdns-distribute/powerdns/zone"
)

// createdZone reads from PowerDNS's answer to a creation which zone there is now, and the serial that it shows for it.
// The answer is an object with its keys in order (4.7 to 5.1): edited_serial, which is what SOA and AXFR give, and
// name come before the records, so that neither a long answer nor one that is cut off matters. Of the name the answer
// is the one witness that cannot differ from what PowerDNS did: the request may name a zone in ways that PowerDNS
// reads otherwise.
func createdZone(answer io.Reader) (name zone.Name, serial *uint32, err error) {
	dec := json.NewDecoder(answer)
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "", nil, errNoName
	}
	for name == "" || serial == nil {
		key, err := dec.Token()
		if err != nil || !dec.More() {
			break
		}
		switch key {
		case "name":
			name, err = zone.ParseName(stringToken(dec))
		case "edited_serial":
			serial = serialToken(dec)
		case "rrsets": // behind it nothing is wanted but a serial that is in front of it as well
			err = io.EOF
		default:
			err = skipValue(dec)
		}
		if err != nil {
			break
		}
	}
	if name == "" {
		return "", nil, errNoName
	}
	return name, serial, nil
}

var errNoName = io.ErrUnexpectedEOF

func stringToken(dec *json.Decoder) string {
	t, _ := dec.Token()
	s, _ := t.(string)
	return s
}

func serialToken(dec *json.Decoder) *uint32 {
	t, _ := dec.Token()
	number, _ := t.(json.Number)
	n, err := strconv.ParseUint(number.String(), 10, 32)
	if err != nil {
		return nil
	}
	serial := uint32(n)
	return &serial
}

// skipValue reads one value token by token, so that a huge one takes no memory.
func skipValue(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
