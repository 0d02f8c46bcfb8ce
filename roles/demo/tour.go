package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"pdns-distribute/powerdns"
	"pdns-distribute/powerdns/transfer"
	"pdns-distribute/powerdns/zone"
	"pdns-distribute/roles/fleet"
)

// tour shows what the installation does, step by step, each with the time at which each secondary answered.
type tour struct {
	fleet *fleet.Fleet
	api   *powerdns.Client
	out   io.Writer
	zones int // of the last step
}

func newTour(f *fleet.Fleet, out io.Writer, zones int) (*tour, error) {
	api, err := f.Client()
	return &tour{f, api, out, zones}, err
}

var (
	demoZone = zone.MustParseName("demo.example")
	demoName = zone.MustParseName("www.demo.example")
)

// manyZones and manyClients make the last step.
const (
	manyZones   = 1000
	manyClients = 8
)

func (t *tour) run(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
		shown func(transfer.Answer) bool
	}{
		{"Create the signed zone demo.example", t.create, t.answers("192.0.2.1")},
		{"Change www.demo.example", t.change, t.answers("192.0.2.2")},
		{"Delete demo.example", t.delete, func(a transfer.Answer) bool { return a.Rcode == dns.RcodeRefused }},
	}
	for i, step := range steps {
		fmt.Fprintf(t.out, "\n%d. %s\n", i+1, step.title)
		begin := time.Now()
		if err := step.do(ctx); err != nil {
			return err
		}
		answered := time.Now()
		fmt.Fprintf(t.out, "   the API answered after %s; from then on it took\n", ms(answered.Sub(begin)))
		if err := t.watch(ctx, answered, step.shown); err != nil {
			return err
		}
	}
	fmt.Fprintf(t.out, "\n%d. Create %d zones by %d clients\n", len(steps)+1, t.zones, manyClients)
	return t.many(ctx)
}

func (t *tour) create(ctx context.Context) error {
	return t.api.CreateZoneWith(ctx, powerdns.ZoneSpec{
		Name: demoZone, Kind: powerdns.Native, Nameservers: []string{"ns1.demo.example.", "ns2.demo.example."}, DNSSEC: true, SOAEditAPI: "INCREASE",
		RRsets: []powerdns.RRset{{Name: demoName, Type: "A", TTL: 60, Content: []string{"192.0.2.1"}}},
	})
}

func (t *tour) change(ctx context.Context) error {
	return t.api.Patch(ctx, demoZone, []powerdns.RRset{{Name: demoName, Type: "A", TTL: 60, Content: []string{"192.0.2.2"}}})
}

func (t *tour) delete(ctx context.Context) error { return t.api.DeleteZone(ctx, demoZone) }

// answers reports whether an answer is the signed one with this address.
func (t *tour) answers(address string) func(transfer.Answer) bool {
	return func(a transfer.Answer) bool {
		signed := false
		found := false
		for _, r := range a.Answer {
			signed = signed || r.Covered() == dns.TypeA
			found = found || r.Type() == dns.TypeA && net.IP(r.Data()).String() == address
		}
		return signed && found
	}
}

// arrival is how long a step may take.
const arrival = 30 * time.Second

// watch asks all secondaries until they show the change and prints when each did.
func (t *tour) watch(ctx context.Context, since time.Time, shown func(transfer.Answer) bool) error {
	var wg sync.WaitGroup
	lines := make([]string, len(t.fleet.Secondaries))
	errs := make([]error, len(t.fleet.Secondaries))
	for i, s := range t.fleet.Secondaries {
		wg.Go(func() {
			err := await(ctx, s.DNSAddr, demoName, shown)
			lines[i] = fmt.Sprintf("   %9s  until %s (%s) showed it:  %s", ms(time.Since(since)), s.ID, s.Backend, dig(s.DNSAddr, "www.demo.example", "A"))
			if err != nil {
				errs[i] = fmt.Errorf("%s does not show it: %w", s.ID, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(t.out, strings.Join(lines, "\n"))
	return err
}

// await asks one server, past its packet cache, until it answers as expected.
func await(ctx context.Context, address string, name zone.Name, shown func(transfer.Answer) bool) error {
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	for {
		answer, err := transfer.Ask(ctx, address, name, dns.TypeA, transfer.AskOptions{DNSSEC: true, Unique: true})
		if err == nil && shown(answer) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(500 * time.Microsecond):
		}
	}
}

// many creates zones as fast as the API takes them and waits for each on every secondary.
func (t *tour) many(ctx context.Context) error {
	begin := time.Now()
	var created, served atomic.Int64
	total := int64(t.zones * len(t.fleet.Secondaries))
	stop := t.progress(func() (string, float64) {
		return fmt.Sprintf("%4d created, %4d of %d served", created.Load(), served.Load(), total), float64(served.Load()) / float64(total)
	})
	defer stop()
	names := make(chan zone.Name)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(names)
		return feed(ctx, t.zones, names)
	})
	for range manyClients {
		g.Go(func() error {
			for name := range names {
				if err := t.createPlain(ctx, name); err != nil {
					return err
				}
				created.Add(1)
				for _, s := range t.fleet.Secondaries {
					g.Go(func() error {
						if err := awaitServed(ctx, s.DNSAddr, name); err != nil {
							return fmt.Errorf("%s does not serve %s: %w", s.ID, name, err)
						}
						served.Add(1)
						return nil
					})
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	stop()
	took := time.Since(begin)
	fmt.Fprintf(t.out, "   all of them served by every secondary after %s: %.0f zones/s\n", took.Round(10*time.Millisecond), float64(t.zones)/took.Seconds())
	return nil
}

func feed(ctx context.Context, zones int, names chan<- zone.Name) error {
	for i := range zones {
		select {
		case names <- zone.MustParseName(fmt.Sprintf("zone%04d.example", i+1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t *tour) createPlain(ctx context.Context, name zone.Name) error {
	return t.api.CreateZoneWith(ctx, powerdns.ZoneSpec{Name: name, Kind: powerdns.Native, Nameservers: []string{"ns1.example.net.", "ns2.example.net."}})
}

// awaitServed looks again rarely: the zones that wait are many, and so would be the questions.
func awaitServed(ctx context.Context, address string, name zone.Name) error {
	ctx, cancel := context.WithTimeout(ctx, 4*arrival)
	defer cancel()
	for {
		answer, err := transfer.Ask(ctx, address, name, dns.TypeSOA, transfer.AskOptions{Unique: true})
		if err == nil && answer.AA && len(answer.Answer) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// progress shows a bar on a terminal, and now and then a line elsewhere, until the returned function is called.
func (t *tour) progress(state func() (string, float64)) (stop func()) {
	file, isFile := t.out.(*os.File)
	terminal := isFile && term.IsTerminal(int(file.Fd()))
	pause := 2 * time.Second
	if terminal {
		pause = 100 * time.Millisecond
	}
	show := func() {
		text, done := state()
		const width = 40
		bar := strings.Repeat("#", int(done*width)) + strings.Repeat(".", width-int(done*width))
		if terminal {
			fmt.Fprintf(t.out, "\r   [%s] %s", bar, text)
		} else {
			fmt.Fprintf(t.out, "   %s\n", text)
		}
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ended:
				show()
				if terminal {
					fmt.Fprintln(t.out)
				}
				return
			case <-time.After(pause):
				show()
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		wg.Wait()
	})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// dig is the command line that asks a server.
func dig(address, name, typ string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf("dig @%s -p %s %s %s +dnssec +short", host, port, name, typ)
}
