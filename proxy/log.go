package proxy

import (
	"errors"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxEach is how many lines about single requests are written a minute; the metrics count them all.
	maxEach = 100

	// maxField is how much of what a client sent a line holds.
	maxField = 256
)

// sampled is for lines that clients cause.
func sampled(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: maxEach, Period: time.Minute})
}

func clip(text string) string {
	if len(text) <= maxField {
		return text
	}
	return text[:maxField-3] + "..."
}

// serverLog takes what net/http logs: handshakes that failed and the like, all of it by clients.
type serverLog struct{ to zerolog.Logger }

// Write takes one line.
func (l serverLog) Write(line []byte) (int, error) {
	l.to.Debug().Msg(clip(string(line)))
	return len(line), nil
}

// failed logs what kept a request from being answered.
func (p *Proxy) failed(r *http.Request, err error) {
	level, message := zerolog.ErrorLevel, "PowerDNS did not answer"
	switch {
	case errors.Is(err, errOwnKey):
		message = "a request with a scoped API key could not be passed on"
	case errors.As(err, new(clientError)):
		level, message = zerolog.DebugLevel, "the client left"
	case errors.Is(err, errCrowded), errors.Is(err, errNoPlace):
		level, message = zerolog.WarnLevel, "a request was not passed on: PowerDNS is busy; see proxy.max_upstream"
	}
	to := p.strangers
	if admissionOf(r.Context()).trusted() {
		to = p.each
	}
	to.WithLevel(level).Str("error", clip(err.Error())).Str("method", clip(r.Method)).
		Str("path", clip(r.URL.EscapedPath())).Msg(message)
}
