package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

const microk8sUnit = "snap.microk8s.daemon-kubelite.service"

// fakeMicroK8s is a node of MicroK8s: one unit runs all components, and a start of it makes no
// certificate. "microk8s refresh-certs" signs one certificate again with its old key, and
// restarts the unit.
type fakeMicroK8s struct {
	*fakeRKE2

	// Fields that a test may change:
	fails   string // the certificate at which the command fails
	ignores bool   // it does nothing, as on a worker
	signs   time.Duration
}

// refreshed maps the certificates that the command signs again to its names for them.
var refreshed = map[string]string{"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}

func newFakeMicroK8s(t *testing.T) *fakeMicroK8s {
	m := &fakeMicroK8s{fakeRKE2: newFakeRKE2(t), signs: time.Second}
	m.unit = microk8sUnit
	m.sameKey = true
	for name := range owners {
		m.keeps[name] = true // a start makes none
	}
	return m
}

func (m *fakeMicroK8s) scanNode(ctx context.Context) (inventory.Node, error) {
	node, err := m.fakeK0s.scanNode(ctx)
	ofEtcd := func(s certs.Service) bool { return s == certs.Etcd }
	node.Components = slices.DeleteFunc(node.Components, func(c inventory.Component) bool { return ofEtcd(c.Service) })
	node.Certificates = slices.DeleteFunc(node.Certificates, func(c inventory.Certificate) bool {
		return ofEtcd(c.Service) || c.Name == "apiserver-etcd-client"
	})
	for i := range node.Certificates {
		c := &node.Certificates[i]
		c.Issuer.Kind = inventory.NoIssuer
		c.Issuer.Unit = ""
		c.Reason = "only with a new CA"
		if part := refreshed[c.Name]; part != "" {
			c.Issuer.Kind = inventory.RestartCommand
			c.Issuer.Unit = microk8sUnit
			c.Issuer.Command = "/snap/bin/microk8s refresh-certs"
			c.Issuer.Part = part
			c.Reason = ""
			c.PublicKeySHA256 = certs.PublicKeySHA256(m.onDisk(c.Name).PublicKey)
		}
	}
	return node, err
}

// RunRenewal implements UnitCommander.
func (m *fakeMicroK8s) RunRenewal(_ context.Context, c inventory.Component, renewal component.Renewal, _ component.Instance) error {
	if !renewal.RestartsItself {
		return errors.New("the unit is stopped before the command, which starts it itself")
	}
	m.mu.Lock()
	m.inCommand = true
	m.mu.Unlock()
	go m.runCommands(renewal.Commands)
	m.runOnStop(certs.Service(c.Unit))
	return nil
}

// runCommands is systemd, which runs the commands even if the process that asked has ended.
func (m *fakeMicroK8s) runCommands(commands [][]string) {
	var err error
	for _, command := range commands {
		if !m.sleepFor(m.signs) {
			return
		}
		if err = m.refresh(command); err != nil {
			break
		}
	}
	m.mu.Lock()
	m.result = err
	m.inCommand = false
	m.mu.Unlock()
}

// refresh is "microk8s refresh-certs".
func (m *fakeMicroK8s) refresh(command []string) error {
	m.mu.Lock()
	m.commands = append(m.commands, strings.Join(command, " "))
	m.mu.Unlock()
	for name, part := range refreshed {
		if strings.Join(command, " ") != "/snap/bin/microk8s refresh-certs --cert="+part {
			continue
		}
		switch {
		case m.ignores:
			return nil
		case m.fails == name:
			return errors.New("exit status 20")
		}
		m.mu.Lock()
		m.renewPair(name)
		m.mu.Unlock()
		m.restartUnit()
		return nil
	}
	return fmt.Errorf("unknown command %q", command)
}

func (m *fakeMicroK8s) newEngine() (*Engine, *records) {
	e, out := m.fakeK0s.newEngine()
	e.Scan = m.scanNode
	e.Restarter = m
	e.Commander = m
	return e, out
}

func (m *fakeMicroK8s) stageServices(order nodeapi.Order, services ...certs.Service) {
	m.t.Helper()
	m.stageScanned(m.scanNode, order, services)
}

// isOnlyNewOf checks which certificates differ from those before, and that every key is the same.
func (m *fakeMicroK8s) isOnlyNewOf(names ...string) {
	m.t.Helper()
	for name := range owners {
		now := m.onDisk(name)
		if now.Equal(m.first[name]) == slices.Contains(names, name) {
			m.t.Errorf("%s is new: %t", name, !now.Equal(m.first[name]))
		}
		if certs.PublicKeySHA256(now.PublicKey) != certs.PublicKeySHA256(m.first[name].PublicKey) {
			m.t.Errorf("%s has another key", name)
		}
	}
}

func TestCommandThatRestartsItsUnitIsTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMicroK8s(t)
		e, r := m.newEngine()
		m.stageServices(nodeapi.Order{}, certs.KubeAPIServer, certs.KubeScheduler)
		m.runToEnd(e, r)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
		}
		m.isOnlyNewOf("apiserver", "front-proxy-client")
		m.noSecrets()
		m.stagedIsEmpty()
		want := []string{"/snap/bin/microk8s refresh-certs --cert=front-proxy-client.crt", "/snap/bin/microk8s refresh-certs --cert=server.crt"}
		if !slices.Equal(m.commands, want) || len(m.started) > 0 {
			t.Errorf("commands %q, restarted by this program: %v", m.commands, m.started)
		}
		if !r.isVerified("apiserver@", nodeapi.Handshake) || !r.isVerified("front-proxy-client@", nodeapi.Authenticated) {
			t.Errorf("not verified: %s", r.kindsText())
		}
		if n := len(r.recordsOf(nodeapi.Restarted)); n != 4 {
			t.Errorf("%d components are recorded as restarted, want all of the node", n)
		}
		renewals := r.recordsOf(nodeapi.Committed)[0].Renewals
		if len(renewals) != 2 || renewals[0].KeptKey != `is kept by "microk8s refresh-certs"` {
			t.Errorf("renewals: %+v", renewals)
		}
		if said := r.lastRecord().Message; !strings.Contains(said, "from before its last run in a backup of its own") {
			t.Errorf("what became of the earlier certificates: %q", said)
		}
	})
}

