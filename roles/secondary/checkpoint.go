package secondary

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pdns-distribute/health"
	"pdns-distribute/roles/checkpoint"
	"pdns-distribute/roles/work"
)

// judgeByCheckpoints has the secondary compare what its store comes to hold with the primaries' checkpoints. Without
// trusted keys there are none to believe.
func (s *Secondary) judgeByCheckpoints() {
	if !s.verifier.signed() {
		return
	}
	s.judge = checkpoint.NewJudge(s.verifier.trusted, s.cfg.Workers)
	for state, err := range s.store.States() {
		if err == nil { // else it is as good as missing, and shows as that
			s.judge.Stored(state)
		}
	}
	s.store.OnChange(s.judge.Stored)
	s.Ready.Alarms(func() any { return s.incomplete() })
	registerCheckpointMetrics(s.Registry, s.judge)
}

// incomplete are the alarms that follow from checkpoints.
func (s *Secondary) incomplete() []health.Group {
	p := health.Presence{Node: s.ID, Role: health.RoleSecondary}
	p.Secondary.Checkpoint = presenceOf(s.judge.Verdict())
	r := health.Row{Presence: p}
	return health.Grouped(r.CheckpointAlarms())
}

func presenceOf(v checkpoint.Verdict) *health.Checkpoint {
	return &health.Checkpoint{
		At: v.At, Signed: v.Signed, Here: v.Here, Since: v.Since,
		Filling: v.Filling, Incomplete: v.Incomplete, Silent: v.Silent,
	}
}

// followCheckpoints judges by each checkpoint, and each second by what came meanwhile.
func (s *Secondary) followCheckpoints(ctx context.Context) error {
	if s.judge == nil {
		return nil
	}
	for ctx.Err() == nil {
		stop, err := s.Conn.SubscribeCheckpoint(ctx, func(node string, signed []byte) {
			if err := s.judge.Receive(signed); err != nil {
				s.Each.Warn().Err(err).Str("primary", node).Msg("checkpoint refused")
			}
		})
		if err != nil {
			return err
		}
		s.keepJudging(ctx)
		stop()
	}
	return nil
}

// subscribeAgain is after how long without a checkpoint the subscription is made anew: a broker that refused it,
// because its accounts file is an older one, does not take it up by itself when it has been given the new one.
const subscribeAgain = time.Minute

// keepJudging judges until ctx ends, or nothing has come for long.
func (s *Secondary) keepJudging(ctx context.Context) {
	begin := time.Now()
	for work.Wait(ctx, time.Second) {
		before := s.judge.Verdict()
		now := s.judge.Judge(checkpoint.Local{Connected: s.Conn.Connected(), PowerDNS: s.powerdns.IsUp()})
		s.noteVerdict(before, now)
		if time.Since(begin) >= subscribeAgain && s.judge.Age() >= subscribeAgain {
			return
		}
	}
}

// noteVerdict logs what became wrong or right, and announces it.
func (s *Secondary) noteVerdict(before, now checkpoint.Verdict) {
	if before.Incomplete == "" && now.Incomplete != "" {
		s.Log.Error().Int("signed", now.Signed).Int("here", now.Here).
			Time("checkpoint", now.At).Time("since", now.Since).
			Msg("the broker withholds or rolls back zone states: this secondary lacks what the primary signed")
	}
	if before.Silent == "" && now.Silent != "" {
		s.Log.Error().Time("last", now.At).Str("reason", now.Silent).
			Msg("no valid checkpoint shows whether all zones are here")
	}
	if before.Incomplete != "" && now.Incomplete == "" {
		s.Log.Info().Int("zones", now.Here).Msg("all zones are here as the primary signed them")
	}
	if before.Silent != "" && now.Silent == "" {
		s.Log.Info().Msg("valid checkpoints arrive again")
	}
	if before.Incomplete != now.Incomplete || before.Silent != now.Silent || before.Filling != now.Filling {
		s.AnnounceSoon()
	}
}

func registerCheckpointMetrics(reg prometheus.Registerer, j *checkpoint.Judge) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_incomplete",
		Help: "1 while zones are not here as the primary signed them, and do not come in.",
	}, func() float64 {
		if j.Verdict().Incomplete != "" {
			return 1
		}
		return 0
	}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pdns_distribute_secondary_checkpoint_age_seconds",
		Help: "Connected seconds since the last valid signed checkpoint, or since the role began.",
	}, func() float64 { return j.Age().Seconds() }))
}
