package proxy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/timing"
)

type metrics struct {
	requestMetrics
	touches *prometheus.CounterVec
	waiting prometheus.Gauge
	expiry  *prometheus.GaugeVec

	// Of answers that are held, and of changes whether or not somebody waits for them.
	held      prometheus.Gauge
	waits     *prometheus.CounterVec
	heldFor   *prometheus.HistogramVec
	served    *prometheus.HistogramVec
	servedAll prometheus.Histogram
}

// requestMetrics are those of requests, whatever they do.
type requestMetrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	inFlight prometheus.Gauge
	refused  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requestMetrics: newRequestMetrics(reg),
		touches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_touches_total",
			Help: "Writes by what became of their touch: stored at once, or pending because the broker was down.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_pending_touches", Help: "Zones whose touch is not stored at the broker yet.",
		}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_key_expiry_timestamp_seconds",
			Help: "When a scoped API key ends; one without an end has none.",
		}, []string{"key"}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_held_answers",
			Help: "Answers that are being held until their change is served everywhere.",
		}),
		waits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_waits_total",
			Help: "Answers that were held, by how the change stood in the end: insync, pending.",
		}, []string{"status"}),
		heldFor: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pdns_distribute_proxy_wait_seconds",
			Help:    "How long answers were held, by how the change stood in the end: insync, pending.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}, []string{"status"}),
		served: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pdns_distribute_proxy_served_seconds",
			Help: "From PowerDNS's answer to a write until a secondary was known to serve it, within 10 minutes. " +
				"What takes longer, health_lag_seconds shows.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}, []string{"secondary"}),
		servedAll: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pdns_distribute_proxy_propagation_seconds",
			Help: "From PowerDNS's answer to a write until all active secondaries were known to serve it, within 10 minutes.",

			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}),
	}
	for _, result := range []string{touchStored, touchPending} {
		m.touches.WithLabelValues(result)
	}
	for _, status := range []string{waitInSync, waitPending} {
		m.waits.WithLabelValues(status)
		m.heldFor.WithLabelValues(status)
	}
	reg.MustRegister(m.touches, m.waiting, m.expiry, m.held, m.waits, m.heldFor, m.served, m.servedAll)
	return m
}

func newRequestMetrics(reg prometheus.Registerer) requestMetrics {
	m := requestMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_requests_total", Help: "Requests by method and status.",
		}, []string{"method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "pdns_distribute_proxy_request_duration_seconds",
			Help:    "From a request's header to the end of its answer, without the time that the answer was held.",
			Buckets: timing.Buckets, NativeHistogramBucketFactor: timing.Factor,
			NativeHistogramMaxBucketNumber: timing.MaxBuckets,
		}, []string{"method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pdns_distribute_proxy_requests_in_flight", Help: "Requests that are being answered, those held included.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pdns_distribute_proxy_refused_total",
			Help: "Requests that the proxy refused by their API key, by its id and the reason: key, scope, rate, deletions.",
		}, []string{"key", "reason"}),
	}
	for _, method := range methods {
		m.took.WithLabelValues(method)
		for _, status := range usualStatuses {
			m.requests.WithLabelValues(method, fmt.Sprint(status))
		}
	}
	m.refused.WithLabelValues("", refusedKey)
	reg.MustRegister(m.requests, m.took, m.inFlight, m.refused)
	return m
}

// What becomes of touches and of held answers, in metrics.
const (
	touchStored  = "stored"
	touchPending = "pending"
	waitInSync   = "insync"
	waitPending  = "pending"
)

// methods are those that labels name; clients may send any token as a method.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, otherMethod,
}

const otherMethod = "other"

// usualStatuses are counted from the start, so that the first one of them shows as an increase.
var usualStatuses = []int{
	http.StatusOK, http.StatusCreated, http.StatusNoContent, http.StatusUnauthorized, http.StatusNotFound,
	http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return otherMethod
}

// count keeps the metrics of requests, of those as well whose answer breaks off.
func (p *Proxy) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		begin, method := time.Now(), methodLabel(r.Method)
		p.metrics.inFlight.Inc()
		defer func() {
			p.metrics.inFlight.Dec()
			p.metrics.requests.WithLabelValues(method, fmt.Sprint(s.status)).Inc()
			p.metrics.took.WithLabelValues(method).Observe((time.Since(begin) - s.held).Seconds())
		}()
		next.ServeHTTP(s, r.WithContext(context.WithValue(r.Context(), writerKey{}, s)))
	})
}

// statusWriter remembers the status, and for how long the answer was held.
type statusWriter struct {
	http.ResponseWriter
	status int
	held   time.Duration
}

type writerKey struct{}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the writer underneath.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// noteHeld counts an answer that was held since then.
func (m *metrics) noteHeld(r *http.Request, begin time.Time, status string) {
	took := time.Since(begin)
	m.waits.WithLabelValues(status).Inc()
	m.heldFor.WithLabelValues(status).Observe(took.Seconds())
	if s, ok := r.Context().Value(writerKey{}).(*statusWriter); ok {
		s.held += took
	}
}

// metric is since when a touch has been pending.
func (p *pendingTouches) metric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_proxy_oldest_pending_touch_seconds",
		Help: "How long the oldest touch has been waiting to be stored at the broker; 0: none waits.",
	}, func() float64 { return p.oldest(time.Now()).Seconds() })
}
