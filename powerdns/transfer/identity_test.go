package transfer_test

import (
	"errors"
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
)

func TestIdentity(t *testing.T) {
	server := start(t, local.SQLite, true)
	load(t, server, "known.example.", apex+"www 60 IN A 192.0.2.1\n")
	name := zone.MustParseName("known.example")
	for _, tcp := range []bool{false, true} {
		o := transfer.AskOptions{TCP: tcp, Unique: true}
		if serial, err := transfer.Serial(t.Context(), server.DNSAddr, name, o); err != nil || serial != fetch(t, server.DNSAddr, name).Serial() {
			t.Errorf("serial %d, %v", serial, err)
		}
		if _, err := transfer.Serial(t.Context(), server.DNSAddr, zone.MustParseName("unknown.example"), o); !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("a zone that is not there: %v", err)
		}
		if _, err := transfer.Serial(t.Context(), server.DNSAddr, zone.MustParseName("www.known.example"), o); !errors.Is(err, transfer.ErrNoSOA) {
			t.Errorf("a name that is no zone: %v", err)
		}
	}
	api, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	settings, err := api.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id, err := transfer.ServerID(t.Context(), server.DNSAddr); err != nil || id == "" || id != settings["server-id"] {
		t.Errorf("%q, %v, and the API says %q", id, err, settings["server-id"])
	}
}
