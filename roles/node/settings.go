package node

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns"
	"pdns-distribute/roles/observe"
)

// Settings are those of the PowerDNS beside a role, held against the table of powerdns.SettingsOf. It is safe for
// concurrent use.
type Settings struct {
	api   *powerdns.Client
	side  powerdns.Side
	ready *observe.Readiness
	log   zerolog.Logger

	// Under mu.
	mu     sync.Mutex
	values map[string]string
	unfit  []powerdns.Unfit
}

// NewSettings returns settings that are not known until Read.
func NewSettings(
	api *powerdns.Client, side powerdns.Side, ready *observe.Readiness, log zerolog.Logger,
) *Settings {
	return &Settings{api: api, side: side, ready: ready, log: log}
}

// CondSettings is the readiness condition of settings of PowerDNS that keep zones from being distributed.
const CondSettings = "settings"

// Read reads the settings, which change when PowerDNS is started, and judges them.
func (s *Settings) Read(ctx context.Context) (map[string]string, error) {
	values, err := s.api.Config(ctx)
	if err != nil {
		return nil, err
	}
	unfit := powerdns.Judge(s.side, values)
	s.mu.Lock()
	defer s.mu.Unlock()
	news := !slices.Equal(texts(unfit, isHarmful), texts(s.unfit, isHarmful))
	s.values, s.unfit = values, unfit
	if breaking := texts(unfit, isBreaking); len(breaking) > 0 {
		s.ready.Set(CondSettings, strings.Join(breaking, "; "))
	} else {
		s.ready.Clear(CondSettings)
	}
	if all := texts(unfit, isHarmful); news && len(all) > 0 {
		s.log.Warn().Strs("settings", all).Msg("PowerDNS runs with settings that break or harm the distribution")
	}
	return values, nil
}

// Warnings are the settings that work and should be changed.
func (s *Settings) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return texts(s.unfit, func(u powerdns.Unfit) bool { return u.Weight == powerdns.Harmful })
}

// causeOf is powerdns.CauseOf with these settings.
func (s *Settings) causeOf(said ...string) (powerdns.Cause, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return powerdns.CauseOf(s.side, s.values, said...)
}

func isBreaking(u powerdns.Unfit) bool { return u.Weight == powerdns.Breaking }

func isHarmful(u powerdns.Unfit) bool { return u.Weight >= powerdns.Harmful }

func texts(unfit []powerdns.Unfit, which func(powerdns.Unfit) bool) (list []string) {
	for _, u := range unfit {
		if which(u) {
			list = append(list, "PowerDNS runs with "+u.String())
		}
	}
	return list
}
