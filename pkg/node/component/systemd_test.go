package component

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// manager is a systemd with one unit, behind a bus or without one. It speaks D-Bus.
type manager struct {
	private   bool          // as systemd's own socket, which accepts no Hello
	automatic uint32        // how often systemd has restarted the unit
	age       time.Duration // of the unit's process
	stubborn  bool          // the unit's process does not exit by SIGTERM
	restarted func()        // called for each restart of the unit; nil: nothing is called

	mu       sync.Mutex
	pid      uint32
	restarts int
	kills    []string // "kube-apiserver.service main 9"
	hellos   int
	jobs     []string // "stop kubelet.service", as requested
	renewal  renewal
}

// seenCalls returns the calls to the manager so far.
func (m *manager) seenCalls() (kills []string, restarts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.kills), m.restarts
}

func newManager(t *testing.T, m *manager, sockets ...string) *Runtime {
	t.Helper()
	root := t.TempDir()
	m.pid = 100
	for _, socket := range sockets {
		local := filepath.Join(root, socket)
		if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("unix", local)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go m.serveBus(conn)
			}
		}()
	}
	return &Runtime{Root: hostfs.Root(root), Node: "cp1", DBusSocket: sockets[0]}
}

// serveBus authenticates every client, and answers calls.
func (m *manager) serveBus(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	if _, err := in.ReadByte(); err != nil { // the null byte
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer := "OK 1234deadbeef"
		switch strings.TrimSpace(line) {
		case "AUTH":
			answer = "REJECTED EXTERNAL"
		case "NEGOTIATE_UNIX_FD":
			answer = "ERROR"
		case "BEGIN":
			m.answerCalls(in, conn)
			return
		}
		if _, err := fmt.Fprintf(conn, "%s\r\n", answer); err != nil {
			return
		}
	}
}

func (m *manager) answerCalls(in *bufio.Reader, conn net.Conn) {
	for {
		call, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		answer := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}}
		body, err := m.answerCall(call)
		if err != nil {
			answer.Type = dbus.TypeError
			body = []any{err.Error()}
			answer.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.DBus.Error.Failed")
		}
		if len(body) > 0 {
			answer.Body = body
			answer.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
		}
		if err := answer.EncodeTo(conn, binary.LittleEndian); err != nil {
			return
		}
	}
}

func (m *manager) answerCall(call *dbus.Message) ([]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	switch member {
	case "Hello":
		m.hellos++
		if m.private {
			return nil, fmt.Errorf("unknown method Hello")
		}
		return []any{":1.7"}, nil
	case "StartTransientUnit":
		m.renewal.begin(call.Body)
		m.pid = 0
		return []any{dbus.ObjectPath("/org/freedesktop/systemd1/job/2")}, nil
	case "StartUnit", "StopUnit":
		m.jobs = append(m.jobs, strings.ToLower(strings.TrimSuffix(member, "Unit"))+fmt.Sprintf(" %v", call.Body[0]))
		return []any{dbus.ObjectPath("/org/freedesktop/systemd1/job/3")}, nil
	case "ResetFailedUnit":
		m.renewal.resets++
	case "GetAll":
		if path, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath); strings.Contains(string(path), "renew") {
			return []any{m.renewal.nextState()}, nil
		}
		if state := m.renewal.dependentState(call); state != "" {
			return []any{map[string]dbus.Variant{"ActiveState": dbus.MakeVariant(state)}}, nil
		}
		return []any{m.unitProperties(call.Body[0] == "org.freedesktop.systemd1.Service")}, nil
	case "RestartUnit":
		m.restarts++
		if m.restarted != nil {
			m.restarted()
		}
		if !m.stubborn {
			m.pid++
		}
		return []any{dbus.ObjectPath("/org/freedesktop/systemd1/job/1")}, nil
	case "KillUnit":
		m.kills = append(m.kills, fmt.Sprintf("%v %v %v", call.Body...))
		m.pid++
	}
	return nil, nil
}

func (m *manager) unitProperties(service bool) map[string]dbus.Variant {
	if service {
		return map[string]dbus.Variant{
			"MainPID": dbus.MakeVariant(m.pid), "ExecMainStartTimestamp": dbus.MakeVariant(uint64(time.Now().Add(-m.age).UnixMicro())), //nolint:gosec // since 1970
			"NRestarts": dbus.MakeVariant(m.automatic),
		}
	}
	return map[string]dbus.Variant{
		"ActiveState": dbus.MakeVariant("active"), "SubState": dbus.MakeVariant("running"),
		"RequiredBy": dbus.MakeVariant([]string{"backup.service", "monitor.service"}), "BoundBy": dbus.MakeVariant([]string{"backup.service", "idle.service"}), "ConsistsOf": dbus.MakeVariant([]string{"part.service"}),
		"InvocationID": dbus.MakeVariant(binary.BigEndian.AppendUint32(nil, m.pid)),
	}
}

func unitOf(service certs.Service, pid int) inventory.Component {
	return inventory.Component{Service: service, Runtime: inventory.Systemd, Unit: string(service) + ".service", PID: pid}
}

