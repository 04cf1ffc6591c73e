//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// natsServer is a NATS of the user's own: one process beside the nodes, or several that are
// a cluster, with the configuration of docs/events.md, which also asks for client certificates.
type natsServer struct {
	dir, ip   string
	cluster   string // what events name this cluster by
	users     map[string]nkeys.KeyPair
	processes []*exec.Cmd // nil: it does not run
	log       lockedBuffer
}

// newNATS prepares so many servers and starts them.
func newNATS(t *testing.T, servers int) *natsServer {
	t.Helper()
	s := &natsServer{dir: t.TempDir(), users: map[string]nkeys.KeyPair{}, processes: make([]*exec.Cmd, servers), ip: beside(t, the.nodes[0])}
	system, err := the.client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	require.NoError(t, err)
	s.cluster = string(system.UID)

	ca := certstest.NewCA(t, "nats")
	server, client := ca.Leaf(t, certstest.SANs(s.ip)), ca.Leaf(t, certstest.Name("rotate-certs"))
	s.file(t, "ca.crt", ca.Pair().CertPEM())
	edits := map[string]string{
		"CERT": s.file(t, "server.crt", server.CertPEM()), "KEY": s.file(t, "server.key", server.KeyPEM(t)),
	}
	s.file(t, "tls.crt", client.CertPEM())
	s.file(t, "tls.key", client.KeyPEM(t))
	for _, role := range []string{"reporter", "rotator", "incident-responder", "viewer", "fleet"} {
		user, err := nkeys.CreateUser()
		require.NoError(t, err)
		seed, err := user.Seed()
		require.NoError(t, err)
		s.file(t, role+".creds", seed)
		s.users[role] = user
		edits[strings.ToUpper(strings.ReplaceAll(role, "-", "_"))] = s.public(t, role)
	}
	for i := range s.processes {
		edits["LISTEN"], edits["STORE"] = s.address(i), s.path(fmt.Sprintf("store-%d", i))
		s.file(t, fmt.Sprintf("nats-%d.conf", i), []byte(s.configuration(t, edits)+s.routes(i)))
	}
	t.Cleanup(func() {
		s.kill(t)
		if t.Failed() {
			t.Logf("nats-server:\n%s", &s.log)
		}
	})
	s.start(t)
	return s
}

func (s *natsServer) address(i int) string { return net.JoinHostPort(s.ip, fmt.Sprint(4222+i)) }

// urls are all servers, as --nats-url takes them.
func (s *natsServer) urls() string {
	var out []string
	for i := range s.processes {
		out = append(out, "tls://"+s.address(i))
	}
	return strings.Join(out, ",")
}

// routes make one server of several a member of their cluster.
func (s *natsServer) routes(own int) string {
	if len(s.processes) == 1 {
		return ""
	}
	var routes []string
	for i := range s.processes {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+net.JoinHostPort(s.ip, fmt.Sprint(6222+i))))
	}
	return fmt.Sprintf("server_name: n%d\ncluster {\n  name: e2e\n  listen: \"%s:%d\"\n  routes: [%s]\n}\n", own, s.ip, 6222+own, strings.Join(routes, ", "))
}

// configuration is the document's, edited as it says.
func (s *natsServer) configuration(t *testing.T, edits map[string]string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/events.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- config -->\n```\n(.*?)```\n<!-- end -->").FindSubmatch(text)
	require.NotNil(t, block)
	config := strings.NewReplacer(
		".prod", "."+s.cluster, "-prod", fmt.Sprintf("-%x", sha256.Sum256([]byte(s.cluster)))[:1+11],
		"# ca_file", "ca_file", "# verify", "verify", "/etc/nats/ca.crt", filepath.Join(s.dir, "ca.crt"),
	).Replace(string(block[1]))
	require.NotContains(t, config, "prod\"")
	config = strings.ReplaceAll(config, "rotate-certs-asked.v1.*."+s.cluster, "rotate-certs-asked.v1.*."+staging) // a user of another cluster
	for name, value := range edits {
		line := regexp.MustCompile(`(?m)^` + name + `: ".*"$`)
		require.Regexp(t, line, config)
		config = line.ReplaceAllLiteralString(config, fmt.Sprintf("%s: %q", name, value))
	}
	return config
}

