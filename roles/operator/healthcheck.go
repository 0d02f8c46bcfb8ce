package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
)

// healthcheckPatience is how long a role on the same host may take to say that it is alive.
const healthcheckPatience = 3 * time.Second

// Healthcheck is the command healthcheck: it asks whether the role on this host whose configuration this is answers.
// Images that hold nothing but the program have no other way to ask.
func Healthcheck(ctx context.Context, in command.Invocation) error {
	cfg, err := config.Load(in.Settings)
	if err != nil {
		return err
	}
	if cfg.Observe.Listen == "" {
		return errors.New("observe.listen is \"\": there is no listener to ask; set it, such as to 127.0.0.1:9500")
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckPatience)
	defer cancel()
	_, code, err := cfg.Observe.Ask(ctx, "/healthz")
	if err != nil {
		return fmt.Errorf("the role does not answer: %w", err)
	}
	if code != http.StatusOK {
		return fmt.Errorf("/healthz at %s answered %d %s", cfg.Observe.Listen, code, http.StatusText(code))
	}
	_, err = io.WriteString(in.Stdout, "alive\n")
	return err
}