// TestOutcomeOfACommandThatRestartsItsUnit: what is in place is verified and reported.
func TestOutcomeOfACommandThatRestartsItsUnit(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m *fakeMicroK8s)
		kind   nodeapi.Kind
		words  string
	}{
		"it fails at once": {func(m *fakeMicroK8s) { m.fails = "front-proxy-client" }, nodeapi.RolledBack,
			`was not restarted: it was not stopped, and "microk8s refresh-certs" failed: exit status 20; no certificate was renewed, and the old ones are verified`},
		"it fails at the second certificate": {func(m *fakeMicroK8s) { m.fails = "apiserver" }, nodeapi.Unknown, "1 of 2 certificates are new, not apiserver"},
		"it does nothing":                    {func(m *fakeMicroK8s) { m.ignores = true }, nodeapi.RolledBack, `it was not stopped by "microk8s refresh-certs"; no certificate was renewed`},
		"another CA has signed":              {func(m *fakeMicroK8s) { m.ca = certstest.NewCA(m.t, "other") }, nodeapi.Unknown, `it was signed by another CA, "other"`},
		"the unit does not start":            {func(m *fakeMicroK8s) { m.dies = true }, nodeapi.Unknown, "did not start again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFakeMicroK8s(t)
				tt.change(m)
				e, r := m.newEngine()
				m.stageServices(nodeapi.Order{}, certs.KubeAPIServer)
				m.runToEnd(e, r)
				ended := r.recordsOf(tt.kind)
				if len(ended) != 1 || !strings.Contains(ended[0].Message, tt.words) {
					t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
				}
				if tt.kind == nodeapi.Unknown && !strings.Contains(ended[0].Hint, `"microk8s refresh-certs --undo"`) {
					t.Errorf("hint %q", ended[0].Hint)
				}
				m.stagedIsEmpty()
			})
		})
	}
}

// TestCommandThatRestartsItsUnitIsAwaited: the process ends while the command runs, before the unit
// is restarted. The next one waits for it, and does not run it again.
func TestCommandThatRestartsItsUnitIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFakeMicroK8s(t)
		m.signs = 50 * time.Second
		m.onStop = func(certs.Service) { m.killProcessLocked() }
		r := m.commitKilled(m, certs.KubeAPIServer)
		m.isOnlyNewOf("apiserver", "front-proxy-client")
		if len(r.recordsOf(nodeapi.Committed)) != 1 || len(m.commands) != 2 {
			t.Errorf("%s, commands %q", r.kindsText(), m.commands)
		}
	})
}