func (s *natsServer) file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func (s *natsServer) path(name string) string { return filepath.Join(s.dir, name) }

func (s *natsServer) public(t *testing.T, role string) string {
	t.Helper()
	key, err := s.users[role].PublicKey()
	require.NoError(t, err)
	return key
}

// beside is this process's own address in the network of a node.
func beside(t *testing.T, n machine) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if ip, network, err := net.ParseCIDR(a.String()); err == nil && network.Contains(net.ParseIP(n.IP)) {
			return ip.String()
		}
	}
	require.Fail(t, "no address in the network of "+n.IP)
	return ""
}

// start starts the servers that do not run, each on what is in its store.
func (s *natsServer) start(t *testing.T) {
	t.Helper()
	for i, p := range s.processes {
		if p != nil {
			continue
		}
		p = exec.Command(filepath.Join(the.bin, "nats-server"), "-c", s.path(fmt.Sprintf("nats-%d.conf", i))) //nolint:noctx // it outlives the subtest that starts it
		p.Stderr = &s.log
		p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, p.Start())
		s.processes[i] = p
		within(t, time.Minute, "nats-server", func() bool {
			conn, err := s.dial(i, s.nkey(t, "viewer"))
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
}

// kill ends the servers as a power cut would; none a second time.
func (s *natsServer) kill(t *testing.T) {
	t.Helper()
	for i := range s.processes {
		s.killOne(t, i)
	}
}

func (s *natsServer) killOne(t *testing.T, i int) {
	t.Helper()
	if s.processes[i] == nil {
		return
	}
	assert.NoError(t, s.processes[i].Process.Kill())
	_ = s.processes[i].Wait() // it was killed
	s.processes[i] = nil
}

// nkey is a user that the server knows.
func (s *natsServer) nkey(t *testing.T, role string) nats.Option {
	t.Helper()
	return nats.Nkey(s.public(t, role), s.users[role].Sign)
}

// dial connects to one of the servers.
func (s *natsServer) dial(i int, options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("tls://"+s.address(i), append([]nats.Option{
		nats.RootCAs(s.path("ca.crt")), nats.ClientCert(s.path("tls.crt"), s.path("tls.key")), nats.MaxReconnects(0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // LastError says it too
	}, options...)...)
}

// publish publishes an event as a user; the error is the server's answer.
func (s *natsServer) publish(t *testing.T, role, kind, id, data string) error {
	t.Helper()
	conn, err := s.dial(0, s.nkey(t, role), nats.CustomInboxPrefix("_INBOX_"+role))
	require.NoError(t, err)
	defer conn.Close()
	subject := "rotate-certs.v1." + s.cluster + "." + kind + "._"
	if kind == "certificate.compromised" {
		subject = "rotate-certs-compromised.v1." + s.cluster
	}
	message := nats.NewMsg(subject)
	message.Header.Set("Nats-Msg-Id", id)
	message.Header.Set("Content-Type", "application/cloudevents+json")
	message.Data = fmt.Appendf(nil, `{"specversion": "1.0", "id": %q, "type": "io.rotate-certs.%s.v1",
		"source": "/clusters/%s", "datacontenttype": "application/json", "data": %s}`, id, kind, s.cluster, data)
	require.NoError(t, conn.PublishMsg(message))
	require.NoError(t, conn.Flush())
	return conn.LastError()
}

// secret makes the namespace and the Secret that a person makes before installing.
func (s *natsServer) secret(t *testing.T) {
	t.Helper()
	o := the.kubectl(t, "create", "namespace", "rotate-certs")
	require.Zero(t, o.exit, "%s", o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		out, err := the.command(ctx, "delete", "namespace", "rotate-certs").CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	args := []string{"-n", "rotate-certs", "create", "secret", "generic", "rotate-certs-nats"}
	for _, name := range []string{"ca.crt", "tls.crt", "tls.key", "reporter.creds", "rotator.creds"} {
		args = append(args, "--from-file="+s.path(name))
	}
	o = the.kubectl(t, args...)
	require.Zero(t, o.exit, "%s", o)
}
