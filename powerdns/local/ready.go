package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
)

// startLimit bounds the wait for a started server, for callers whose context has no end.
const startLimit = time.Minute

// While waiting: the time for one answer, and the pauses between questions, growing from shortest to longest.
const (
	probeTimeout  = time.Second
	shortestPause = 5 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)

var (
	errEnded     = errors.New("pdns_server ended")
	errPortTaken = errors.New("another program has one of the ports")
)

// waitReady returns when the process answers over its API and over DNS. Another server on the same ports isn't taken
// for it: the API key and the server id are new with every Server.
func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	cfg := s.Config()
	cfg.Timeout = probeTimeout
	client, err := powerdns.NewClient(cfg)
	if err != nil {
		return err
	}
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		ended := s.process.ended() // looked at before the log, which is then complete
		err := s.answers(ctx, client)
		switch {
		case err == nil:
			return nil
		case s.portTaken():
			return errPortTaken
		case ended:
			return errEnded
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// portTaken reads it in the log: PowerDNS 4.7 ends when it can't have its DNS port, but only complains and runs on
// without its API when it can't have that of the webserver.
func (s *Server) portTaken() bool {
	return strings.Contains(s.logTail(), "Address already in use")
}

func (s *Server) answers(ctx context.Context, client *powerdns.Client) error {
	if _, err := client.Server(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	id, err := transfer.ServerID(ctx, s.DNSAddr)
	if err == nil && id != s.id {
		err = fmt.Errorf("another server (%q) answers at %s", id, s.DNSAddr)
	}
	return err
}
