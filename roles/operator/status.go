package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

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

// watchStatus shows the status until ctx ends: on a terminal in place and within its size, as JSON a line each time.
func watchStatus(ctx context.Context, in command.Invocation, conn *broker.Conn, cfg health.Config) error {
	const home, clearRest = "\x1b[H", "\x1b[J"
	inPlace := terminal(in.Stdout) != io.Discard && !in.Options.Bool("json")
	if inPlace {
		fmt.Fprint(in.Stdout, home+clearRest)
	}
	for {
		doc, err := status.Read(ctx, conn, cfg)
		switch {
		case err != nil && ctx.Err() != nil:
		case err != nil && !inPlace:
			fmt.Fprintln(in.Stdout, status.Printable(err.Error()))
		case !inPlace:
			if err := doc.Print(in.Stdout, in.Options.Bool("json")); err != nil {
				return err
			}
		default:
			screen := doc.Screen(time.Now(), sizeOf(in.Stdout))
			if err != nil {
				screen = time.Now().Format(time.DateTime) + "\n\n" + status.Printable(err.Error())
			}
			lines := strings.ReplaceAll(screen, "\n", "\x1b[K\n") // each erases the rest of what stood there
			fmt.Fprint(in.Stdout, home+lines+"\x1b[K"+clearRest)
		}
		if !work.Wait(ctx, watchPause) {
			return nil
		}
	}
}

// sizeOf is the size of the terminal, which may change. The zero value is that it is not known.
func sizeOf(w io.Writer) (size status.Size) {
	if f, is := w.(*os.File); is {
		size.Columns, size.Rows, _ = term.GetSize(int(f.Fd()))
	}
	return size
}
