package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	url := "http://" + reachable(cfg.Observe.Listen) + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy of the environment
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the role does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	_, err = io.WriteString(in.Stdout, "alive\n")
	return err
}

// reachable returns where a listener can be asked from its own host: one on all addresses at loopback.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}
