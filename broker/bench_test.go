package broker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// report gives the median and the 99th percentile beside the mean.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkTouchDelivery is the time from publishing a touch, in a proxy, to its delivery in the primary.
func BenchmarkTouchDelivery(b *testing.B) {
	srv, primary := start(b)
	proxy := srv.Connect("proxy1")
	got, _ := touches(b, primary, nil)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		touch(b, proxy, fmt.Sprintf("z%d.example", i%1000))
		m := receive(b, got)
		took = append(took, time.Since(begun))
		must.OK(b, m.Ack())
	}
	report(b, took)
}

// BenchmarkTouchPublish is what a touch adds to a proxy's answer.
func BenchmarkTouchPublish(b *testing.B) {
	srv, _ := start(b)
	proxy := srv.Connect("proxy1")
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begun := time.Now()
		touch(b, proxy, fmt.Sprintf("z%d.example", i%1000))
		took = append(took, time.Since(begun))
	}
	report(b, took)
}

// BenchmarkStateDelivery is the time from publishing a state of 600 bytes to its delivery in a secondary.
func BenchmarkStateDelivery(b *testing.B) {
	srv, primary := start(b)
	must.OK(b, primary.ProvisionFeed(b.Context(), "sec1"))
	got, _ := feed(b, srv.Connect("sec1"), nil)
	data := make([]byte, 600)
	last := make(map[zone.Name]uint64)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		name := zone.MustParseName(fmt.Sprintf("z%d.example", i%1000))
		begun := time.Now()
		seq, err := primary.PublishState(b.Context(), name, data, broker.StateHeader{Kind: broker.KindZone}, last[name])
		must.OK(b, err)
		m := receive(b, got)
		took = append(took, time.Since(begun))
		must.OK(b, m.Ack())
		last[name] = seq
	}
	report(b, took)
}

// BenchmarkPutBlobs is for a zone of 300 blobs of 40 KB.
func BenchmarkPutBlobs(b *testing.B) {
	_, primary := start(b)
	blobs := randomBlobs(b, 300, 40<<10)
	b.SetBytes(300 * 40 << 10)
	for b.Loop() {
		_, err := primary.PutBlobs(b.Context(), blobs)
		must.OK(b, err)
	}
}

// BenchmarkFeedBacklog is a secondary that takes in a backlog of 10,000 states.
func BenchmarkFeedBacklog(b *testing.B) {
	srv, primary := start(b)
	for i := range 10_000 {
		publish(b, primary, fmt.Sprintf("z%d.example", i), "600 bytes would be more")
	}
	sec := srv.Connect("sec1")
	for b.Loop() {
		must.OK(b, primary.ProvisionFeed(b.Context(), "sec1"))
		got, stop := feed(b, sec, nil)
		for range 10_000 {
			must.OK(b, receive(b, got).Ack())
		}
		stop()
		must.OK(b, primary.RemoveFeed(b.Context(), "sec1"))
	}
}
