//go:build databases || matrix

package fleet_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pdns-distribute/powerdns/local"
	"pdns-distribute/powerdns/must"
)

// Real databases that replicate each other, run as an unprivileged user in folders of the test. `make test-databases`.

// dbServer is one database server.
type dbServer struct {
	t    *testing.T
	dir  string
	port string
	cmd  *exec.Cmd
	run  []string // program and arguments
	env  []string // besides that of the test
	kind string
}

// asUser is the user that database servers run as: they refuse to be root.
func asUser(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		must.OK(t, err)
		uid, err := strconv.Atoi(nobody.Uid)
		must.OK(t, err)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return attr
}

// folder is one that the databases' user may write to.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "databases")
	must.OK(t, err)
	must.OK(t, os.Chmod(dir, 0o755))
	if c := asUser(t).Credential; c != nil {
		must.OK(t, os.Chown(dir, int(c.Uid), int(c.Gid)))
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	address, err := local.FreeAddress()
	must.OK(t, err)
	_, port, err := net.SplitHostPort(address)
	must.OK(t, err)
	return port
}

// command runs a program to its end as the databases' user.
func outputOf(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := tryCommand(t, stdin, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func tryCommand(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.SysProcAttr, cmd.Dir = strings.NewReader(stdin), asUser(t), "/"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// start starts the server and waits until it answers.
func (d *dbServer) start() {
	d.t.Helper()
	d.launch()
	d.await()
}

func (d *dbServer) launch() {
	d.t.Helper()
	log, err := os.OpenFile(d.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must.OK(d.t, err)
	defer log.Close()
	d.cmd = exec.Command(d.run[0], d.run[1:]...)
	d.cmd.Stdout, d.cmd.Stderr, d.cmd.SysProcAttr, d.cmd.Dir = log, log, asUser(d.t), "/"
	d.cmd.Env = append(os.Environ(), d.env...)
	must.OK(d.t, d.cmd.Start())
	d.t.Cleanup(d.kill)
}

func (d *dbServer) await() {
	d.t.Helper()
	must.Eventually(d.t, func() error {
		out, err := d.try("SELECT 1")
		if err != nil {
			err = fmt.Errorf("the database at port %s does not answer: %w %s\n%s", d.port, err, out, d.logEnd())
		}
		return err
	})
}

func (d *dbServer) logEnd() []byte {
	text, _ := os.ReadFile(d.dir + ".log")
	return text[max(0, len(text)-4000):]
}

func (d *dbServer) kill() {
	if d.cmd != nil {
		_ = d.cmd.Process.Kill()
		_, _ = d.cmd.Process.Wait()
		d.cmd = nil
	}
}

// stop ends the server in order.
func (d *dbServer) stop() {
	d.t.Helper()
	signal := syscall.SIGTERM
	if d.kind == "gpgsql" {
		signal = syscall.SIGINT // fast: it ends connections, and sends its replicas everything
	}
	must.OK(d.t, d.cmd.Process.Signal(signal))
	_, _ = d.cmd.Process.Wait()
	d.cmd = nil
}

// sql runs statements and returns what they give.
func (d *dbServer) sql(statements string) string {
	d.t.Helper()
	out, err := d.try(statements)
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", statements, err, out)
	}
	return strings.TrimSpace(out)
}

// insist is sql for statements that a replica may cancel because of what it replays.
func (d *dbServer) insist(statements string) {
	d.t.Helper()
	must.Eventually(d.t, func() error {
		out, err := d.try(statements)
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", statements, err, out)
		}
		return err
	})
}

func (d *dbServer) try(statements string) (string, error) {
	if d.kind == "gpgsql" {
		return tryCommand(d.t, statements, "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", d.port, "-U", "pdns", "postgres")
	}
	return tryCommand(d.t, statements, "mariadb", "--no-defaults", "-N", "-h", "127.0.0.1", "-P", d.port, "-u", "pdns", "-ppdns", "pdns")
}

// database makes one more database of PowerDNS, beside that of others, and returns the lines of pdns.conf for it.
func (d *dbServer) database(name string) map[string]string {
	d.t.Helper()
	schema := d.schema()
	settings := d.settings()
	settings[d.kind+"-dbname"] = name
	if d.kind == "gpgsql" {
		d.sql("CREATE DATABASE " + name)
		outputOf(d.t, schema, "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", d.port, "-U", "pdns", name)
		return settings
	}
	d.mustRoot("CREATE DATABASE " + name + "; GRANT ALL ON " + name + ".* TO pdns@'127.0.0.1'; USE " + name + ";" + schema)
	return settings
}

// schema is that of the package: it is the same from 4.7 to 5.1.
func (d *dbServer) schema() string {
	d.t.Helper()
	file := map[string]string{
		"gpgsql": "/usr/share/pdns-backend-pgsql/schema/schema.pgsql.sql", "gmysql": "/usr/share/pdns-backend-mysql/schema/schema.mysql.sql",
	}[d.kind]
	text, err := os.ReadFile(file)
	must.OK(d.t, err)
	return string(text)
}

// settings are the lines of pdns.conf for a PowerDNS beside the database.
func (d *dbServer) settings() map[string]string {
	s := map[string]string{}
	for key, value := range map[string]string{"host": "127.0.0.1", "port": d.port, "user": "pdns", "password": "pdns"} {
		s[d.kind+"-"+key] = value
	}
	s[d.kind+"-dbname"] = map[string]string{"gpgsql": "postgres", "gmysql": "pdns"}[d.kind]
	return s
}

const postgresPrograms = "/usr/lib/postgresql/15/bin/"

const postgresConf = `
listen_addresses = '127.0.0.1'
port = %s
unix_socket_directories = ''
wal_level = replica
hot_standby = on
fsync = off
max_connections = 100
shared_buffers = 32MB
max_wal_senders = 8
wal_receiver_status_interval = 1
wal_retrieve_retry_interval = 200ms
`

// startPostgres is a primary and a hot standby that streams from it.
func startPostgres(t *testing.T) (primary, standby *dbServer) {
	primary = onePostgres(t)
	return primary, primary.standby(filepath.Join(filepath.Dir(primary.dir), "b"))
}

// onePostgres is a server with a database of PowerDNS.
func onePostgres(t *testing.T) *dbServer {
	d := &dbServer{t: t, kind: "gpgsql", dir: filepath.Join(folder(t), "a"), port: freePort(t)}
	outputOf(t, "", postgresPrograms+"initdb", "-D", d.dir, "-A", "trust", "-U", "pdns", "--no-sync")
	appendTo(t, filepath.Join(d.dir, "postgresql.conf"), fmt.Sprintf(postgresConf, d.port))
	d.run = []string{postgresPrograms + "postgres", "-D", d.dir}
	d.start()
	d.sql(d.schema())
	return d
}

// standby makes a hot standby of a PostgreSQL server.
func (d *dbServer) standby(dir string) *dbServer {
	d.t.Helper()
	s := &dbServer{t: d.t, kind: d.kind, dir: dir, port: freePort(d.t)}
	outputOf(d.t, "", postgresPrograms+"pg_basebackup", "-h", "127.0.0.1", "-p", d.port, "-U", "pdns", "-D", dir, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	appendTo(d.t, filepath.Join(dir, "postgresql.conf"), "\nport = "+s.port+"\n")
	s.run = []string{postgresPrograms + "postgres", "-D", dir}
	s.start()
	return s
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	must.OK(t, err)
	_, err = f.WriteString(text)
	must.OK(t, err)
	must.OK(t, f.Close())
}

// newMariaDB makes a server's folder, with a user for PowerDNS; more are further options.
func newMariaDB(t *testing.T, dir string, id int, more ...string) *dbServer {
	t.Helper()
	d := &dbServer{t: t, kind: "gmysql", dir: dir, port: freePort(t)}
	outputOf(t, "", "mkdir", dir+"-tmp")
	outputOf(t, "", "mariadb-install-db", "--no-defaults", "--datadir="+dir, "--tmpdir="+dir+"-tmp", "--auth-root-authentication-method=normal", "--skip-test-db")
	d.run = append([]string{
		"/usr/sbin/mariadbd", "--no-defaults", "--datadir=" + dir, "--tmpdir=" + dir + "-tmp", "--port=" + d.port, "--bind-address=127.0.0.1", "--socket=" + dir + "/s",
		"--pid-file=" + dir + "/pid", "--server-id=" + strconv.Itoa(id), "--log-bin=" + dir + "/bin", "--log-slave-updates", "--gtid-strict-mode",
		"--binlog-format=ROW", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--skip-name-resolve",
	}, more...)
	return d
}

// root runs statements as root, over the socket.
func (d *dbServer) root(statements string) (string, error) {
	return tryCommand(d.t, statements, "mariadb", "--no-defaults", "-N", "--socket="+d.dir+"/s", "-u", "root")
}

func (d *dbServer) mustRoot(statements string) string {
	d.t.Helper()
	out, err := d.root(statements)
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", statements, err, out)
	}
	return strings.TrimSpace(out)
}

func (d *dbServer) awaitRoot() {
	d.t.Helper()
	must.Eventually(d.t, func() error {
		out, err := d.root("SELECT 1")
		if err != nil {
			err = fmt.Errorf("MariaDB in %s does not answer: %w %s\n%s", d.dir, err, out, d.logEnd())
		}
		return err
	})
}

// makeUsers makes the database of PowerDNS, and its user.
func (d *dbServer) makeUsers() {
	d.t.Helper()
	d.mustRoot("CREATE DATABASE pdns; CREATE USER pdns@'127.0.0.1' IDENTIFIED BY 'pdns'; GRANT ALL ON pdns.* TO pdns@'127.0.0.1';" +
		"CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'repl'; GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'; USE pdns;" + d.schema())
}

// startMariaDB is a server and a replica of it by GTID, which takes no writes.
func startMariaDB(t *testing.T) (primary, replica *dbServer) {
	primary = oneMariaDB(t)
	replica = newMariaDB(t, filepath.Join(filepath.Dir(primary.dir), "b"), 2, "--read-only")
	replica.launch()
	replica.awaitRoot()
	replica.follow(primary)
	replica.await()
	return primary, replica
}

// oneMariaDB is a server with a database of PowerDNS.
func oneMariaDB(t *testing.T) *dbServer {
	d := newMariaDB(t, filepath.Join(folder(t), "a"), 1)
	d.launch()
	d.awaitRoot()
	d.makeUsers()
	return d
}

// follow has a MariaDB server replicate another one.
func (d *dbServer) follow(from *dbServer) {
	d.t.Helper()
	d.mustRoot("STOP SLAVE; RESET MASTER; SET GLOBAL gtid_slave_pos=''; CHANGE MASTER TO master_host='127.0.0.1', master_port=" + from.port +
		", master_user='repl', master_password='repl', master_use_gtid=slave_pos, master_connect_retry=1; START SLAVE;")
}

// scheduling answers Galera's question for the scheduling of its threads, which some sandboxes refuse.
const scheduling = `
#include <pthread.h>
#include <sched.h>
int pthread_getschedparam(pthread_t t, int *policy, struct sched_param *p) { *policy = 0; p->sched_priority = 0; return 0; }
int pthread_setschedparam(pthread_t t, int policy, const struct sched_param *p) { return 0; }
`

// startGalera is a cluster of MariaDB servers.
func startGalera(t *testing.T, nodes int) (cluster []*dbServer) {
	dir := folder(t)
	library := filepath.Join(dir, "scheduling.so")
	outputOf(t, scheduling, "gcc", "-shared", "-fPIC", "-x", "c", "-o", library, "-")
	var addresses []string
	for range nodes {
		addresses = append(addresses, "127.0.0.1:"+freePort(t))
	}
	for n, address := range addresses {
		d := newMariaDB(t, filepath.Join(dir, strconv.Itoa(n)), n+1,
			"--wsrep-on=ON", "--wsrep-provider=/usr/lib/galera/libgalera_smm.so", "--wsrep-cluster-name=test", "--wsrep-node-name=node"+strconv.Itoa(n),
			"--wsrep-sst-method=rsync", "--innodb-autoinc-lock-mode=2", "--default-storage-engine=InnoDB")
		d.run = append(d.run, "--wsrep-node-address=127.0.0.1:"+freePort(t), "--wsrep-sst-receive-address=127.0.0.1:"+freePort(t),
			"--wsrep-provider-options=gmcast.listen_addr=tcp://"+address+";ist.recv_addr=127.0.0.1:"+freePort(t)+"")
		d.env = []string{"LD_PRELOAD=" + library}
		first := d.run
		if n == 0 {
			d.run = append(append([]string{}, first...), "--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://")
		}
		with := append(append([]string{}, first...), "--wsrep-cluster-address=gcomm://"+strings.Join(addresses, ","))
		if n > 0 {
			d.run = with
		}
		d.launch()
		d.run = with
		d.awaitRoot()
		if n == 0 {
			d.makeUsers()
		}
		d.await()
		cluster = append(cluster, d)
	}
	return cluster
}