// TestAUnitThatDoesNotExit: only the main process of an API server is ever killed, and only
// where that is the API server.
func TestAUnitThatDoesNotExit(t *testing.T) {
	wrapped := unitOf(certs.KubeAPIServer, 4711) // the unit's main process is a script
	stopped := unitOf(certs.KubeAPIServer, 0)
	for _, test := range []struct {
		name      string
		component inventory.Component
		killed    bool
	}{
		{"API server", unitOf(certs.KubeAPIServer, 100), true},
		{"API server behind a script", wrapped, false},
		{"API server, stopped when found", stopped, false},
		{"etcd", unitOf(certs.Etcd, 100), false},
		{"kubelet", unitOf(certs.Kubelet, 100), false},
		{"scheduler", unitOf(certs.KubeScheduler, 100), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &manager{stubborn: true}
			r := newManager(t, m, "/run/dbus/system_bus_socket")
			r.Grace = 20 * time.Millisecond
			old, err := r.CurrentInstance(t.Context(), test.component)
			if err != nil || !old.Running {
				t.Fatalf("%+v, %v", old, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !test.killed {
				m.restarted = func() { time.AfterFunc(10*r.Grace, cancel) }
			}
			err = r.StopInstance(ctx, test.component, old)
			kills, restarts := m.seenCalls()
			if test.killed {
				if err != nil || !slices.Equal(kills, []string{"kube-apiserver.service main 9"}) {
					t.Errorf("%v, kills %q", err, kills)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "did not end") || len(kills) > 0 || restarts != 1 {
				t.Errorf("%v, kills %q, %d restarts", err, kills, restarts)
			}
		})
	}
}

// TestTheNextInstanceOfAUnitMayBeKilledToo: after the first restart its main process has
// another number, which the inventory does not know.
func TestTheNextInstanceOfAUnitMayBeKilledToo(t *testing.T) {
	m := &manager{stubborn: true}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	r.Grace = time.Millisecond
	c := unitOf(certs.KubeAPIServer, 100)
	for range 2 {
		old, err := r.CurrentInstance(t.Context(), c)
		if err == nil {
			err = r.StopInstance(t.Context(), c, old)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if kills, _ := m.seenCalls(); len(kills) != 2 {
		t.Errorf("kills %q", kills)
	}
}

// TestSystemdWithoutABus is reached through its own socket: the one that was found, or
// where nothing answers at the bus's.
func TestSystemdWithoutABus(t *testing.T) {
	for _, found := range []string{"/run/systemd/private", "/run/dbus/system_bus_socket"} {
		t.Run(found, func(t *testing.T) {
			m := &manager{private: true}
			r := newManager(t, m, "/run/systemd/private")
			r.DBusSocket = found
			c := unitOf(certs.Kubelet, 100)
			old, err := r.CurrentInstance(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.StopInstance(t.Context(), c, old); err != nil {
				t.Fatal(err)
			}
			if fresh, err := r.AwaitInstance(t.Context(), c, old); err != nil || fresh.ID == old.ID || m.hellos > 0 {
				t.Errorf("%+v after %+v, %v, %d Hellos", fresh, old, err, m.hellos)
			}
		})
	}
}

// TestAChildOfASharedUnitIsNotStopped: the unit's other children are not ours to end.
func TestAChildOfASharedUnitIsNotStopped(t *testing.T) {
	m := &manager{}
	r := newManager(t, m, "/run/dbus/system_bus_socket")
	c := inventory.Component{Service: certs.KubeAPIServer, Runtime: inventory.Supervised, Unit: "k0scontroller.service", PID: 100}
	err := r.StopInstance(t.Context(), c, Instance{ID: "x", Running: true})
	kills, restarts := m.seenCalls()
	if err == nil || !strings.Contains(err.Error(), `child process of unit "k0scontroller.service"`) || restarts > 0 || len(kills) > 0 {
		t.Errorf("%v, %d restarts, kills %q", err, restarts, kills)
	}
}

func TestGrace(t *testing.T) {
	for _, test := range []struct {
		service certs.Service
		args    []string
		option  time.Duration
		want    time.Duration
	}{
		{certs.KubeAPIServer, nil, 0, 3 * time.Second},
		{certs.KubeAPIServer, []string{"--shutdown-delay-duration=70s", "--v=2"}, 0, 73 * time.Second},
		{certs.KubeAPIServer, []string{"--shutdown_delay_duration", "1m10s"}, 0, 73 * time.Second},
		{certs.KubeAPIServer, []string{"--shutdown-delay-duration=20s"}, 30 * time.Second, 50 * time.Second},
		{certs.KubeAPIServer, []string{"--shutdown-delay-duration=soon"}, 0, 3 * time.Second},
		{certs.KubeScheduler, []string{"--shutdown-delay-duration=70s"}, 30 * time.Second, 3 * time.Second},
		{certs.Etcd, nil, 30 * time.Second, 0},
	} {
		r := &Runtime{Grace: test.option}
		if got := r.GraceOf(inventory.Component{Service: test.service, Args: test.args}); got != test.want {
			t.Errorf("%s %q, %s: %s, want %s", test.service, test.args, test.option, got, test.want)
		}
	}
}

// A unit counts as failing while systemd has had to start it again a short while ago.
func TestFailingUnit(t *testing.T) {
	for _, test := range []struct {
		automatic uint32
		age       time.Duration
		want      bool
	}{{0, time.Second, false}, {3, time.Second, true}, {3, time.Hour, false}} {
		r := newManager(t, &manager{automatic: test.automatic, age: test.age}, "/run/dbus/system_bus_socket")
		if i, err := r.CurrentInstance(t.Context(), unitOf("haproxy", 0)); err != nil || i.Failing != test.want {
			t.Errorf("%+v: failing %v, %v", test, i.Failing, err)
		}
	}
}
