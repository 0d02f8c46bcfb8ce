package broker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"pdns-distribute/broker"
	"pdns-distribute/broker/brokertest"
	"pdns-distribute/powerdns/must"
)

func TestEnsureStreams(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Options{Primaries: []string{"primary1"}})
	primary := b.Connect("primary1")
	first := ensure(t, primary)
	if !first.New || first.Created.IsZero() {
		t.Errorf("first: %+v", first)
	}
	if again := ensure(t, primary); again.New || !again.Created.Equal(first.Created) {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	restart(t, stopAndStart(b), primary)
	if restarted := ensure(t, primary); restarted.New || !restarted.Created.Equal(first.Created) {
		t.Errorf("after a restart: %+v, first %+v", restarted, first)
	}
	restart(t, b.Wipe, primary)
	if wiped := ensure(t, primary); !wiped.New || wiped.Created.Equal(first.Created) {
		t.Errorf("after a wipe: %+v, first %+v", wiped, first)
	}
}

func TestDeviationsAreReportedNotAltered(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	js := primary.JetStream()
	alter := func(stream string, change func(*jetstream.StreamConfig)) {
		t.Helper()
		s, err := js.Stream(t.Context(), stream)
		must.OK(t, err)
		cfg := s.CachedInfo().Config
		change(&cfg)
		_, err = js.UpdateStream(t.Context(), cfg)
		must.OK(t, err)
	}
	// What an operator may set.
	alter("PDNS_ZONE", func(c *jetstream.StreamConfig) { c.MaxBytes, c.Compression = 1<<20, jetstream.S2Compression })
	ensure(t, primary)
	// What no one may set.
	alter("PDNS_ZONE", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 })
	alter("PDNS_STATUS", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 })
	_, err := primary.EnsureStreams(t.Context(), 1)
	if !errors.Is(err, broker.ErrDeviates) {
		t.Fatal(err)
	}
	for _, part := range []string{
		"stream PDNS_ZONE: max_msgs_per_subject is 2, should be 1",
		"stream PDNS_STATUS: max_bytes is 1048576, should be -1",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q isn't in: %v", part, err)
		}
	}
	s, err := js.Stream(t.Context(), "PDNS_ZONE")
	must.OK(t, err)
	if s.CachedInfo().Config.MaxMsgsPerSubject != 2 {
		t.Error("the stream was altered")
	}
}

func TestDeviatingConsumerIsReported(t *testing.T) {
	t.Parallel()
	_, primary := start(t)
	js := primary.JetStream()
	c, err := js.Consumer(t.Context(), "PDNS_TOUCH", "primary")
	must.OK(t, err)
	cfg := c.CachedInfo().Config
	cfg.MaxAckPending = 7
	_, err = js.UpdateConsumer(t.Context(), "PDNS_TOUCH", cfg)
	must.OK(t, err)
	_, err = primary.EnsureStreams(t.Context(), 1)
	if !errors.Is(err, broker.ErrDeviates) || !strings.Contains(err.Error(), "max_ack_pending is 7, should be 65536") {
		t.Error(err)
	}
}
