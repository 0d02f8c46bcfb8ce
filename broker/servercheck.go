package broker

import (
	"errors"
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// checkServerOptions reports all that would break the promise that no one without credentials reads or writes
// anything, or would let the store go astray.
func checkServerOptions(o *server.Options) error {
	return errors.Join(checkStore(o), checkEncryption(o), checkUsers(o), checkMonitoring(o))
}

// complain returns the complaints whose condition holds.
func complain(complaints ...complaint) error {
	var faults []error
	for _, c := range complaints {
		if c.when {
			faults = append(faults, errors.New(c.text))
		}
	}
	return errors.Join(faults...)
}

type complaint struct {
	when bool
	text string
}

func checkStore(o *server.Options) error {
	return complain(
		complaint{!o.JetStream, "jetstream is off; add jetstream { store_dir: …, max_memory_store: …, max_file_store: … }"},
		complaint{o.JetStream && o.StoreDir == "", "jetstream has no store_dir, so it would write to the temporary directory; set it"},
		// nats-server would take three quarters of the machine's memory and disk.
		complaint{o.JetStream && o.JetStreamMaxMemory <= 0, "jetstream has no max_memory_store; set it, such as 256MB"},
		complaint{o.JetStream && o.JetStreamMaxStore <= 0, "jetstream has no max_file_store; set it, such as 20GB"},
	)
}

func checkEncryption(o *server.Options) error {
	return complain(
		complaint{o.TLSConfig == nil, "clients could connect unencrypted; add tls { cert_file: …, key_file: … }"},
		complaint{o.AllowNonTLS, "allow_non_tls lets clients connect unencrypted; remove it"},
		complaint{o.Cluster.Port != 0 && o.Cluster.TLSConfig == nil, "cluster has no tls; add tls { cert_file: …, key_file: …, ca_file: …, verify: true }"},
		complaint{o.Gateway.Port != 0 && o.Gateway.TLSConfig == nil, "gateway has no tls; add it"},
		complaint{o.LeafNode.Port != 0 && o.LeafNode.TLSConfig == nil, "leafnodes has no tls; add it"},
		complaint{slices.ContainsFunc(o.LeafNode.Remotes, unencrypted), "a leafnodes remote has no tls; add it"},
		complaint{o.Websocket.Port != 0 && o.Websocket.TLSConfig == nil, "websocket has no tls; add it"},
		complaint{o.MQTT.Port != 0 && o.MQTT.TLSConfig == nil, "mqtt has no tls; add it"},
	)
}

func unencrypted(r *server.RemoteLeafOpts) bool { return r.TLSConfig == nil }

func checkUsers(o *server.Options) error {
	anonymous := len(o.Users)+len(o.Nkeys)+len(o.TrustedOperators) == 0 && o.Username == "" && o.Authorization == ""
	faults := []error{complain(
		complaint{anonymous, "no users are set, so anyone could connect; add accounts with users (`pdns-distribute init` writes them)"},
		complaint{o.Username != "" && o.Password == "", "authorization has a user without a password; set it, or use nkeys"},
		complaint{o.NoAuthUser != "", "no_auth_user lets clients in without credentials; remove it"},
		complaint{o.Websocket.NoAuthUser != "", "websocket no_auth_user lets clients in without credentials; remove it"},
		complaint{o.MQTT.NoAuthUser != "", "mqtt no_auth_user lets clients in without credentials; remove it"},
	)}
	for _, u := range o.Users {
		// With verify_and_map the certificate is the credential.
		faults = append(faults, complain(complaint{u.Password == "" && !o.TLSMap,
			"user " + u.Username + " has no password; set it, or use nkeys"}))
	}
	return errors.Join(faults...)
}

func checkMonitoring(o *server.Options) error {
	return complain(
		complaint{o.HTTPPort != 0 || o.HTTPSPort != 0, "http(s) monitoring answers without credentials; remove it and use a user of the system account"},
		complaint{o.ProfPort != 0, "prof_port answers without credentials; remove it"},
	)
}
