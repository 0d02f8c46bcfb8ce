package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/health"
	"pdns-distribute/roles/command"
	"pdns-distribute/roles/config"
	"pdns-distribute/roles/status"
)

// confirmDeletes is the command sync --confirm-deletes [NODE].
func confirmDeletes(ctx context.Context, in command.Invocation) error {
	return withBroker(ctx, in, func(ctx context.Context, conn *broker.Conn, cfg config.Config) error {
		ctx, cancel := context.WithTimeout(ctx, checkPatience)
		defer cancel()
		status, err := status.Read(ctx, conn, cfg.Health)
		if err != nil {
			return err
		}
		if len(in.Args) == 1 {
			return confirmAt(ctx, in, conn, status, in.Args[0])
		}
		held, err := heldByPrimaries(ctx, conn, status)
		if err != nil {
			return err
		}
		switch ids := slices.Sorted(maps.Keys(held)); len(ids) {
		case 0:
			return errors.New("no primary holds deletions; those of a secondary are confirmed by its id behind " +
				"--confirm-deletes, and the alarms of pdns-distribute status say which one holds some")
		case 1:
			return confirmAtPrimary(ctx, in, conn, ids[0], held[ids[0]])
		default:
			list := strings.Join(ids, ", ")
			return fmt.Errorf("%w: sync: several primaries hold deletions, name one: %s", command.ErrUsage, list)
		}
	}, "health")
}

// confirmAt confirms at the node that is named.
func confirmAt(ctx context.Context, in command.Invocation, conn *broker.Conn, status status.Document, id string) error {
	i := slices.IndexFunc(status.Nodes, func(r health.Row) bool { return r.Node == id && r.Role == health.RolePrimary })
	if i < 0 {
		return confirmAtSecondary(ctx, in, conn, id)
	}
	answer, err := askHeld(ctx, conn, broker.Confirmation{Node: id})
	if err != nil {
		return err
	}
	return confirmAtPrimary(ctx, in, conn, id, answer.Held)
}

// heldByPrimaries asks each active primary how many deletions it holds, and returns those that hold some.
func heldByPrimaries(ctx context.Context, conn *broker.Conn, status status.Document) (map[string]int, error) {
	held := map[string]int{}
	for _, r := range status.Nodes {
		if r.Role != health.RolePrimary || !r.Active {
			continue
		}
		answer, err := askHeld(ctx, conn, broker.Confirmation{Node: r.Node})
		if err != nil {
			return nil, err
		}
		if answer.Held > 0 {
			held[r.Node] = answer.Held
		}
	}
	return held, nil
}

// heldPatience is how long a primary may take to answer.
const heldPatience = 10 * time.Second

// askHeld sends a confirmation to a primary; one for no zone only asks how many deletions the primary holds.
func askHeld(ctx context.Context, conn *broker.Conn, c broker.Confirmation) (answer status.HeldAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, heldPatience)
	defer cancel()
	text, err := json.Marshal(c)
	if err != nil {
		return answer, err
	}
	reply, err := conn.RequestConfirm(ctx, text)
	if err == nil {
		err = json.Unmarshal(reply, &answer)
	}
	if err == nil && answer.Fault != "" {
		err = errors.New(health.Cut(answer.Fault))
	}
	if err != nil {
		return answer, fmt.Errorf("primary %s: %w", c.Node, err)
	}
	return answer, nil
}

func confirmAtPrimary(ctx context.Context, in command.Invocation, conn *broker.Conn, id string, held int) error {
	if held == 0 {
		return fmt.Errorf("primary %s holds no deletions", id)
	}
	confirmation, err := conn.Confirm(id, held)
	if err != nil {
		return err
	}
	if _, err := askHeld(ctx, conn, confirmation); err != nil {
		return err
	}
	_, err = fmt.Fprintf(in.Stdout, "Confirmed at primary %s: the primary sweeps now, and for %s "+
		"deletes up to %d zones that its PowerDNS does not have any more.\n",
		id, broker.ConfirmationTime, held)
	return err
}

func confirmAtSecondary(ctx context.Context, in command.Invocation, conn *broker.Conn, node string) error {
	held, err := status.AskLeader(ctx, conn, status.LeaderRequest{Do: status.DoConfirm, Node: node})
	if err != nil {
		return err
	}
	if held.Held == 0 {
		return fmt.Errorf("no deletions are held at secondary %s; to compare the secondary, "+
			"run: pdns-distribute sync --check", node)
	}
	confirmation, err := conn.Confirm(node, held.Held)
	if err != nil {
		return err
	}
	text, err := json.Marshal(confirmation)
	if err != nil {
		return err
	}
	answer, err := status.AskLeader(ctx, conn, status.LeaderRequest{Do: status.DoConfirm, Node: node, Confirmation: text})
	if err != nil {
		return err
	}
	fmt.Fprintf(in.Stdout, "Confirmed at secondary %s: for %s up to %d zones are deleted there that are not published, "+
		"after the primary has checked that they are gone.\n",
		node, broker.ConfirmationTime, held.Held)
	return answer.Print(in.Stdout)
}
