package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/status"
	"pdns-distribute/roles/work"
)

// Status is the command status: it asks the brokers how the installation is, or zones, and prints that. It returns
// command.ErrNotInOrder where something is wrong.
func Status(ctx context.Context, in command.Invocation) error {
	watch := in.Options.Bool("watch")
	if len(in.Args) > 0 {
		if watch {
			return fmt.Errorf("%w: status: --watch shows nodes, not zones", command.ErrUsage)
		}
		return statusOfZones(ctx, in)
	}
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg config.Config) error {
		if watch {
			return watchStatus(ctx, in, conn, cfg.Health)
		}
		status, err := status.Read(ctx, conn, cfg.Health)
		if err != nil {
			return err
		}
		return errors.Join(status.Print(in.Stdout, in.Options.Bool("json")), status.InOrder())
	}, "health")
}

// watchPause is how often what is shown is renewed.
const watchPause = 2 * time.Second

// watchStatus shows the status until ctx ends: on a terminal in place, as JSON a line each time.
func watchStatus(ctx context.Context, in command.Invocation, conn *broker.Conn, cfg health.Config) error {
	const home, clearRest = "\x1b[H", "\x1b[J"
	inPlace := terminal(in.Stdout) != io.Discard && !in.Options.Bool("json")
	if inPlace {
		fmt.Fprint(in.Stdout, home+clearRest)
	}
	for {
		var picture bytes.Buffer
		if doc, err := status.Read(ctx, conn, cfg); err == nil {
			if err := doc.Print(&picture, in.Options.Bool("json")); err != nil {
				return err
			}
		} else if ctx.Err() == nil {
			fmt.Fprintln(&picture, status.Printable(err.Error()))
		}
		if inPlace {
			lines := strings.ReplaceAll(picture.String(), "\n", "\x1b[K\n") // each erases the rest of what stood there
			fmt.Fprint(in.Stdout, home+time.Now().Format(time.DateTime)+"\x1b[K\n\n"+lines+clearRest)
		} else {
			fmt.Fprint(in.Stdout, picture.String())
		}
		if !work.Wait(ctx, watchPause) {
			return nil
		}
	}
}
