package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// usage is what a role uses.
type usage struct {
	memory, descriptors, goroutines float64
}

// The most that a role may use in the end, at rest, beyond what it used at the beginning.
const (
	moreMemory      = 96 << 20
	moreDescriptors = 40
	moreGoroutines  = 60
)

func (s *soak) measureAll() map[string]usage {
	s.rest()
	all := map[string]usage{}
	for _, id := range s.targets.roles {
		if u, err := s.measure(id); err == nil {
			all[id] = u
		}
	}
	return all
}

// rest closes the connections that we hold ourselves.
func (s *soak) rest() {
	for _, p := range s.proxies {
		p.client.CloseIdleConnections()
	}
	http.DefaultClient.CloseIdleConnections()
}

func (s *soak) measure(id string) (u usage, err error) {
	text, status, err := fetchText(s.ctx, "http://"+s.fleet.Observe(id)+"/metrics")
	if err != nil || status != http.StatusOK {
		return u, fmt.Errorf("%s: status %d: %w", id, status, err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "process_resident_memory_bytes":
			u.memory = n
		case "process_open_fds":
			u.descriptors = n
		case "go_goroutines":
			u.goroutines = n
		}
	}
	return u, nil
}

// exceeds tells whether it is more than what may come with zones and caches, which are few here.
func (u usage) exceeds(before usage) bool {
	return u.memory-before.memory > moreMemory || u.descriptors-before.descriptors > moreDescriptors || u.goroutines-before.goroutines > moreGoroutines
}

// compareUsage reports roles that use far more at rest than at the beginning.
func (s *soak) compareUsage(before map[string]usage) {
	after := s.measureAll()
	for id, was := range before {
		is, measured := after[id]
		if !measured {
			continue
		}
		now, then := fmt.Sprintf("%+v", is), fmt.Sprintf("%+v", was)
		s.record.note("usage", map[string]any{"role": id, "now": now, "before": then})
		if is.exceeds(was) {
			s.record.violated(violation{Kind: "in the end: a role uses more and more", Node: id, Answer: now, Expected: "about " + then})
		}
	}
}
